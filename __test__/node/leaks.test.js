// 1,000 connect/close cycles leave threads, file descriptors and, after the first two hundred, memory flat.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { startBroker, script, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

test('1,000 connect/close cycles', { skip: process.platform !== 'linux' && 'reads /proc' }, async () => {
  const child = script(
    `const fs = require('node:fs');
     const measure = () => {
       global.gc();
       return {
         threads: fs.readdirSync('/proc/self/task').length,
         files: fs.readdirSync('/proc/self/fd').length,
         rss: process.memoryUsage.rss(),
       };
     };
     const a = linkup.createPeer('a' + process.pid, {brokerUrl: process.env.BROKER});
     const b = linkup.createPeer('b' + process.pid, {brokerUrl: process.env.BROKER});
     b.once('register', async () => {
       const measured = [];
       for (let cycle = 0; cycle <= 1000; cycle++) {
         if (cycle % 200 === 0) measured.push(measure());
         const closed = new Promise((resolve) => b.once('connection', (c) => c.once('close', resolve)));
         const connection = await a.connect(b.id);
         await connection.send({ cycle });
         await connection.close();
         await closed;
       }
       console.log(JSON.stringify(measured));
       await Promise.all([a.close(), b.close()]);
     });`.replace(
      /^/,
      `require('node:v8').setFlagsFromString('--expose-gc'); global.gc = require('node:vm').runInNewContext('gc');\n`,
    ),
    { env: { BROKER: broker.url } },
  );
  const { code, output } = await within(child.exited, 240_000, 'the cycles');
  assert.equal(code, 0, output);
  const measured = JSON.parse(output.split('\n').find((line) => line.startsWith('[')));
  console.log(
    measured.map((m) => `${m.threads} threads, ${m.files} files, ${(m.rss / 2 ** 20).toFixed(1)} MiB`).join('\n'),
  );
  const [, first] = measured;
  const last = measured.at(-1);
  assert.ok(last.threads <= first.threads, 'threads grew');
  assert.ok(last.files <= first.files, 'file descriptors grew');
  // 800 cycles: a leak of one connection each would be 80 MiB and more.
  assert.ok(last.rss - first.rss < 12 * 2 ** 20, `memory grew by ${(last.rss - first.rss) / 2 ** 20} MiB`);
});

test('threads do not grow with connections', { skip: process.platform !== 'linux' && 'reads /proc' }, async () => {
  const child = script(
    `const threads = () => require('node:fs').readdirSync('/proc/self/task').length;
     const peerOf = (id) => linkup.createPeer(id + process.pid, {brokerUrl: process.env.BROKER});
     const hub = peerOf('hub');
     hub.once('register', async () => {
       const counts = [];
       const peers = [];
       for (let n = 0; n < 60; n++) {
         const peer = peerOf('p' + n + '-');
         peers.push(peer);
         await peer.send(hub.id, 'hello');
         if (n % 20 === 9) counts.push(threads());
       }
       console.log(JSON.stringify(counts));
       await Promise.all(peers.map((peer) => peer.close()));
       await hub.close();
     });`,
    { env: { BROKER: broker.url } },
  );
  const { code, output } = await within(child.exited, 60_000, 'the connections');
  assert.equal(code, 0, output);
  const [first, ...more] = JSON.parse(output.split('\n').find((line) => line.startsWith('[')));
  for (const count of more) assert.equal(count, first, output);
});
