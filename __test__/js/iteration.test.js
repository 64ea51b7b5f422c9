'use strict';
// `for await (const message of connection)`.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { connected, driven, rejects, turns } = require('./helpers');
const { KIND } = require('./pair-engine');

const flows = (called) => called('flow').map(([, [, open]]) => open);

test('a loop gets every message in order, beside the listeners, until the connection closes', async () => {
  const { ab, ba, b } = await connected();
  const heard = [];
  ba.on('message', (message) => heard.push(message));
  b.on('message', ({ message }) => heard.push(message));
  const values = [1, null, Buffer.from('x'), undefined];
  for (const value of values.slice(0, 3)) ab.send(value);
  ab.close();
  const got = [];
  for await (const message of ba) got.push(message);
  assert.deepEqual(got, values.slice(0, 3));
  assert.equal(heard.length, 6);
});

test('nothing is lost between connect() and the loop, nor while its body waits', async () => {
  const { createPeer } = await connected();
  const c = createPeer('c');
  c.on('connection', (connection) => {
    for (let i = 0; i < 10; i++) connection.send(i);
    connection.close();
  });
  const connection = await createPeer('d').connect('c');
  const got = [];
  for await (const message of connection) {
    got.push(message);
    await turns(2);
  }
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('a loop throws the error of a lost connection, after what had come', async () => {
  const { connection, handle, put, failed } = await driven();
  const got = [];
  const loop = (async () => {
    for await (const message of connection) got.push(message);
  })();
  put(KIND.TEXT, handle, '1');
  put(KIND.TEXT, handle, '2');
  put(KIND.CLOSED, handle, failed('ERR_CONNECTION_LOST', 'gone'));
  await rejects(loop, 'ERR_CONNECTION_LOST', { peerId: 'b' });
  assert.deepEqual(got, [1, 2]);
  // A loop that comes too late hears the same.
  await rejects(connection[Symbol.asyncIterator]().next(), 'ERR_CONNECTION_LOST');
});

test('whoever asks several times at once gets one message each; at the end they are done', async () => {
  const { connection, handle, put } = await driven();
  const messages = connection[Symbol.asyncIterator]();
  assert.equal(messages[Symbol.asyncIterator](), messages);
  const asked = [messages.next(), messages.next(), messages.next(), messages.next()];
  put(KIND.TEXT, handle, '1');
  put(KIND.TEXT, handle, '2');
  put(KIND.CLOSED, handle);
  const done = { value: undefined, done: true };
  assert.deepEqual(await Promise.all(asked), [{ value: 1, done: false }, { value: 2, done: false }, done, done]);
  assert.deepEqual(await messages.next(), done);
  assert.deepEqual(await connection[Symbol.asyncIterator]().next(), done);
});

test('the flow stops when 64 messages are kept and goes on when half of them is read', async () => {
  const { connection, handle, put, called } = await driven();
  const messages = connection[Symbol.asyncIterator]();
  for (let i = 0; i < 63; i++) put(KIND.TEXT, handle, '1');
  await turns(80);
  assert.deepEqual(flows(called), []);
  put(KIND.TEXT, handle, '1');
  put(KIND.TEXT, handle, '1');
  await turns();
  assert.deepEqual(flows(called), [false]);
  for (let i = 0; i < 33; i++) await messages.next();
  assert.deepEqual(flows(called), [false]);
  await messages.next();
  assert.deepEqual(flows(called), [false, true]);
});

test('so it does at 256 KiB', async () => {
  const { connection, handle, put, called } = await driven();
  const messages = connection[Symbol.asyncIterator]();
  put(KIND.BINARY, handle, Buffer.alloc(128 * 1024));
  put(KIND.TEXT, handle, JSON.stringify('x'.repeat(128 * 1024 - 3)));
  await turns();
  assert.deepEqual(flows(called), []);
  put(KIND.BINARY, handle, Buffer.alloc(1));
  await turns();
  assert.deepEqual(flows(called), [false]);
  await messages.next();
  assert.deepEqual(flows(called), [false]);
  await messages.next();
  assert.deepEqual(flows(called), [false, true]);
});

test('the flow goes on when the loop is left, and when the connection is to close', async () => {
  for (const [name, end] of [
    ['break', async ({ messages }) => assert.deepEqual(await messages.return(7), { value: 7, done: true })],
    ['Connection.close()', ({ connection }) => void connection.close()],
    ['Peer.close()', ({ peer }) => void peer.close()],
  ]) {
    const world = await driven();
    const { connection, handle, put, called } = world;
    const messages = connection[Symbol.asyncIterator]();
    for (let i = 0; i < 64; i++) put(KIND.TEXT, handle, '1');
    await turns(80);
    assert.deepEqual(flows(called), [false], name);
    await end({ ...world, messages });
    assert.deepEqual(flows(called), [false, true], name);
    // It does not stop again.
    for (let i = 0; i < 64; i++) put(KIND.TEXT, handle, '1');
    await turns(80);
    assert.deepEqual(flows(called), [false, true], name);
  }
});

test('a loop that is left gets nothing more, and others go on', async () => {
  const { connection, handle, put } = await driven();
  const [left, stays] = [connection[Symbol.asyncIterator](), connection[Symbol.asyncIterator]()];
  put(KIND.TEXT, handle, '1');
  await turns();
  await left.return();
  put(KIND.TEXT, handle, '2');
  await turns();
  assert.deepEqual(await left.next(), { value: undefined, done: true });
  assert.deepEqual([(await stays.next()).value, (await stays.next()).value], [1, 2]);
});

test('two loops: the slower one stops the flow', async () => {
  const { connection, handle, put, called } = await driven();
  const [quick, slow] = [connection[Symbol.asyncIterator](), connection[Symbol.asyncIterator]()];
  for (let i = 0; i < 64; i++) {
    put(KIND.TEXT, handle, '1');
    await quick.next();
  }
  assert.deepEqual(flows(called), [false]);
  for (let i = 0; i < 40; i++) await slow.next();
  assert.deepEqual(flows(called), [false, true]);
});

test('a slow loop lets messages wait at the sender', async () => {
  const { ab, ba } = await connected();
  const messages = ba[Symbol.asyncIterator]();
  for (let i = 0; i < 1000; i++) {
    ab.send(i);
    if (i % 50 === 0) await turns(60);
  }
  assert.ok(ab.bufferedAmount > 500, `${ab.bufferedAmount} bytes wait`);
  for (let i = 0; i < 1000; i++) assert.equal((await messages.next()).value, i);
  assert.equal(ab.bufferedAmount, 0);
});
