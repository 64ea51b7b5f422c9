'use strict';
// Connections over the broker, where there is no other way: as reliable as others, encrypted, and left for a better way.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { after, before, test } = require('node:test');
const { WebSocket, WebSocketServer } = require('ws');
const linkup = require('../../index.js');
const { startBroker, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

/** A network in which nobody reaches anybody, as long as `blocked`. */
function isolated() {
  const network = { blocked: true };
  const sdpTransform = (sdp) => (network.blocked ? sdp.replace(/a=candidate.*\r\n/g, '') : sdp);
  return { network, simplePeer: { sdpTransform, trickle: false } };
}

let count = 0;
// Of a call that came to nothing.
const unfinished = [];

/** Two connected peers: `[peer, connection]` of the caller, and of the called side. */
async function connected(options, brokerUrl = broker.url) {
  count += 1;
  const [a, b] = ['a', 'b'].map((side) => linkup.createPeer(`relay-${side}${count}`, { brokerUrl, ...options }));
  unfinished.push(a, b);
  await once(b, 'register');
  const incoming = once(b, 'connection');
  const connection = await a.connect(b.id);
  unfinished.splice(0);
  const [other] = await incoming;
  return [
    [a, connection],
    [b, other],
  ];
}

test('who has no other way is connected by the broker, and gets everything in order', { timeout: 60_000 }, async () => {
  const [[a, there], [b, here]] = await connected({ simplePeer: isolated().simplePeer });
  assert.deepEqual([there.path, here.path], ['broker', 'broker']);
  assert.equal((await there.stats()).path, 'broker');
  const got = [];
  here.on('message', (message) => got.push(message));
  const large = Buffer.alloc(150_000, 7);
  there.send(large);
  for (let i = 0; i < 50; i++) there.send({ i });
  there.send('');
  await there.send('last', { ack: true });
  assert.equal(Buffer.compare(got.shift(), large), 0);
  assert.deepEqual(got, [...Array.from({ length: 50 }, (_, i) => ({ i })), '', 'last']);
  const answered = once(there, 'message');
  await here.send('back');
  assert.deepEqual(await answered, ['back']);
  const closed = once(here, 'close');
  await there.close();
  assert.deepEqual(await closed, [{ code: null, reason: '' }]);
  await Promise.all([a.close(), b.close()]);
});

test('the broker sees nothing of what they say', { timeout: 60_000 }, async () => {
  const frames = [];
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  server.on('connection', (near) => {
    const far = new WebSocket(broker.url);
    const open = once(far, 'open');
    near.on('message', async (data) => {
      frames.push(String(data));
      await open;
      far.send(String(data));
    });
    far.on('message', (data) => near.send(String(data)));
    near.on('close', () => far.close());
  });
  const url = `ws://127.0.0.1:${server.address().port}`;
  const [[a, there], [b]] = await connected({ simplePeer: isolated().simplePeer }, url);
  await there.send('a secret that nobody else may read', { ack: true });
  const relayed = frames.filter((text) => text.includes('\\"type\\":\\"relay\\"')).map((text) => JSON.parse(text));
  assert.ok(relayed.length >= 2);
  for (const { message } of relayed) {
    const packet = Buffer.from(JSON.parse(message.signal).data, 'base64');
    assert.ok(!packet.includes('secret'));
  }
  await Promise.all([a.close(), b.close()]);
  server.close();
});

test('a better way is taken as soon as there is one, and nobody notices', { timeout: 60_000 }, async () => {
  const { network, simplePeer } = isolated();
  const [[a, there], [b, here]] = await connected({ simplePeer });
  const noticed = [];
  for (const event of ['reconnecting', 'reconnected', 'close']) {
    there.on(event, () => noticed.push(event));
    here.on(event, () => noticed.push(event));
  }
  let expected = 0;
  here.on('message', (number) => {
    if (number === expected) expected += 1;
    else noticed.push(`${number} for ${expected}`);
  });
  network.blocked = false;
  let number = 0;
  while (there.path === 'broker') {
    await there.send(number++);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await there.send(number++, { ack: true });
  assert.deepEqual([there.path, here.path, expected, noticed], ['direct', 'direct', number, []]);
  await Promise.all([a.close(), b.close()]);
});

test('the broker’s restart interrupts it, and loses nothing', { timeout: 60_000 }, async () => {
  const port = broker.port;
  const [[a, there], [b, here]] = await connected({ simplePeer: isolated().simplePeer });
  const got = [];
  here.on('message', (message) => got.push(message));
  await there.send(0, { ack: true });
  const interrupted = once(there, 'reconnecting');
  await broker.close();
  await interrupted;
  assert.equal(there.state, 'reconnecting');
  there.send(1);
  const back = once(there, 'reconnected');
  broker = linkup.createBroker({ port, host: 'localhost' });
  await within(back, 20_000, 'another way over the broker');
  await there.send(2, { ack: true });
  assert.deepEqual([got, there.path], [[0, 1, 2], 'broker']);
  await Promise.all([a.close(), b.close()]);
});

test('a broker that carries nothing names no rate, and there is no way then', { timeout: 60_000 }, async () => {
  const stingy = linkup.createBroker({ port: 0, host: 'localhost', limits: { relay: 0 } });
  await stingy.ready;
  const { simplePeer } = isolated();
  const options = { simplePeer, timeouts: { connect: 6000 } };
  await assert.rejects(connected(options, stingy.url), ({ code }) => /ERR_(ICE_FAILED|CONNECT_TIMEOUT)/.test(code));
  for (const peer of unfinished.splice(0)) await peer.close();
  await stingy.close();
});
