// A guest in the process: it lets it end, however that happens, and never takes it down.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { startBroker, script, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

const RUNS = 20;

/** Two peers in one process that send to each other without end. */
const TRAFFIC = `
  const a = linkup.createPeer('a' + process.pid, {brokerUrl: process.env.BROKER});
  const b = linkup.createPeer('b' + process.pid, {brokerUrl: process.env.BROKER});
  let received = 0;
  const pump = async (connection) => { for (;;) await connection.send({n: 1, text: 'x'.repeat(500)}); };
  const busy = new Promise((resolve) => {
    for (const peer of [a, b]) peer.on('message', () => { if (++received === 200) resolve(); });
  });
  b.on('connection', (connection) => pump(connection).catch(() => {}));
  b.once('register', () => a.connect(b.id).then((connection) => pump(connection).catch(() => {})));
`;

const env = () => ({ BROKER: broker.url });

test('exits by itself within 100 ms of await peer.close()', async () => {
  for (let run = 0; run < 5; run++) {
    const child = script(
      `const a = linkup.createPeer('x' + process.pid, {brokerUrl: process.env.BROKER});
       const b = linkup.createPeer('y' + process.pid, {brokerUrl: process.env.BROKER});
       b.once('register', async () => {
         const arrived = new Promise((resolve) => b.once('message', resolve));
         await Promise.all([a.send(b.id, 'hello'), arrived]);
         await Promise.all([a.close(), b.close()]);
         const closed = performance.now();
         process.on('exit', () => console.log('after ' + (performance.now() - closed)));
       });`,
      { env: env() },
    );
    const { code, output } = await within(child.exited, 20_000, 'exit');
    assert.equal(code, 0, output);
    const ms = Number(/after ([\d.]+)/.exec(output)?.[1]);
    assert.ok(ms < 100, `it took ${ms} ms`);
  }
});

test('a peer that is unref’d does not keep the process', async () => {
  const child = script(`linkup.createPeer('u' + process.pid, {brokerUrl: process.env.BROKER}).unref();`, {
    env: env(),
  });
  assert.equal((await within(child.exited, 20_000, 'exit')).code, 0);
});

test('a peer that is unref’d does not keep a process to which more messages come than it can take', async () => {
  const flood = script(
    `const peer = linkup.createPeer('flood', {brokerUrl: process.env.BROKER}).on('register', () => console.log('registered'));
     peer.on('connection', async (connection) => { for (;;) await connection.send('x'.repeat(100)); });
     peer.on('error', () => {});`,
    { env: env() },
  );
  await flood.line('registered');
  const child = script(
    `const peer = linkup.createPeer('u' + process.pid, {brokerUrl: process.env.BROKER});
     let received = 0;
     peer.on('message', () => {
       // As an application does that is busier with a message than its sender.
       for (const end = performance.now() + 0.1; performance.now() < end; );
       if (++received === 5000) setTimeout(() => { peer.unref(); console.log('unref'); }, 1);
     });
     peer.connect('flood');`,
    { env: env() },
  );
  await child.line('unref');
  const { code, signal, output } = await within(child.exited, 5000, 'exit');
  assert.deepEqual([code, signal], [0, null], output);
  await flood.kill();
});

test('an open peer keeps the process', async () => {
  const child = script(
    `linkup.createPeer('k' + process.pid, {brokerUrl: process.env.BROKER}).on('register', () => console.log('registered'));`,
    { env: env() },
  );
  await child.line('registered');
  assert.equal(child.process.exitCode, null);
  await child.kill();
});

for (const [name, end, code] of [
  ['process.exit()', 'process.exit(7)', 7],
  ['an uncaught exception', `setImmediate(() => { throw new Error('mine'); })`, 1],
]) {
  test(`${name} with traffic never crashes, ${RUNS} times`, async () => {
    for (let run = 0; run < RUNS; run++) {
      const child = script(`${TRAFFIC} busy.then(() => { ${end}; });`, { env: env() });
      const result = await within(child.exited, 30_000, 'exit');
      assert.deepEqual([result.code, result.signal], [code, null], result.output);
    }
  });
}

test(`worker.terminate() with traffic never crashes, ${RUNS} times`, async () => {
  const child = script(
    `const { Worker } = require('node:worker_threads');
     const code = \`const linkup = require(\${JSON.stringify(process.cwd())}); ${TRAFFIC.replaceAll('`', '\\`').replaceAll('process.pid', 'Math.random()')}
       busy.then(() => require('node:worker_threads').parentPort.postMessage('busy'));\`;
     (async () => {
       for (let run = 0; run < ${RUNS}; run++) {
         const worker = new Worker(code, { eval: true, env: process.env });
         await new Promise((resolve, reject) => { worker.once('message', resolve); worker.once('error', reject); });
         await worker.terminate();
       }
       console.log('all ended');
     })();`,
    { env: env() },
  );
  const { code, signal, output } = await within(child.exited, 120_000, 'exit');
  assert.deepEqual([code, signal], [0, null], output);
  assert.match(output, /all ended/);
});

test('an environment that ends frees its ids', async () => {
  const child = script(
    `const { Worker } = require('node:worker_threads');
     const worker = new Worker(\`const linkup = require(\${JSON.stringify(process.cwd())});
       linkup.createPeer('in-worker-' + \${process.pid}, {brokerUrl: process.env.BROKER})
         .on('register', () => require('node:worker_threads').parentPort.postMessage('registered'));\`, { eval: true, env: process.env });
     worker.once('message', async () => {
       const peer = linkup.createPeer('outside-' + process.pid, {brokerUrl: process.env.BROKER});
       console.log('there', await peer.find('in-worker-' + process.pid));
       await worker.terminate();
       // A socket may not ask without end.
       while (await peer.find('in-worker-' + process.pid)) await new Promise((resolve) => setTimeout(resolve, 10));
       console.log('gone');
       await peer.close();
     });`,
    { env: env() },
  );
  const { output } = await within(child.exited, 30_000, 'exit');
  assert.match(output, /there true/);
  assert.match(output, /gone/);
});
