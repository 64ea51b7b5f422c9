// Brokers and remotes that are broken or hostile: a clear coded error, no crash, no hang, and the next call works.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { WebSocketServer } = require('ws');
const { linkup, startBroker, within } = require('../node/helpers');
const { plainClient } = require('./plain-client');

let good;
before(async () => {
  good = await startBroker();
});
after(() => good.close());

const once = (emitter, name) => within(new Promise((resolve) => emitter.once(name, resolve)), 10_000, name);
const timeouts = { broker: 500, connect: 1500 };

/** A server that does what `answer(socket, frame)` says with each frame. */
async function badBroker(answer) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await new Promise((resolve) => server.once('listening', resolve));
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (text) => answer(socket, JSON.parse(text)));
  });
  const url = `ws://127.0.0.1:${server.address().port}`;
  const close = () => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url, close };
}

const ok = (socket, { id, message }) => socket.send(JSON.stringify({ id, message: message.id, error: null }));

/** A call at that broker fails with one of these codes; afterwards a good broker serves the same process. */
async function fails(brokerUrl, codes) {
  const peer = linkup.createPeer('victim', { brokerUrl, timeouts });
  const errors = [];
  peer.on('error', (error) => errors.push(error.code));
  const error = await within(
    peer.send('bob', 1).then(
      () => 'sent',
      (error) => error,
    ),
    10_000,
    'the rejection',
  );
  assert.ok(error instanceof linkup.LinkupError, String(error));
  assert.ok(codes.includes(error.code), `${error.code}: ${error.message}`);
  assert.equal(error.peerId, 'bob');
  await within(peer.close(), 5000, 'close');

  const a = linkup.createPeer('good-a', { brokerUrl: good.url });
  const b = linkup.createPeer('good-b', { brokerUrl: good.url });
  await once(b, 'register');
  const got = once(b, 'message');
  await a.send('good-b', 'fine');
  assert.equal((await got).message, 'fine');
  await Promise.all([a.close(), b.close()]);
  return errors;
}

test('nobody listens', () => fails('ws://127.0.0.1:1', ['ERR_BROKER_UNREACHABLE']));

test('no such host', () => fails('ws://no-such-host.invalid:5000', ['ERR_BROKER_UNREACHABLE']));

test('a server that is no broker', async () => {
  const server = require('node:http').createServer((_, response) => response.end('hello'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  await fails(`ws://127.0.0.1:${server.address().port}`, ['ERR_BROKER_UNREACHABLE']);
  server.closeAllConnections();
  server.close();
});

test('a server that accepts and says nothing', async () => {
  const server = require('node:net').createServer((socket) => socket.on('error', () => {}));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  await fails(`ws://127.0.0.1:${server.address().port}`, ['ERR_BROKER_UNREACHABLE']);
  for (const socket of sockets) socket.destroy();
  server.close();
});

for (const [name, answer] of [
  ['never answers', () => {}],
  ['answers with garbage', (socket) => socket.send('}{ not json \u0000')],
  ['answers with binary garbage', (socket) => socket.send(Buffer.from([0, 255, 254, 1]))],
  ['answers with JSON of another kind', (socket) => socket.send('[1, "two", null]')],
  [
    'answers someone else’s uuid',
    (socket, { message }) =>
      socket.send(JSON.stringify({ id: '00000000-0000-4000-8000-000000000000', message: message.id, error: null })),
  ],
  ['closes mid-request', (socket) => socket.close()],
  ['cuts the connection', (socket) => socket.terminate()],
  ['sends a frame of 10 MB', (socket) => socket.send('x'.repeat(10_000_000))],
]) {
  test(`a broker that ${name} to register`, async () => {
    const broker = await badBroker(answer);
    await fails(broker.url, ['ERR_BROKER_UNREACHABLE', 'ERR_PROTOCOL']);
    await broker.close();
  });

  test(`a broker that ${name} to find`, async () => {
    const broker = await badBroker((socket, frame) => {
      if (frame.message.type === 'register') ok(socket, frame);
      else answer(socket, frame);
    });
    await fails(broker.url, ['ERR_BROKER_UNREACHABLE', 'ERR_PROTOCOL', 'ERR_CONNECT_TIMEOUT']);
    await broker.close();
  });
}

test('a broker that refuses with an error of any shape', async () => {
  for (const error of [
    'no',
    { code: 'E1' },
    { message: 'because' },
    42,
    ['x'],
    { code: 'ERR_NOT_AUTHORIZED', message: 'token?' },
  ]) {
    const broker = await badBroker((socket, { id }) => socket.send(JSON.stringify({ id, message: null, error })));
    await fails(broker.url, ['ERR_NOT_AUTHORIZED']);
    await broker.close();
  }
});

test('a broker that talks nonsense is reported as ERR_PROTOCOL', async () => {
  const broker = await badBroker((socket, frame) => {
    ok(socket, frame);
    socket.send('nonsense');
  });
  const peer = linkup.createPeer('listener', { brokerUrl: broker.url });
  const error = await once(peer, 'error');
  assert.equal(error.code, 'ERR_PROTOCOL');
  await peer.close();
  await broker.close();
});

test('a remote that answers with a broken description', async () => {
  const client = await plainClient(good.url, 'broken-answer');
  client.onsignal = (from, data) =>
    data.type === 'offer' && client.signal(from, { type: 'answer', sdp: 'v=0\r\nnonsense' });
  const peer = linkup.createPeer('caller', { brokerUrl: good.url, timeouts });
  const error = await within(
    peer.connect('broken-answer').then(
      () => null,
      (error) => error,
    ),
    10_000,
    'the rejection',
  );
  assert.equal(error.code, 'ERR_PROTOCOL');
  assert.equal(error.peerId, 'broken-answer');
  await fails(good.url, ['ERR_PEER_NOT_FOUND']);
  await peer.close();
  client.socket.close();
});

test('a remote that sends nonsense of every kind', async () => {
  const client = await plainClient(good.url, 'hostile');
  const peer = linkup.createPeer('target', { brokerUrl: good.url, timeouts });
  const errors = [];
  peer.on('error', (error) => errors.push(error));
  peer.on('connection', () => assert.fail('nobody has connected'));
  await once(peer, 'register');
  const raw = (signal) =>
    client.socket.send(JSON.stringify({ message: { type: 'signal', from: 'hostile', to: 'target', signal } }));
  for (const signal of [
    '',
    '{',
    'null',
    '[]',
    '"x"',
    '{}',
    '{"sdp":1}',
    '{"type":"offer","sdp":"nonsense"}',
    '{"type":"answer","sdp":"v=0"}',
    '{"candidate":{"candidate":"candidate:nonsense"}}',
    '{"candidate":1}',
    '{"type":"offer","sdp":"v=0\\r\\no=- 0 0 IN IP4 0\\r\\ns=-\\r\\nt=0 0\\r\\n"}',
    '{"renegotiate":true}',
    '{"linkup":{"v":1,"session":"x","bye":{}}}',
    '{"linkup":1}',
    `{"type":"offer","sdp":"${'x'.repeat(50_000)}"}`,
  ]) {
    raw(signal);
  }
  for (let n = 0; n < 2000; n++) raw(`{"candidate":{"candidate":"candidate:${n} 1 udp 1 127.0.0.1 9 typ host"}}`);

  // Those all came before this: when it is answered, they were dealt with.
  const friend = linkup.createPeer('friend', { brokerUrl: good.url });
  const got = once(peer, 'message');
  peer.removeAllListeners('connection');
  await friend.send('target', 'still there?');
  assert.equal((await got).message, 'still there?');
  assert.ok(errors.length > 0);
  for (const error of errors) assert.deepEqual([error.code, error.peerId], ['ERR_PROTOCOL', 'hostile']);
  await Promise.all([friend.close(), peer.close()]);
  client.socket.close();
});
