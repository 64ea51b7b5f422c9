'use strict';
// Connection: closing, being closed, giving up by AbortSignal, a new connection after an old one.

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { test } = require('node:test');
const { connected, driven, memory, rejects, turns } = require('./helpers');
const { KIND } = require('./pair-engine');

const opened = (peer, remote) => JSON.stringify({ peer, remote, incoming: false, linkup: true });
const handles = (calls) => calls.map(([, , handle]) => handle);

test('close delivers, then closes both sides; each hears of it once', async () => {
  const { a, b, ab, ba } = await connected();
  const heard = [];
  ab.on('close', (event) => heard.push(['a', event]));
  ba.on('close', (event) => heard.push(['b', event]));
  ba.on('message', (message) => heard.push(message));
  ab.send(1);
  const closing = ab.close();
  assert.equal(ab.close(), closing);
  assert.equal(ab.state, 'closing');
  assert.equal(a.connections.get('b'), ab);
  await rejects(ab.send(2), 'ERR_CONNECTION_CLOSED', { peerId: 'b' });
  await closing;
  await turns();
  const orderly = { code: null, reason: '' };
  assert.deepEqual(heard, [1, ['a', orderly], ['b', orderly]]);
  assert.deepEqual([ab.state, ba.state, a.connections.size, b.connections.size], ['closed', 'closed', 0, 0]);
  await ab.close();
  await ba.close();
  await rejects(ba.send(3), 'ERR_CONNECTION_CLOSED');
  await rejects(ba.stats(), 'ERR_CONNECTION_CLOSED');
});

test('a close that the remote does not confirm rejects, and is closed all the same', async () => {
  const { connection, handle, put, failed } = await driven();
  const closing = connection.close();
  put(KIND.CLOSED, handle, failed('ERR_CLOSE_TIMEOUT', 'no answer', { unconfirmed: 3 }));
  await rejects(closing, 'ERR_CLOSE_TIMEOUT', { peerId: 'b', details: { unconfirmed: 3 } });
  assert.equal(connection.state, 'closed');
});

test('a lost connection: close with the code', async () => {
  const { connection, handle, put, failed } = await driven();
  const event = new Promise((resolve) => connection.on('close', resolve));
  put(KIND.CLOSED, handle, failed('ERR_CONNECTION_LOST', 'nothing heard for 10 s'));
  assert.deepEqual(await event, { code: 'ERR_CONNECTION_LOST', reason: 'nothing heard for 10 s' });
});

test('disconnect closes, and resolves at once where there is nothing', async () => {
  const { a, ab } = await connected();
  await a.disconnect('nobody');
  await a.disconnect('b');
  assert.equal(ab.state, 'closed');
});

test('disconnect gives an attempt up, but delivers messages that wait for it', async () => {
  const { createPeer, called } = memory();
  const [a, b] = [createPeer('a'), createPeer('b')];
  const heard = [];
  b.on('message', ({ message }) => heard.push(message));
  const connecting = a.connect('b');
  await Promise.all([a.disconnect('b'), rejects(connecting, 'ERR_CONNECTION_CLOSED', { peerId: 'b' })]);
  assert.equal(called('close').length, 1);
  a.send('b', 1);
  await a.disconnect('b');
  assert.deepEqual(heard, [1]);
  assert.equal(a.connections.size, 0);
});

test('a new connection to the same peer begins when the old one has ended', async () => {
  const { peer, connection, handle, put, called } = await driven();
  connection.close();
  const sent = [peer.send('b', 1), peer.send('b', 2)];
  const next = peer.connect('b');
  assert.equal(called('connect').length, 1);
  put(KIND.CLOSED, handle);
  await turns();
  const [, second] = handles(called('connect'));
  put(KIND.OPEN, second, opened(1, 'b'));
  await Promise.all(sent);
  assert.notEqual(await next, connection);
  assert.deepEqual(
    called('send').map(([, args]) => args),
    [
      [second, '1', 0],
      [second, '2', 0],
    ],
  );
});

test('Peer.close() names the remote that has not got everything, and how much', async () => {
  const { peer, handle, put, failed } = await driven();
  const closing = peer.close();
  put(KIND.CLOSED, handle, failed('ERR_CLOSE_TIMEOUT', 'late', { unconfirmed: 3 }));
  await turns();
  put(KIND.PEER_CLOSED, 1, failed('ERR_CLOSE_TIMEOUT'));
  await rejects(closing, 'ERR_CLOSE_TIMEOUT', { peerId: 'b', details: { unconfirmed: 3 } });
});

test('the next one but one also waits for the old one', async () => {
  const { peer, connection, handle, put, called } = await driven();
  connection.close();
  const abort = new AbortController();
  const given = peer.connect('b', { signal: abort.signal });
  abort.abort();
  await rejects(given, 'ERR_ABORTED');
  const next = peer.connect('b');
  assert.equal(called('connect').length, 1);
  put(KIND.CLOSED, handle);
  await turns();
  const [, second] = handles(called('connect'));
  put(KIND.OPEN, second, opened(1, 'b'));
  assert.equal((await next).state, 'open');
});

test('a connection that is lost before anybody hears of it: what waited goes over the next one', async () => {
  const { createPeer, called, put, engine } = memory({ auto: false });
  const peer = createPeer('a');
  const sent = peer.send('b', 'waited');
  const connecting = peer.connect('b');
  const [first] = handles(called('connect'));
  // The engine knows nothing of a connection that has ended.
  engine.maxMessage = (handle) => (handle === first ? 0 : 1000);
  const { send } = engine;
  engine.send = (handle, ...args) => (handle === first ? -1 : send(handle, ...args));
  put(KIND.OPEN, first, opened(1, 'b'));
  await rejects((await connecting).send('now'), 'ERR_CONNECTION_CLOSED', { peerId: 'b' });
  put(KIND.CLOSED, first);
  await turns();
  const [, second] = handles(called('connect'));
  put(KIND.OPEN, second, opened(1, 'b'));
  await sent;
  assert.deepEqual(
    called('send').map(([, args]) => args),
    [[second, '"waited"', 0]],
  );
});

test('stats come from the engine', async () => {
  const { ab } = await connected();
  assert.deepEqual(await ab.stats(), { bytesSent: 1 });
});

test('a signal that has fired already begins nothing', async () => {
  const { createPeer, called } = memory();
  const a = createPeer('a');
  const reason = new Error('too late');
  const signal = AbortSignal.abort(reason);
  for (const call of [a.connect('b', { signal }), a.send('b', 1, { signal })]) {
    await rejects(call, 'ERR_ABORTED', { peerId: 'b', cause: reason });
  }
  assert.equal(called('connect').length, 0);
});

test('an abort of the only one who waits gives the attempt up', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const a = createPeer('a');
  for (const call of [(signal) => a.connect('b', { signal }), (signal) => a.send('b', 1, { signal })]) {
    const abort = new AbortController();
    const promise = call(abort.signal);
    const [handle] = handles(called('connect')).slice(-1);
    abort.abort();
    await rejects(promise, 'ERR_ABORTED', { peerId: 'b' });
    assert.deepEqual(called('close').at(-1)[1].slice(0, 2), [handle, 'ERR_ABORTED']);
    // It had just come up: nobody hears of it.
    put(KIND.OPEN, handle, opened(1, 'b'));
    await turns();
    assert.equal(a.connections.size, 0);
  }
});

test('an abort of one of several takes only that one out', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const a = createPeer('a');
  const abort = new AbortController();
  const { signal } = abort;
  const [kept, given] = [a.connect('b'), a.connect('b', { signal })];
  const messages = [a.send('b', 1), a.send('b', 2, { signal }), a.send('b', 3)];
  abort.abort('changed my mind');
  await rejects(given, 'ERR_ABORTED', { cause: 'changed my mind' });
  await rejects(messages[1], 'ERR_ABORTED');
  assert.equal(called('close').length, 0);
  put(KIND.OPEN, called('connect')[0][2], opened(1, 'b'));
  await Promise.all([kept, messages[0], messages[2]]);
  assert.deepEqual(
    called('send').map(([, [, text]]) => text),
    ['1', '3'],
  );
});

test('no listener stays on a signal', async () => {
  const { createPeer } = memory();
  const [a] = [createPeer('a'), createPeer('b')];
  const { signal } = new AbortController();
  const calls = [a.connect('b', { signal }), a.send('b', 1, { signal }), a.connect('nobody', { signal })];
  assert.equal(getEventListeners(signal, 'abort').length, 3);
  await Promise.allSettled(calls);
  await a.send('b', 1, { signal });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('an abort after the message was handed over does nothing', async () => {
  const { a, b } = await connected();
  const abort = new AbortController();
  const heard = new Promise((resolve) => b.once('message', resolve));
  const sent = a.send('b', 'x', { signal: abort.signal });
  abort.abort();
  await sent;
  assert.deepEqual(await heard, { from: 'a', message: 'x' });
});

test('a peer that is closed ends its connections with close', async () => {
  const { a, ab, ba } = await connected();
  const events = [];
  ab.on('close', ({ code }) => events.push(code));
  ba.on('close', ({ code }) => events.push(code));
  await a.close();
  await turns();
  assert.deepEqual(events, [null, null]);
  assert.equal(ab.state, 'closed');
});
