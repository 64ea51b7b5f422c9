// The garbage collector and live objects: what is dropped without a close goes on, as nobody has ended it; what is closed or
// lost is collected. Each test is a process of its own with --expose-gc.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { node, scriptArgs, startBroker, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

// What the scripts share. `collected` resolves when none of the objects is there any more: each look is a turn of the event
// loop, so that whatever JavaScript itself still holds on its stack or in its queues is let go of.
const TOOLS = `
  const { once } = require('node:events');
  const { setImmediate: turn } = require('node:timers/promises');
  const peerOf = (name, options) =>
    linkup.createPeer(name + '-' + process.pid, { brokerUrl: process.env.BROKER, ...options });
  const registered = async (name, options) => {
    const peer = peerOf(name, options);
    await once(peer, 'register');
    return peer;
  };
  const collected = async (what, refs) => {
    const end = performance.now() + 20_000;
    for (;;) {
      global.gc();
      const left = refs.filter((ref) => ref.deref() !== undefined).length;
      if (left === 0) return console.log('collected: ' + what);
      if (performance.now() > end) throw new Error(left + ' of ' + refs.length + ' are left: ' + what);
      await turn();
    }
  };
  const main = (run) => run().catch((error) => { console.error(error); process.exit(1); });
`;

/** Runs the body of an async function; resolves with what it prints. */
async function run(body) {
  const args = ['--expose-gc', ...scriptArgs(`${TOOLS} main(async () => {${body}});`)];
  const { code, signal, output } = await within(
    node(args, { env: { BROKER: broker.url } }).exited,
    60_000,
    'the script',
  );
  assert.deepEqual([code, signal], [0, null], output);
  return output;
}

test('what is dropped without a close goes on, with the collector at work', async () => {
  const output = await run(`
    const hub = await registered('hub');
    const counts = new Map();
    hub.on('message', ({ from, message }) => {
      if (message !== (counts.get(from) ?? 0)) throw new Error(message + ' of ' + from);
      counts.set(from, message + 1);
    });
    const streamed = [];
    hub.on('connection', (connection) => connection.on('stream', (stream) => {
      let bytes = 0;
      stream.on('data', (chunk) => { bytes += chunk.length; });
      streamed.push(once(stream, 'end').then(() => bytes));
    }));
    const ends = [];
    // Nothing of this is kept: the peers, their connections, their streams, and the promises.
    for (let n = 0; n < 8; n++) {
      const peer = peerOf('dropped' + n);
      let left = 200;
      ends.push(new Promise((resolve) => {
        peer.connect(hub.id).then((connection) => {
          connection.createStream('s').end(Buffer.alloc(300_000));
          const next = () => {
            if (left === 0) return resolve();
            connection.send(200 - left--).then(next);
          };
          next();
        });
      }));
    }
    let over = false;
    const all = Promise.all(ends).then(() => { over = true; });
    while (!over) { global.gc(); await turn(); }
    await all;
    while ([...counts.values()].reduce((sum, n) => sum + n, 0) < 8 * 200 || streamed.length < 8) { global.gc(); await turn(); }
    console.log('streams', ...await Promise.all(streamed));
    // A listener that is all there is of a peer.
    const heard = new Promise((resolve) => peerOf('listens').on('message', ({ message }) => resolve(message))
      .on('register', (id) => hub.send(id, 'still there?')));
    for (let n = 0; n < 20; n++) { global.gc(); await turn(); }
    console.log(await heard);
    process.exit(0);`);
  assert.match(output, /streams( 300000){8}\n/);
  assert.match(output, /still there\?/);
});

test('closed peers, their connections and streams are collected', async () => {
  const output = await run(`
    const hub = await registered('hub');
    hub.on('connection', (connection) => connection.on('stream', (stream) => stream.resume().end()));
    const live = async (n) => {
      const peer = peerOf('closed' + n);
      const connection = await peer.connect(hub.id);
      const stream = connection.createStream('s');
      stream.on('data', () => {}).on('error', () => {});
      const loop = connection[Symbol.asyncIterator]();
      loop.next().catch(() => {});
      await connection.send({ n });
      stream.end('bytes');
      const refs = [peer, connection, stream, loop].map((object) => new WeakRef(object));
      await peer.close();
      return refs;
    };
    const refs = [];
    for (let n = 0; n < 10; n++) refs.push(...await live(n));
    await collected('closed here', refs);
    while (hub.connections.size > 0) await turn();
    await hub.close();`);
  assert.match(output, /collected: closed here/);
});

test('connections that the remote closed or that failed are collected, while their peer goes on', async () => {
  const output = await run(`
    const hub = await registered('hub');
    const refs = [];
    hub.on('connection', (connection) => {
      refs.push(new WeakRef(connection));
      connection.on('message', () => connection.close().catch(() => {}));
    });
    const peer = await registered('caller');
    const calls = async () => {
      const connection = await peer.connect(hub.id);
      refs.push(new WeakRef(connection));
      const closed = once(connection, 'close');
      await connection.send('close me').catch(() => {});
      await closed;
    };
    for (let n = 0; n < 10; n++) await calls();
    const fails = () => {
      const controller = new AbortController();
      const options = { signal: controller.signal };
      const promises = [peer.connect('nobody'), peer.send('nobody', 1), peer.connect(hub.id + 'x', options)];
      refs.push(...promises.map((promise) => new WeakRef(promise)), new WeakRef(options.signal));
      controller.abort();
      return Promise.allSettled(promises);
    };
    for (let n = 0; n < 10; n++) await fails();
    await collected('ended by others', refs);
    await Promise.all([peer.close(), hub.close()]);`);
  assert.match(output, /collected: ended by others/);
});

test('a thousand peers and loops that are dropped, aborted or closed leave memory flat', async () => {
  const output = await run(`
    const hub = await registered('hub');
    const peer = await registered('peer');
    const connection = await peer.connect(hub.id);
    const measure = () => { global.gc(); return process.memoryUsage().heapUsed; };
    const round = async () => {
      // Loops that are left, answers that are not waited for, calls that are given up, numbers asked for.
      for (let n = 0; n < 20; n++) {
        const loop = connection[Symbol.asyncIterator]();
        loop.next();
        await loop.return();
        connection.stats();
        peer.find('nobody');
        const controller = new AbortController();
        peer.connect('nobody', { signal: controller.signal }).catch(() => {});
        controller.abort();
        connection.send(n, { ack: true, signal: AbortSignal.timeout(60_000) });
      }
      await Promise.all(Array.from({ length: 20 }, (_, n) => peerOf('p' + n).close()));
      await connection.send('all', { ack: true });
    };
    const measured = [];
    for (let n = 0; n < 50; n++) {
      await round();
      if (n % 10 === 9) measured.push(measure());
    }
    console.log(JSON.stringify(measured));
    await Promise.all([peer.close(), hub.close()]);
    process.exit(0);`);
  const measured = JSON.parse(output);
  console.log(measured.map((bytes) => `${(bytes / 2 ** 20).toFixed(2)} MiB`).join(', '));
  // 800 peers and as many of everything else: what each of them left would be a KiB at least.
  const grown = measured.at(-1) - measured[0];
  assert.ok(grown < 400 * 1024, `the heap grew by ${grown / 1024} KiB`);
});
