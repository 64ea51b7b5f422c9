'use strict';
// Messages: values, sizes, order, the outbox of a connection that is coming up, back-pressure.

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { test } = require('node:test');
const vm = require('node:vm');
const { connected, driven, memory, next, rejects, turns } = require('./helpers');
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

/** Bytes 1, 2, 3 in every shape, none of them alone in its buffer but the buffers themselves. */
function shapes() {
  const around = () => Uint8Array.of(0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0).buffer;
  const shared = new SharedArrayBuffer(4);
  new Uint8Array(shared).set([1, 2, 3, 4]);
  return [
    Buffer.from([1, 2, 3, 4]),
    Uint8Array.of(1, 2, 3, 4).buffer,
    shared,
    new Uint8Array(shared),
    new Uint8Array(around(), 4, 4),
    new Int16Array(around(), 4, 2),
    new Float32Array(around(), 4, 1),
    new DataView(around(), 4, 4),
    vm.runInNewContext('Uint8Array.of(1, 2, 3, 4).buffer'),
    vm.runInNewContext('new DataView(Uint8Array.of(1, 2, 3, 4).buffer)'),
  ];
}

test('a buffer, and any view of one, arrives as its bytes', async () => {
  const { a, ab, ba, called } = await connected();
  const heard = [];
  ba.on('message', (message) => heard.push(message));
  for (const [i, value] of shapes().entries()) await (i % 2 ? ab.send(value) : a.send('b', value));
  await ab.send(new Uint8Array(0));
  await turns();
  assert.deepEqual(heard, [...shapes().map(() => Buffer.from([1, 2, 3, 4])), Buffer.alloc(0)]);
  for (const [, [, data]] of called('send')) assert.ok(!(data.buffer instanceof SharedArrayBuffer));
});

test('bytes are taken when send is called, also where they wait for the connection', async () => {
  const { createPeer } = memory();
  const [a, b] = [createPeer('a'), createPeer('b')];
  const heard = [];
  b.on('message', ({ message }) => heard.push(message[0]));
  const bytes = Uint8Array.of(1);
  const first = a.send('b', bytes);
  bytes[0] = 2;
  await first;
  const second = a.send('b', bytes);
  bytes[0] = 3;
  await second;
  await turns();
  assert.deepEqual(heard, [1, 2]);
});

test("an open connection copies no bytes that are the application's alone", async () => {
  const { ab, called } = await connected();
  const bytes = new Float64Array(10);
  ab.send(bytes);
  assert.equal(called('send')[0][1][1].buffer, bytes.buffer);
});

test('bytes are JSON below the top only', async () => {
  const { ab, ba } = await connected();
  const heard = next(ba, 'message');
  ab.send({ bytes: Buffer.from('x') });
  assert.deepEqual(await heard, { bytes: { type: 'Buffer', data: [120] } });
});

test('binary over a limit is refused with both numbers: our own, and what the remote takes', async () => {
  const { a, ab, ba } = await connected({
    a: { limits: { messageBytes: 1_000_000 } },
    b: { limits: { messageBytes: 9 } },
  });
  const refused = (size, limit) => ({ details: { size, limit } });
  await rejects(ab.send(new Uint8Array(1_000_001)), 'ERR_MESSAGE_TOO_LARGE', refused(1_000_001, 1_000_000));
  await rejects(a.send('b', new Float64Array(125_001)), 'ERR_MESSAGE_TOO_LARGE', refused(1_000_008, 1_000_000));
  await rejects(ab.send(new Uint8Array(262_145)), 'ERR_MESSAGE_TOO_LARGE', refused(262_145, 262_144));
  await ba.send(new Uint8Array(9));
  await rejects(ba.send(new Uint8Array(10)), 'ERR_MESSAGE_TOO_LARGE', refused(10, 9));
});

test('a limit of the remote that only the engine knows is in the error, too', async () => {
  const { ab, engine } = await connected();
  engine.maxMessage = () => 10;
  engine.send = () => -3;
  await rejects(ab.send('123456789'), 'ERR_MESSAGE_TOO_LARGE', { details: { size: 11, limit: 10 } });
});

test('a plain client takes neither bytes nor asks for acknowledgements', async () => {
  const { a, ab } = await connected({ engine: { plain: true } });
  const message = /plain simple-peer client/;
  await rejects(ab.send(Buffer.from('x')), 'ERR_UNSUPPORTED', { peerId: 'b', message });
  await rejects(ab.send(1, { ack: true }), 'ERR_UNSUPPORTED', { peerId: 'b', message });
  await rejects(a.send('b', 1, { ack: true }), 'ERR_UNSUPPORTED', { message });
  await ab.send(1, { ack: false });
});

test('with ack, send resolves with nothing when the engine says that the remote has it', async () => {
  const { connection, peer, called, put } = await driven();
  const done = [];
  const sent = [connection.send('x', { ack: true }), peer.send('b', Buffer.from('y'), { ack: true })];
  for (const promise of sent) promise.then((value) => done.push(value));
  const tokens = called('send').map(([, [, , token]]) => token);
  assert.ok(tokens[0] > 0 && tokens[1] > 0 && tokens[0] !== tokens[1]);
  await turns();
  assert.deepEqual(done, []);
  put(KIND.SETTLED, tokens[0], 'true');
  await sent[0];
  put(KIND.SETTLED, tokens[1], 'true');
  await sent[1];
  assert.deepEqual(done, [undefined, undefined]);
});

test('with ack, also through the outbox, above the mark, and when the connection ends before', async () => {
  const { createPeer, called, put, failed } = memory({ auto: false });
  const peer = createPeer('a');
  const sent = peer.send('b', 1, { ack: true });
  put(KIND.OPEN, called('connect')[0][2], open(1, 'b'));
  await turns();
  const [[, [handle, , token]]] = called('send');
  put(KIND.SETTLED, token, null, failed('ERR_CONNECTION_LOST', 'gone'));
  put(KIND.CLOSED, handle, failed('ERR_CONNECTION_LOST', 'gone'));
  await rejects(sent, 'ERR_CONNECTION_LOST', { peerId: 'b' });
  const { ab } = await connected({ a: { limits: { highWaterMark: 1 } } });
  await ab.send('above the mark', { ack: true });
});

test('an acknowledgement that never comes is rejected with the connection, whatever the engine says', async () => {
  for (const [error, code] of [
    [null, 'ERR_CONNECTION_CLOSED'],
    [JSON.stringify({ code: 'ERR_CONNECTION_LOST', message: 'gone' }), 'ERR_CONNECTION_LOST'],
  ]) {
    const { connection, handle, put } = await driven();
    const sent = connection.send('x', { ack: true });
    put(KIND.CLOSED, handle, error);
    await rejects(sent, code, { peerId: 'b' });
  }
});

test('an acknowledged message on a connection that was just lost goes over the next one', async () => {
  const { engine, peer, called, put } = await driven();
  const { send } = engine;
  engine.send = () => -1;
  const sent = peer.send('b', 'x', { ack: true });
  engine.send = send;
  put(KIND.CLOSED, called('connect')[0][2]);
  await turns();
  put(KIND.OPEN, called('connect')[1][2], open(1, 'b'));
  await turns();
  put(KIND.SETTLED, called('send')[0][1][2], 'true');
  await sent;
});

test('a full buffer refuses with ack as without', async () => {
  const { ab } = await connected({ a: { limits: { bufferedBytes: 10 } } });
  ab.send('12345678');
  await rejects(ab.send(1, { ack: true }), 'ERR_BUFFER_FULL', { details: { limit: 10 } });
});

test('an abort ends the waiting for an acknowledgement, not the message', async () => {
  const { connection, called, put } = await driven();
  const abort = new AbortController();
  const sent = connection.send('x', { ack: true, signal: abort.signal });
  abort.abort('enough');
  await rejects(sent, 'ERR_ABORTED', { peerId: 'b', cause: 'enough' });
  assert.equal(called('send').length, 1);
  put(KIND.SETTLED, called('send')[0][1][2], 'true');
  await turns();
  const again = new AbortController();
  const second = connection.send('y', { ack: true, signal: again.signal });
  put(KIND.SETTLED, called('send')[1][1][2], 'true');
  await second;
  await turns();
  assert.equal(getEventListeners(again.signal, 'abort').length, 0);
});

test('what is not an option of send is a TypeError', async () => {
  const { a, ab } = await connected();
  const wrong = { name: 'TypeError', message: /^options.ack: must be of type boolean/ };
  await assert.rejects(ab.send(1, { ack: 1 }), wrong);
  await assert.rejects(a.send('b', 1, { ack: 'yes' }), wrong);
  await assert.rejects(a.connect('b', { ack: true }), { name: 'TypeError', message: /^options.ack: unknown option/ });
});

test('messages in pieces tell their progress', async () => {
  const { connection, handle, put } = await driven();
  const heard = [];
  connection.on('progress', (event) => heard.push(event));
  put(KIND.SENDING, handle, 65536, 1_000_000);
  put(KIND.RECEIVING, handle, 2, 3);
  await turns();
  assert.deepEqual(heard, [
    { direction: 'send', bytes: 65536, total: 1_000_000 },
    { direction: 'receive', bytes: 2, total: 3 },
  ]);
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
