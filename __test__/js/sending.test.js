'use strict';
// Messages: values, sizes, order, the outbox of a connection that is coming up, back-pressure.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connected, memory, rejects, turns } = require('./helpers');
const { KIND } = require('./pair-engine');

const open = (peer, remote, more) => JSON.stringify({ peer, remote, incoming: false, linkup: true, ...more });

test('values arrive as JSON makes them', async () => {
  const { ab, ba } = await connected();
  const heard = [];
  ba.on('message', (message) => heard.push(message));
  const values = [
    null,
    0,
    -0,
    '',
    '\ud800',
    '😀',
    [],
    {},
    JSON.parse('{"__proto__":1}'),
    new Date(0),
    { toJSON: () => 'j' },
  ];
  for (const value of values) await ab.send(value);
  await turns();
  assert.deepEqual(
    heard,
    values.map((value) => JSON.parse(JSON.stringify(value))),
  );
  assert.ok(Object.hasOwn(heard[8], '__proto__'));
});

test('what JSON cannot carry is refused', async () => {
  const { a, ab } = await connected();
  const cycle = {};
  cycle.cycle = cycle;
  const throws = { toJSON: () => assert.fail('in toJSON') };
  for (const value of [undefined, () => {}, Symbol('s'), 1n, cycle, { a: 1n }, throws]) {
    await rejects(ab.send(value), 'ERR_INVALID_MESSAGE', { peerId: 'b' });
    await rejects(a.send('b', value), 'ERR_INVALID_MESSAGE', { peerId: 'b' });
  }
  await assert.rejects(ab.send(1n), (error) => error.cause instanceof TypeError);
  // Nor does a bad message to a new peer begin a connection.
  await rejects(a.send('c', undefined), 'ERR_INVALID_MESSAGE', { peerId: 'c' });
});

test('binary and ack come later', async () => {
  const { a, ab } = await connected();
  for (const value of [Buffer.from('x'), new ArrayBuffer(1), new Float64Array(1), new DataView(new ArrayBuffer(1))]) {
    await rejects(ab.send(value), 'ERR_UNSUPPORTED');
  }
  await rejects(ab.send(1, { ack: true }), 'ERR_UNSUPPORTED');
  await rejects(a.send('b', 1, { ack: true }), 'ERR_UNSUPPORTED');
  await ab.send(1, { ack: false });
});

test('a message over the limit is refused with both numbers, before anything is sent', async () => {
  const { a, ab, called } = await connected({ a: { limits: { messageBytes: 100 } } });
  const before = called('send').length;
  await ab.send('x'.repeat(98));
  await ab.send('é'.repeat(49));
  for (const [text, size] of [
    ['x'.repeat(99), 101],
    ['é'.repeat(50), 102],
    ['€'.repeat(33), 101],
    ['😀'.repeat(25), 102],
  ]) {
    await rejects(ab.send(text), 'ERR_MESSAGE_TOO_LARGE', { details: { size, limit: 100 }, peerId: 'b' });
    await rejects(a.send('c', text), 'ERR_MESSAGE_TOO_LARGE', { peerId: 'c' });
  }
  assert.equal(called('send').length, before + 2);
});

test('a message over what the remote takes is refused, also when it waited for the connection', async () => {
  const { a, ab, called } = await connected();
  const details = { size: 262145, limit: 262144 };
  await ab.send('x'.repeat(262142));
  await rejects(ab.send('x'.repeat(262143)), 'ERR_MESSAGE_TOO_LARGE', { details });
  await a.disconnect('b');
  const first = a.send('b', 'small');
  await rejects(a.send('b', 'x'.repeat(262143)), 'ERR_MESSAGE_TOO_LARGE', { details });
  await first;
  assert.equal(called('send').length, 2);
});

test('messages to a peer that is being connected wait and keep their order', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const peer = createPeer('a');
  const sent = [peer.send('b', 1), peer.send('b', 2)];
  const connecting = peer.connect('b').then((connection) => connection.send('after connect()'));
  sent.push(peer.send('b', 3));
  assert.equal(called('connect').length, 1);
  put(KIND.OPEN, called('connect')[0][2], open(1, 'b'));
  await Promise.all([...sent, connecting]);
  const texts = called('send').map(([, [, text]]) => JSON.parse(text));
  assert.deepEqual(texts, [1, 2, 3, 'after connect()']);
});

test('what listeners of connection and connect send comes after what was sent before', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const peer = createPeer('a');
  peer.send('b', 1);
  peer.connect('b');
  peer.send('b', 2);
  peer.on('connection', (connection) => {
    connection.send('in connection');
    peer.send('b', 'also in connection');
    connection.on('connect', () => connection.send('in connect'));
  });
  // The remote was faster: its connection comes while ours is under way.
  put(KIND.OPEN, 999, open(1, 'b', { incoming: true }));
  await turns();
  const texts = called('send').map(([, [handle, text]]) => [handle, JSON.parse(text)]);
  const expected = [1, 2, 'in connection', 'also in connection', 'in connect'];
  assert.deepEqual(
    texts,
    expected.map((message) => [999, message]),
  );
});

test('the outbox is bounded', async () => {
  const { createPeer } = memory({ auto: false });
  const peer = createPeer('a', { limits: { bufferedBytes: 10 } });
  const first = peer.send('b', '12345678');
  await rejects(peer.send('b', 1), 'ERR_BUFFER_FULL', { peerId: 'b', details: { limit: 10 } });
  const abort = new AbortController();
  const second = peer.send('c', '12345678', { signal: abort.signal });
  abort.abort();
  await rejects(second, 'ERR_ABORTED');
  assert.ok(first instanceof Promise);
});

test('send waits for the buffer to fall under its mark', async () => {
  const { ab } = await connected({ a: { limits: { highWaterMark: 10 } } });
  let resolved = 0;
  const count = () => resolved++;
  ab.send('1').then(count);
  ab.send('2345678901').then(count);
  ab.send('3').then(count);
  await Promise.resolve().then(() => {});
  assert.equal(resolved, 1);
  assert.ok(ab.bufferedAmount > 10);
  await turns();
  assert.equal(resolved, 3);
  assert.equal(ab.bufferedAmount, 0);
});

test('a full buffer refuses', async () => {
  const { a, ab } = await connected({ a: { limits: { bufferedBytes: 10 } } });
  const full = Promise.allSettled([ab.send('12345678'), ab.send(1), a.send('b', 2)]);
  assert.deepEqual(
    (await full).map(({ status, reason }) => reason?.code ?? status),
    ['fulfilled', 'ERR_BUFFER_FULL', 'ERR_BUFFER_FULL'],
  );
});

test('who waits for the buffer hears when the connection is lost, and nothing else', async () => {
  const { ab, engine, called } = await connected({ a: { limits: { highWaterMark: 1 } } });
  const waiting = ab.send('wait for it');
  engine.close(called('connect')[0][2], 'ERR_CONNECTION_LOST', 'gone');
  await rejects(waiting, 'ERR_CONNECTION_LOST', { peerId: 'b' });
});

test('a message on a connection that the engine has just lost goes over the next one', async () => {
  const { a, b, ab, engine, called } = await connected();
  const heard = [];
  b.on('message', ({ message }) => heard.push(message));
  engine.close(called('connect')[0][2], 'ERR_CONNECTION_LOST', 'gone');
  assert.equal(ab.state, 'open');
  await Promise.all([a.send('b', 1), a.send('b', 2)]);
  await rejects(ab.send(3), 'ERR_CONNECTION_CLOSED');
  await turns();
  assert.deepEqual(heard, [1, 2]);
});

test('text that is not JSON closes the connection and is an error of it', async () => {
  const { ba, b, engine, called } = await connected();
  const errors = [];
  const closed = new Promise((resolve) => ba.on('close', resolve));
  ba.on('error', (error) => errors.push(error));
  b.on('error', (error) => errors.push(error));
  ba.on('message', assert.fail);
  const handle = called('connect')[0][2];
  engine.send(handle, '{not json');
  engine.send(handle, '1');
  await turns();
  assert.deepEqual(
    errors.map(({ code, peerId }) => [code, peerId]),
    [['ERR_PROTOCOL', 'a']],
  );
  assert.ok(errors[0].cause instanceof SyntaxError);
  assert.equal((await closed).code, 'ERR_PROTOCOL');
});

test('a message over the own limit closes the connection', async () => {
  const { ab, ba } = await connected({ b: { limits: { messageBytes: 10 } } });
  ba.on('message', assert.fail);
  const error = new Promise((resolve) => ba.once('error', resolve));
  const closed = new Promise((resolve) => ab.once('close', resolve));
  ab.send('123456789');
  const { code, details, peerId } = await error;
  assert.deepEqual(
    { code, details, peerId },
    {
      code: 'ERR_MESSAGE_TOO_LARGE',
      details: { size: 11, limit: 10 },
      peerId: 'a',
    },
  );
  assert.equal((await closed).code, 'ERR_MESSAGE_TOO_LARGE');
});

test('without a listener of the connection it is an error of the peer', async () => {
  const { b, engine, called } = await connected();
  const error = new Promise((resolve) => b.once('error', resolve));
  engine.send(called('connect')[0][2], 'nonsense');
  assert.equal((await error).code, 'ERR_PROTOCOL');
});

test('a message goes to the connection first, then to the peer', async () => {
  const { ab, ba, b } = await connected();
  const heard = [];
  b.on('message', (envelope) => heard.push(envelope));
  ba.on('message', (message) => heard.push(message));
  ab.send('x');
  await turns();
  assert.deepEqual(heard, ['x', { from: 'a', message: 'x' }]);
});
