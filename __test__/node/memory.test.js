// Never more memory than agreed: slow readers, blocked processes, and files far larger than what may be kept. Each side is
// a process of its own that measures itself. LINKUP_LONG=1 sends as much as the goals say (2 GiB to a reader of 10 MB/s).
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { script, startBroker } = require('./helpers');

const MIB = 1024 * 1024;
const linux = process.platform === 'linux';
const TOTAL = (process.env.LINKUP_LONG ? 2048 : 192) * MIB;

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

// Prints the largest growth of its own memory since it was connected, when it is told to end.
const WATCH = `
  const watch = () => {
    const idle = process.memoryUsage.rss();
    let most = idle;
    const timer = setInterval(() => { most = Math.max(most, process.memoryUsage.rss()); }, 20);
    return () => { clearInterval(timer); console.log('grew by ' + ((most - idle) / 1048576).toFixed(1)); };
  };
  const peer = linkup.createPeer(process.argv[1], { brokerUrl: process.env.BROKER });
  peer.on('register', () => console.log('registered'));
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
`;

/** Runs a receiver and a sender; resolves with how many MiB each grew, and with what they printed. */
async function run(receiver, sender, { ms = 120_000 } = {}) {
  const env = { BROKER: broker.url };
  const to = script(WATCH + receiver, { env, args: ['to'] });
  await to.line('registered');
  const from = script(WATCH + sender, { env, args: ['from'] });
  const grown = [];
  for (const child of [from, to]) grown.push(Number((await child.line('grew by', ms)).split('by ')[1]));
  for (const child of [from, to]) assert.equal((await child.exited).code, 0, child.output);
  return { grown, output: from.output + to.output };
}

test('a reader of 10 MB/s slows its sender: neither keeps the rest', { skip: !linux, timeout: 400_000 }, async () => {
  const SIZE = 100_000;
  const COUNT = Math.ceil(TOTAL / SIZE);
  const receiver = `
    peer.on('connection', async (connection) => {
      const report = watch();
      const start = performance.now();
      let count = 0;
      for await (const message of connection) {
        if (message.length !== ${SIZE} || message[0] !== count % 256) throw new Error('wrong message');
        count += 1;
        const due = start + (count * ${SIZE}) / 10_000;
        if (due - performance.now() > 5) await sleep(due - performance.now());
      }
      if (count !== ${COUNT}) throw new Error(count + ' messages');
      report();
      await peer.close();
    });`;
  const sender = `
    (async () => {
      const connection = await peer.connect('to');
      const report = watch();
      for (let n = 0; n < ${COUNT}; n++) {
        const message = new Uint8Array(${SIZE});
        message[0] = n;
        await connection.send(message, n === ${COUNT - 1} ? { ack: true } : undefined);
      }
      report();
      // What the reader has not read yet may take it longer than timeouts.close.
      await new Promise((resolve) => connection.on('close', resolve));
      await peer.close();
    })();
    setTimeout(() => {}, 1);`;
  // Ends when it has everything: the sender waits for its close.
  const closing = receiver.replace(
    "throw new Error('wrong message');\n        count += 1;",
    "throw new Error('wrong message');\n        count += 1;\n        if (count === " + COUNT + ') break;',
  );
  const { grown } = await run(closing, sender, { ms: 390_000 });
  console.log(`${TOTAL / MIB} MiB: the sender grew by ${grown[0]} MiB, the receiver by ${grown[1]} MiB`);
  for (const mib of grown) assert.ok(mib < 150, `${mib} MiB`);
});

test('a process that is blocked for seconds is not drowned', { skip: !linux, timeout: 120_000 }, async () => {
  const receiver = `
    peer.on('connection', (connection) => {
      const report = watch();
      let count = 0;
      connection.on('message', (message) => {
        count += 1;
        if (count === 1) for (const end = Date.now() + 3000; Date.now() < end; );
        if (message === 'last') { console.log('received ' + count); report(); peer.close(); }
      });
    });`;
  const sender = `
    (async () => {
      const connection = await peer.connect('to');
      const report = watch();
      const text = 'x'.repeat(50_000);
      let sent = 0;
      for (const end = Date.now() + 4000; Date.now() < end; sent++) await connection.send(text);
      await connection.send('last', { ack: true });
      console.log('sent ' + (sent + 1));
      report();
      await new Promise((resolve) => connection.on('close', resolve));
      await peer.close();
    })();`;
  const { grown, output } = await run(receiver, sender);
  assert.equal(/received (\d+)/.exec(output)[1], /sent (\d+)/.exec(output)[1]);
  console.log(`blocked for 3 s: the sender grew by ${grown[0]} MiB, the receiver by ${grown[1]} MiB`);
  for (const mib of grown) assert.ok(mib < 150, `${mib} MiB`);
});

test('a file of 1 GiB in a stream, memory flat, and messages are not behind it', {
  skip: !linux,
  timeout: 300_000,
}, async () => {
  const CHUNK = 256 * 1024;
  const COUNT = 4096;
  const receiver = `
    peer.on('connection', (connection) => {
      const report = watch();
      connection.on('message', (message) => connection.send(message));
      connection.on('stream', (stream) => {
        let bytes = 0;
        stream.on('data', (chunk) => { bytes += chunk.length; });
        stream.on('end', () => { stream.end(); console.log('file of ' + bytes); });
      });
      connection.on('close', () => { report(); peer.close(); });
    });`;
  const sender = `
    const { once } = require('node:events');
    const { Readable } = require('node:stream');
    const { pipeline } = require('node:stream/promises');
    (async () => {
      const connection = await peer.connect('to');
      const report = watch();
      const start = performance.now();
      let left = ${COUNT};
      const chunk = Buffer.alloc(${CHUNK}, 7);
      const file = new Readable({ read() { this.push(left-- > 0 ? chunk : null); } });
      const stream = connection.createStream('file', { size: ${COUNT * CHUNK} });
      stream.resume();
      const through = pipeline(file, stream, { end: true });
      let done = false;
      through.then(() => { done = true; });
      const trips = [];
      while (!done) {
        const echo = once(connection, 'message');
        const sent = performance.now();
        await connection.send({ sent });
        await echo;
        trips.push(performance.now() - sent);
        await sleep(20);
      }
      await through;
      trips.sort((a, b) => a - b);
      console.log('trips ' + JSON.stringify([trips.length, trips[trips.length >> 1], trips.at(-1)]));
      console.log('rate ' + Math.round(${COUNT * CHUNK} / 1000 / (performance.now() - start)) + ' MB/s');
      report();
      await peer.close();
    })();`;
  const { grown, output } = await run(receiver, sender, { ms: 240_000 });
  assert.match(output, new RegExp(`file of ${COUNT * CHUNK}`));
  const [count, median, worst] = JSON.parse(/trips (.*)/.exec(output)[1]);
  console.log(
    `1 GiB at ${/rate (.*)/.exec(output)[1]}: grew by ${grown.join(' and ')} MiB; ${count} round trips of messages meanwhile, ` +
      `median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`,
  );
  for (const mib of grown) assert.ok(mib < 100, `${mib} MiB`);
  assert.ok(count > 20, `${count} round trips`);
  assert.ok(median < 50, `a message takes ${median} ms`);
});
