'use strict';
// Streams as pages have them: a ReadableStream and a WritableStream, which Node.js has, too, over an engine in memory.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { test } = require('node:test');
const { Emitter } = require('../../js/emitter');
const { streamPair: stream } = require('../../js/page/stream');
const { connected, credit, driven, next, turns, uncaught } = require('./helpers');
const { KIND } = require('./pair-engine');

const [OPEN, DATA, END, RESET, CREDIT] = [8, 9, 10, 11, 12];
const MIB = 1024 * 1024;

/** Both ends of a stream that a has opened, and what their errors and closes are. */
async function streams(meta) {
  const world = await connected({ engine: { stream } });
  const there = next(world.ba, 'stream');
  const one = world.ab.createStream('name', meta);
  const two = await there;
  const events = [];
  for (const [side, pair] of [
    ['a', one],
    ['b', two],
  ]) {
    pair.on('error', ({ code, message }) => events.push([side, code, message]));
    pair.on('close', () => events.push([side, 'close']));
  }
  return { ...world, one, two, events };
}

async function read({ readable }) {
  const chunks = [];
  for await (const chunk of readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function send({ writable }, ...chunks) {
  const writer = writable.getWriter();
  for (const chunk of chunks) await writer.write(chunk);
  await writer.close();
}

/** What a promise rejects with. */
const failure = (promise) => promise.then(assert.fail, (error) => error);

test('a pair of streams, which arrives with name and meta', async () => {
  const { one, two, ab, ba } = await streams({ size: 1 });
  for (const [pair, connection] of [
    [one, ab],
    [two, ba],
  ]) {
    assert.ok(pair instanceof Emitter);
    assert.ok(pair.readable instanceof ReadableStream && pair.writable instanceof WritableStream);
    assert.deepEqual([pair.name, pair.meta, pair.connection], ['name', { size: 1 }, connection]);
  }
});

test('bytes go both ways, larger than any buffer; both ends close', async () => {
  const { one, two, events } = await streams();
  const data = crypto.randomBytes(5 * MIB);
  const echoing = two.readable.pipeTo(two.writable);
  const sending = send(one, data);
  assert.ok((await read(one)).equals(data));
  await Promise.all([echoing, sending]);
  await turns();
  assert.deepEqual(events.sort(), [
    ['a', 'close'],
    ['b', 'close'],
  ]);
});

test('chunks are strings, buffers and views of any kind', async () => {
  const { one, two } = await streams();
  const around = Uint8Array.of(0, 0, 1, 2, 0, 0).buffer;
  const chunks = ['é', Uint8Array.of(1).buffer, new Uint16Array(around, 2, 1), new DataView(around, 2, 2), '', 'end'];
  const sending = send(one, ...chunks);
  assert.deepEqual([...(await read(two))], [0xc3, 0xa9, 1, 1, 2, 1, 2, 0x65, 0x6e, 0x64]);
  await sending;
});

test('what is no chunk is a TypeError and resets the stream', async () => {
  const { one, events } = await streams();
  const writer = one.writable.getWriter();
  const error = await failure(writer.write({ not: 'bytes' }));
  assert.ok(error instanceof TypeError && /^chunk: /.test(error.message));
  await turns();
  assert.deepEqual(
    events.map(([side, code]) => [side, code]),
    [
      ['a', 'close'],
      ['b', 'ERR_ABORTED'],
      ['b', 'close'],
    ],
  );
});

test('half closed: the other direction goes on', async () => {
  const { one, two } = await streams();
  await send(one, 'question');
  assert.equal(String(await read(two)), 'question');
  await send(two, 'ans', 'wer');
  assert.equal(String(await read(one)), 'answer');
});

test('a reader that does not read stops the writer, and gets no more than it asks for', async () => {
  const { one, two, ab } = await streams();
  const writer = one.writable.getWriter();
  let written = 0;
  const writes = Array.from({ length: 100 }, () => writer.write(Buffer.alloc(65536)).then(() => (written += 65536)));
  await turns();
  assert.equal(written, MIB);
  assert.equal(ab.bufferedAmount, 100 * 65536 - MIB);
  assert.ok(writer.desiredSize < 0);
  const reader = two.readable.getReader();
  let got = 0;
  while (got < 100 * 65536) got += (await reader.read()).value.length;
  await Promise.all(writes);
  assert.equal(ab.bufferedAmount, 0);
});

test('small pieces wait together, and are read together', async () => {
  const { connection, hear } = await driven({ engine: { stream } });
  const reader = connection.createStream('x').readable.getReader();
  for (const [pieces, expected] of [
    [['a', 'b'], 'ab'],
    [['c'], 'c'],
    [['d', 'e', 'f'], 'def'],
  ]) {
    for (const piece of pieces) await hear(DATA, 0, piece);
    assert.equal(String(Buffer.from((await reader.read()).value)), expected);
  }
});

test('only what is read gives credit', async () => {
  const { connection, hear, frames } = await driven({ engine: { stream } });
  const reader = connection.createStream('x').readable.getReader();
  for (let i = 0; i < 16; i++) await hear(DATA, 0, Buffer.alloc(65536));
  for (let i = 0; i < 3; i++) await reader.read();
  assert.deepEqual(frames().slice(1), []);
  await reader.read();
  assert.deepEqual(frames().slice(1), [[CREDIT, 0, credit(MIB + MIB / 4)]]);
});

for (const [name, end] of [
  ['abort of the writer', ({ one }) => one.writable.abort(new Error('no more'))],
  ['abort of a reason that is no error', ({ one }) => one.writable.abort('no more')],
  ['cancel of the reader', ({ one }) => one.readable.cancel(new Error('no more'))],
]) {
  test(`${name}: both halves end here, and there with the reason`, async () => {
    const world = await streams();
    const { one, two, events } = world;
    const reading = failure(two.readable.getReader().read());
    await end(world);
    assert.deepEqual(
      [(await reading).code, (await reading).message, (await reading).peerId],
      ['ERR_ABORTED', 'no more', 'a'],
    );
    assert.ok(await failure(two.writable.getWriter().write('x')));
    assert.deepEqual(events, [
      ['a', 'close'],
      ['b', 'ERR_ABORTED', 'no more'],
      ['b', 'close'],
    ]);
    if (name.includes('writer')) assert.equal((await failure(one.readable.getReader().read())).code, 'ERR_ABORTED');
    else if (name.includes('reader'))
      assert.equal((await failure(one.writable.getWriter().write(''))).code, 'ERR_ABORTED');
  });
}

test('an abort does not wait for a write that waits for credit', async () => {
  const { one, ab, events } = await streams();
  const writer = one.writable.getWriter();
  const writing = failure(writer.write(Buffer.alloc(3 * MIB)));
  await turns();
  await writer.abort(new Error('enough'));
  assert.equal((await writing).code, 'ERR_ABORTED');
  await turns();
  assert.deepEqual(events.at(-1), ['b', 'close']);
  assert.equal(ab.bufferedAmount, 0);
});

test('a reset ends a write that waits for credit', async () => {
  const { one, two } = await streams();
  const writing = failure(one.writable.getWriter().write(Buffer.alloc(3 * MIB)));
  await turns();
  await two.readable.cancel('enough');
  assert.deepEqual([(await writing).code, (await writing).message], ['ERR_ABORTED', 'enough']);
});

test('a reset that nobody listens to is an error of the peer, and no exception', async () => {
  const { a, ab, ba } = await connected({ engine: { stream } });
  const there = next(ba, 'stream');
  ab.createStream('x');
  const error = next(a, 'error');
  const thrown = await uncaught(async () => {
    await (await there).writable.abort(new Error('no'));
    assert.deepEqual([(await error).code, (await error).message], ['ERR_ABORTED', 'no']);
  });
  assert.deepEqual(thrown, []);
});

test('a lost connection: every stream that is not over has its error', async () => {
  const { one, two, engine, called, events } = await streams();
  const reading = failure(two.readable.getReader().read());
  const writing = failure(one.writable.getWriter().write(Buffer.alloc(3 * MIB)));
  const read = await Promise.race([reading.catch(() => {}), turns()]);
  assert.equal(read, undefined);
  engine.close(called('connect')[0][2], 'ERR_CONNECTION_LOST', 'gone');
  assert.equal((await writing).code, 'ERR_CONNECTION_LOST');
  await turns();
  assert.deepEqual(events.sort(), [
    ['a', 'ERR_CONNECTION_LOST', 'gone'],
    ['a', 'close'],
    ['b', 'ERR_CONNECTION_LOST', 'gone'],
    ['b', 'close'],
  ]);
});

test('a connection that closes in order delivers what was written; it may be read afterwards', async () => {
  const { one, two, ab, events } = await streams();
  const writer = one.writable.getWriter();
  const writes = [writer.write('first'), writer.write(Buffer.alloc(300_000))];
  await ab.close();
  await Promise.all(writes);
  assert.equal((await failure(writer.write('late'))).code, 'ERR_CONNECTION_CLOSED');
  await turns();
  assert.deepEqual(events, [
    ['a', 'ERR_CONNECTION_CLOSED', 'the connection is closed'],
    ['a', 'close'],
  ]);
  assert.equal((await read(two)).length, 300_005);
  assert.deepEqual(events.slice(2), [
    ['b', 'ERR_CONNECTION_CLOSED', 'the connection is closed'],
    ['b', 'close'],
  ]);
});

test('where both directions were over there is no error, however late it is read', async () => {
  const { one, two, ab, events } = await streams();
  await send(two, 'there');
  const writer = one.writable.getWriter();
  writer.write(Buffer.alloc(200_000));
  await ab.close();
  assert.equal(String(await read(one)), 'there');
  assert.equal((await read(two)).length, 200_000);
  assert.deepEqual(events.sort(), [
    ['a', 'close'],
    ['b', 'close'],
  ]);
  assert.equal((await failure(writer.write('late'))).code, 'ERR_CONNECTION_CLOSED');
});

test('what is written to a stream whose connection closes fails, and reading goes on', async () => {
  const { connection, hear, put, handle, frames } = await driven({ engine: { stream } });
  const pair = connection.createStream('x');
  const writer = pair.writable.getWriter();
  writer.write('before');
  connection.close();
  await turns();
  assert.equal((await failure(writer.write('after'))).code, 'ERR_CONNECTION_CLOSED');
  await hear(DATA, 0, 'still');
  await hear(END, 0);
  put(KIND.CLOSED, handle);
  await turns();
  assert.equal(String(await read(pair)), 'still');
  assert.deepEqual(
    frames().map(([kind]) => kind),
    [OPEN, DATA, END],
  );
});

test('a reset ends reading at once, and nothing is sent any more', async () => {
  const { connection, hear, frames } = await driven({ engine: { stream } });
  const { readable, writable } = connection.createStream('x');
  const errors = [];
  connection.on('error', (error) => errors.push(error));
  await hear(DATA, 0, 'data');
  await hear(RESET, 0, '');
  assert.equal((await failure(readable.getReader().read())).message, 'the remote ended the stream');
  assert.equal((await failure(writable.getWriter().closed)).code, 'ERR_ABORTED');
  assert.deepEqual(frames().length, 1);
  assert.deepEqual(errors, []);
});

test('progress: each 64 KiB and at the end, with the total that meta.size says', async () => {
  const { one, two } = await streams({ size: 200_000 });
  const heard = { a: [], b: [] };
  one.on('progress', (event) => heard.a.push(event));
  two.on('progress', (event) => heard.b.push(event));
  const sending = send(one, ...Array.from({ length: 20 }, () => Buffer.alloc(10_000)));
  await read(two);
  await sending;
  for (const [side, direction] of [
    ['a', 'send'],
    ['b', 'receive'],
  ]) {
    assert.deepEqual(
      heard[side],
      [70_000, 140_000, 200_000].map((bytes) => ({ direction, bytes, total: 200_000 })),
    );
  }
});
