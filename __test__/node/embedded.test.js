// No option, no environment variable, nothing listening: two scripts that know each other's id just talk.
'use strict';

const assert = require('node:assert/strict');
const { test, beforeEach, afterEach } = require('node:test');
const { loopback, scriptArgs } = require('./helpers');

let net;
beforeEach(() => {
  net = loopback();
});
afterEach(() => net.remove());

/** A peer that prints what happens to it and sends what is typed as `ID TEXT`. */
const PEER = (id) =>
  scriptArgs(`
    const peer = linkup.createPeer(${JSON.stringify(id)});
    peer.on('register', () => console.log('registered'));
    peer.on('offline', ({ reason }) => console.log('offline', reason));
    peer.on('error', (error) => console.log('error', error.code, error.message));
    peer.on('message', ({ from, message }) => console.log('from', from, JSON.stringify(message)));
    require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const [to, text] = line.split(' ');
      const start = performance.now();
      peer.connect(to)
        .then((connection) => connection.send(text))
        .then(() => console.log('sent', text, Math.round(performance.now() - start)))
        .catch((error) => console.log('failed', text, error.code, error.message));
    });
  `);

/** The process that listens on port 5000, asked of the kernel. */
const serving = async (peers) => {
  const fs = require('node:fs');
  for (const peer of peers) {
    const pid = peer.process.pid;
    const listening = new Set();
    for (const table of ['tcp', 'tcp6']) {
      for (const row of fs.readFileSync(`/proc/${pid}/net/${table}`, 'utf8').split('\n').slice(1)) {
        const [, local, , state, , , , , , inode] = row.trim().split(/\s+/);
        if (state === '0A' && local?.endsWith(':1388')) listening.add(`socket:[${inode}]`);
      }
    }
    for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
      let target = '';
      try {
        target = fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {} // closed meanwhile
      if (listening.has(target)) return peer;
    }
  }
  return undefined;
};

test('three processes, and kill -9 of the one that serves', async () => {
  const peers = {};
  for (const id of ['alice', 'bob', 'carol']) {
    peers[id] = net.run(PEER(id));
    await peers[id].line('registered');
  }
  const all = Object.values(peers);
  const tell = (from, to, text) => peers[from].process.stdin.write(`${to} ${text}\n`);

  tell('alice', 'bob', 'one');
  await peers.bob.line('from alice "one"');

  const server = await serving(all);
  assert.equal(server, peers.alice, 'the first peer serves');
  await server.kill();
  const killed = performance.now();

  // bob and carol have never spoken: this needs a broker. Called at once, nobody need notice the change.
  tell('bob', 'carol', 'two');
  await peers.carol.line('from bob "two"');
  const ms = performance.now() - killed;
  console.log(`another process had taken over, and a new connection was made, ${ms.toFixed(0)} ms after the kill`);
  assert.ok(ms < 2000, `it took ${ms} ms`);
  tell('carol', 'bob', 'three');
  await peers.bob.line('from carol "three"');

  // The killed one comes back under its id, to those who had no connection with it.
  const again = net.run(PEER('alice'));
  await again.line('registered');
  tell('carol', 'alice', 'four');
  await again.line('from carol "four"');

  for (const peer of [peers.bob, peers.carol, again]) {
    assert.doesNotMatch(peer.output, /^(error|failed) /m);
    await peer.kill();
  }
});

test('the one that serves closes its peer: the others go on', async () => {
  const first = net.run(
    scriptArgs(`
      const peer = linkup.createPeer('first');
      peer.on('register', () => console.log('registered'));
      process.stdin.once('data', async () => { await peer.close(); console.log('closed'); setInterval(() => {}, 1000); });
    `),
  );
  await first.line('registered');
  const second = net.run(PEER('second'));
  const third = net.run(PEER('third'));
  await second.line('registered');
  await third.line('registered');
  first.process.stdin.write('close\n');
  await first.line('closed');
  second.process.stdin.write('third hello\n');
  await third.line('from second "hello"');
  for (const peer of [first, second, third]) await peer.kill();
});

test('a browser-like plain client reaches the embedded broker', async () => {
  const alice = net.run(PEER('alice'));
  await alice.line('registered');
  const client = net.run([
    '-e',
    `const WebSocket = require('ws');
     const socket = new WebSocket('ws://localhost:5000');
     socket.on('open', () => socket.send(JSON.stringify({ id: 'b6c7a3a0-0000-4000-8000-000000000001', message: { type: 'find', id: 'alice' } })));
     socket.on('message', (data) => { console.log(String(data)); socket.close(); });`,
  ]);
  const line = await client.line('alice');
  assert.deepEqual(JSON.parse(line), { id: 'b6c7a3a0-0000-4000-8000-000000000001', message: 'alice', error: null });
  await alice.kill();
});

test('pages of this machine may use the embedded broker, those of others not', async () => {
  const alice = net.run(PEER('alice'));
  await alice.line('registered');
  const client = net.run([
    '-e',
    `const WebSocket = require('ws');
     for (const origin of ['http://localhost:5000', 'http://127.0.0.1:3000', 'file://', 'https://example.org', 'null']) {
       const socket = new WebSocket('ws://localhost:5000', { origin });
       socket.on('open', () => { console.log(origin, 'may'); socket.close(); });
       socket.on('error', ({ message }) => console.log(origin, message));
     }`,
  ]);
  const { output } = await client.exited;
  assert.deepEqual(output.trim().split('\n').sort(), [
    'file:// may',
    'http://127.0.0.1:3000 may',
    'http://localhost:5000 may',
    'https://example.org Unexpected server response: 403',
    'null Unexpected server response: 403',
  ]);
  await alice.kill();
});
