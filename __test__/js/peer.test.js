'use strict';
// Peer: connecting, both sides at once, accept, find, closing, errors without a promise, keeping the process alive.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connected, memory, rejects, turns, uncaught } = require('./helpers');
const { KIND } = require('./pair-engine');

const opened = (peer, remote, incoming = false) => JSON.stringify({ peer, remote, incoming, linkup: true });

test('calls at the same time share one attempt; a connection that is there is returned', async () => {
  const { createPeer, called } = memory();
  const [a] = [createPeer('a'), createPeer('b')];
  const [one, two] = await Promise.all([a.connect('b'), a.connect('b')]);
  assert.equal(one, two);
  assert.equal(await a.connect('b'), one);
  assert.equal(called('connect').length, 1);
  assert.equal(a.connections.get('b'), one);
  assert.deepEqual([one.id, one.state, one.path, one.metadata], ['b', 'open', 'direct', undefined]);
});

test('both sides at once: one connection, no event connection', async () => {
  const { createPeer } = memory();
  const [a, b] = [createPeer('a'), createPeer('b')];
  for (const peer of [a, b]) peer.on('connection', () => assert.fail('both asked for it'));
  const [ab, ba] = await Promise.all([a.connect('b'), b.connect('a')]);
  assert.deepEqual([a.connections.size, b.connections.size], [1, 1]);
  const heard = new Promise((resolve) => ba.once('message', resolve));
  ab.send('hi');
  assert.equal(await heard, 'hi');
});

test('the remote was faster: its connection is ours, JOINED changes nothing', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const a = createPeer('a');
  const connecting = a.connect('b');
  const own = called('connect')[0][2];
  const incoming = [];
  a.on('connection', (connection) => incoming.push(connection));
  put(KIND.OPEN, 77, opened(1, 'b', true));
  put(KIND.JOINED, own, 77);
  put(KIND.TEXT, 77, '1');
  const connection = await connecting;
  const messages = [];
  connection.on('message', (message) => messages.push(message));
  await turns();
  assert.deepEqual(incoming, [connection]);
  assert.deepEqual(messages, [1]);
  assert.deepEqual(
    called('close').map(([, args]) => args.slice(0, 2)),
    [[own, 'ERR_ABORTED']],
  );
});

test('listeners attached after connect() see connect, then the messages', async () => {
  const { createPeer } = memory();
  const [a, b] = [createPeer('a'), createPeer('b')];
  b.on('connection', (connection) => connection.send('at once'));
  const layer = async () => a.connect('b');
  const connection = await (async () => layer())();
  const heard = [];
  connection.on('connect', () => heard.push('connect'));
  connection.on('message', (message) => heard.push(message));
  await turns();
  assert.deepEqual(heard, ['connect', 'at once']);
});

test('an unknown id and a failed attempt reject all who wait', async () => {
  const { createPeer } = memory();
  const a = createPeer('a');
  const waiting = [a.connect('x'), a.connect('x'), a.send('x', 1)];
  for (const promise of waiting) await rejects(promise, 'ERR_PEER_NOT_FOUND', { peerId: 'x' });
  assert.equal(a.connections.size, 0);
  createPeer('x');
  assert.equal((await a.connect('x')).id, 'x');
});

test('bad ids and options reject with a TypeError that names them', async () => {
  const { createPeer } = memory();
  const a = createPeer('a');
  const bad = (promise, start) => assert.rejects(promise, { name: 'TypeError', message: start });
  for (const call of [(id) => a.connect(id), (id) => a.disconnect(id), (id) => a.send(id, 1)]) {
    for (const id of [undefined, 1, '', 'é'.repeat(129), '\ud800']) await bad(call(id), /^peerId: /);
  }
  await bad(a.find(''), /^id: /);
  await bad(a.connect('b', 1), /^options: /);
  await bad(a.connect('b', { ack: true }), /^options\.ack: /);
  await bad(a.send('b', 1, { timeout: 1 }), /^options\.timeout: /);
  await bad(a.connect('b', { signal: {} }), /^options\.signal: /);
  for (const call of [a.connect('a'), a.send('a', 1)]) await rejects(call, 'ERR_CONNECT_SELF', { peerId: 'a' });
});

test('neither peers nor connections can be made by hand, nor their map be changed', async () => {
  const { Peer, Connection, a, b, ab } = await connected();
  assert.ok(a instanceof Peer && ab instanceof Connection);
  assert.throws(() => new Peer('x'), TypeError);
  assert.throws(() => new Connection('x'), TypeError);
  const { connections } = a;
  for (const change of [() => connections.set('x', 1), () => connections.delete('b'), () => connections.clear()]) {
    assert.throws(change, TypeError);
  }
  assert.deepEqual([...connections.keys()], ['b']);
  assert.equal(b.connections.size, 1);
});

test('accept decides', async () => {
  const { createPeer } = memory();
  const requests = [];
  const verdicts = [true, undefined, false, 'not today', Promise.resolve('later'), Promise.reject(new Error('no'))];
  verdicts.at(-1).catch(() => {});
  const accept = (request) => {
    requests.push(request);
    return verdicts[Number(request.from)];
  };
  createPeer('b', { accept });
  const results = [];
  for (const i of verdicts.keys()) {
    const peer = createPeer(String(i), { metadata: { i } });
    results.push(
      await peer.connect('b').then(
        () => 'open',
        ({ code, message }) => `${code} ${message}`,
      ),
    );
  }
  const denied = (reason) => `ERR_DENIED ${reason}`;
  assert.deepEqual(results, ['open', 'open', denied('denied'), denied('not today'), denied('later'), denied('no')]);
  assert.deepEqual(requests[2], { from: '2', metadata: { i: 2 }, identity: null });
});

test('an accept that throws denies', async () => {
  const { createPeer } = memory();
  const accept = () => {
    throw new Error('on purpose');
  };
  createPeer('b', { accept });
  await rejects(createPeer('a').connect('b'), 'ERR_DENIED', { message: 'on purpose' });
});

test('metadata of each side reaches the other', async () => {
  const { ab, ba } = await connected({ a: { metadata: 'from a' }, b: { metadata: { from: 'b' } } });
  assert.deepEqual([ab.metadata, ba.metadata], [{ from: 'b' }, 'from a']);
});

test('state, register, offline', async () => {
  const { createPeer, put } = memory({ auto: false });
  const peer = createPeer('a');
  const heard = [];
  peer.on('register', (id) => heard.push(['register', id, peer.state]));
  peer.on('offline', (event) => heard.push(['offline', event, peer.state]));
  assert.equal(peer.state, 'connecting');
  put(KIND.REGISTERED, 1);
  put(KIND.OFFLINE, 1, 'cut', 500);
  put(KIND.OFFLINE, 1, 'still cut', 900);
  put(KIND.REGISTERED, 1);
  await turns();
  assert.deepEqual(heard, [
    ['register', 'a', 'registered'],
    ['offline', { reason: 'cut', retryIn: 500 }, 'offline'],
    ['register', 'a', 'registered'],
  ]);
});

test('find asks the broker', async () => {
  const { createPeer } = memory();
  const a = createPeer('a');
  assert.deepEqual([await a.find('a'), await a.find('b')], [true, false]);
});

test('errors without a listener are one warning for each code, never an exception', async () => {
  const { createPeer, put, failed, warnings } = memory({ auto: false });
  const peer = createPeer('a');
  const errors = await uncaught(async () => {
    for (let i = 0; i < 3; i++) put(KIND.ERROR, 1, failed('ERR_PROTOCOL', 'nonsense'), 'b');
    put(KIND.ERROR, 1, failed('ERR_ID_TAKEN', 'taken'));
    await turns();
  });
  assert.deepEqual(errors, []);
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['ERR_PROTOCOL', 'ERR_ID_TAKEN'],
  );
  const heard = [];
  peer.on('error', (error) => heard.push([error.code, error.peerId]));
  put(KIND.ERROR, 1, failed('ERR_PROTOCOL'), 'b');
  await turns();
  assert.deepEqual(heard, [['ERR_PROTOCOL', 'b']]);
  assert.equal(warnings.length, 2);
});

test('close ends everything: later calls and all that is pending reject', async () => {
  const { createPeer, put, called } = memory({ auto: false });
  const peer = createPeer('a');
  const other = peer.connect('b');
  const finding = peer.find('b');
  const closing = peer.close();
  assert.equal(peer.close(), closing);
  assert.equal(peer.state, 'closed');
  await rejects(other, 'ERR_PEER_CLOSED', { peerId: 'b' });
  for (const call of [peer.connect('b'), peer.send('b', 1), peer.disconnect('b'), peer.find('b')]) {
    await rejects(call, 'ERR_PEER_CLOSED', { peerId: 'b' });
  }
  await turns();
  assert.equal(called('closePeer').length, 1);
  put(KIND.PEER_CLOSED, 1);
  await closing;
  await rejects(finding, 'ERR_PEER_CLOSED');
});

test('close delivers what waits for a connection first', async () => {
  const { createPeer } = memory();
  const [a, b] = [createPeer('a'), createPeer('b')];
  const heard = [];
  b.on('message', ({ message }) => heard.push(message));
  const sent = Promise.allSettled([a.send('b', 1), a.send('b', 2), a.send('nobody', 3)]);
  await a.close();
  assert.deepEqual(
    (await sent).map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  await turns();
  assert.deepEqual(heard, [1, 2]);
});

test('close rejects where not everything could be delivered, which crashes nobody', async () => {
  const { createPeer, put, failed } = memory({ auto: false });
  const peer = createPeer('a');
  const closing = peer.close();
  await turns();
  put(KIND.PEER_CLOSED, 1, failed('ERR_CLOSE_TIMEOUT'));
  await turns();
  await rejects(closing, 'ERR_CLOSE_TIMEOUT');
});

test('a peer holds the process until it is closed, unless told otherwise', async () => {
  const { createPeer, held } = memory();
  const peers = [createPeer('a'), createPeer('b')];
  assert.equal(held(), 2);
  assert.equal(peers[0].unref().unref(), peers[0]);
  assert.equal(held(), 1);
  peers[0].ref().ref();
  assert.equal(held(), 2);
  peers[1].unref();
  const closing = peers.map((peer) => peer.close());
  assert.equal(held(), 2);
  peers[1].unref();
  await Promise.all(closing);
  assert.equal(held(), 0);
  peers[1].ref();
  assert.equal(held(), 0);
});

test('await using closes', async () => {
  const { createPeer } = memory();
  const peer = createPeer('a');
  await peer[Symbol.asyncDispose]();
  assert.equal(peer.state, 'closed');
});
