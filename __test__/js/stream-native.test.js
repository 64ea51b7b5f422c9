'use strict';
// Streams as Node.js has them: a Duplex, over an engine in memory.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { Duplex, Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { test } = require('node:test');
const { connected, credit, driven, next, turns, uncaught } = require('./helpers');
const { KIND } = require('./pair-engine');

const [OPEN, DATA, END, RESET, CREDIT] = [8, 9, 10, 11, 12];
const MIB = 1024 * 1024;

/** Both ends of a stream that a has opened, and what their errors and closes are. */
async function streams(meta, options) {
  const world = await connected(options);
  const there = next(world.ba, 'stream');
  const one = world.ab.createStream('name', meta);
  const two = await there;
  const events = [];
  for (const [side, stream] of [
    ['a', one],
    ['b', two],
  ]) {
    stream.on('error', ({ code, message }) => events.push([side, code, message]));
    stream.on('close', () => events.push([side, 'close']));
  }
  return { ...world, one, two, events };
}

const read = async (stream) => {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  await next(stream, 'end');
  return Buffer.concat(chunks);
};

test('a Duplex, which arrives with name and meta', async () => {
  const { one, two, ab, ba } = await streams({ size: 1 });
  for (const [stream, connection] of [
    [one, ab],
    [two, ba],
  ]) {
    assert.ok(stream instanceof Duplex);
    assert.deepEqual([stream.name, stream.meta, stream.connection], ['name', { size: 1 }, connection]);
  }
});

test('bytes go both ways, larger than any buffer; both ends close', async () => {
  const { one, two, events } = await streams();
  const data = crypto.randomBytes(5 * MIB);
  two.pipe(two);
  one.end(data);
  assert.ok((await read(one)).equals(data));
  await turns();
  assert.deepEqual(events, [
    ['b', 'close'],
    ['a', 'close'],
  ]);
});

test('strings are UTF-8, whatever they are written as', async () => {
  const { one, two } = await streams();
  one.write('é€😀');
  one.write('6869', 'hex');
  one.write(new Uint16Array([0x2121]).buffer.byteLength === 2 ? Uint8Array.of(33) : '');
  one.end();
  assert.equal(String(await read(two)), 'é€😀hi!');
});

test('half closed: the other direction goes on', async () => {
  const { one, two } = await streams();
  one.end('question');
  assert.equal(String(await read(two)), 'question');
  two.write('ans');
  await turns();
  two.end('wer');
  assert.equal(String(await read(one)), 'answer');
});

test('pipeline and for await work with it', async () => {
  const { one, two, events } = await streams();
  const chunks = Array.from({ length: 100 }, () => crypto.randomBytes(30_000));
  const sending = pipeline(Readable.from(chunks), one);
  const got = [];
  for await (const chunk of two) got.push(chunk);
  await sending;
  assert.ok(Buffer.concat(got).equals(Buffer.concat(chunks)));
  one.resume();
  await turns();
  // A loop that has read everything destroys what it has read: that is an end, no reset.
  assert.deepEqual(events, [
    ['b', 'close'],
    ['a', 'close'],
  ]);
});

test('a reader that does not read stops the writer; memory stays within the credit and the marks', async () => {
  const { one, two, ab } = await streams();
  let written = 0;
  const chunk = Buffer.alloc(65536);
  for (let i = 0; i < 100; i++) {
    if (!one.write(chunk, () => (written += chunk.length))) await Promise.race([next(one, 'drain'), turns(30)]);
  }
  assert.ok(written <= MIB, `${written} bytes have gone`);
  assert.equal(ab.bufferedAmount, 100 * 65536 - written);
  two.resume();
  await turns(100);
  assert.equal(written, 100 * 65536);
  assert.equal(ab.bufferedAmount, 0);
});

test('destroy resets the other end, with the reason', async () => {
  for (const [end, reason] of [
    [({ one }) => one.destroy(new Error('no more')), 'no more'],
    [({ one }) => one.destroy(), 'the remote ended the stream'],
    [({ one }) => one.destroy(new Error('x'.repeat(100_000))), 'x'.repeat(1000)],
    [async ({ one }) => pipeline(Readable.from([1].map(() => assert.fail('in the source'))), one), 'in the source'],
  ]) {
    const world = await streams().catch(assert.fail);
    const { two, events } = world;
    two.write('unread');
    try {
      await end(world);
    } catch {
      world.one.destroy(new Error('in the source'));
    }
    const failed = await new Promise((resolve) => two.on('error', resolve));
    assert.deepEqual(
      [failed.name, failed.code, failed.message, failed.peerId],
      ['LinkupError', 'ERR_ABORTED', reason, 'a'],
    );
    await turns();
    assert.deepEqual(
      events.filter(([side]) => side === 'b').map(([, code]) => code),
      ['ERR_ABORTED', 'close'],
    );
  }
});

test('a loop that is left in the middle resets the stream', async () => {
  const { one, two, events } = await streams();
  one.write('one');
  for await (const chunk of two) {
    assert.equal(String(chunk), 'one');
    break;
  }
  await turns();
  assert.deepEqual(events, [
    ['b', 'ABORT_ERR', 'The operation was aborted'],
    ['b', 'close'],
    ['a', 'ERR_ABORTED', 'The operation was aborted'],
    ['a', 'close'],
  ]);
});

test('a write that waits for credit hears of the reset, from either side', async () => {
  for (const end of [({ one }) => one.destroy(), ({ two }) => two.destroy()]) {
    const world = await streams();
    const { one } = world;
    const written = new Promise((resolve) => one.write(Buffer.alloc(3 * MIB), resolve));
    await turns();
    end(world);
    assert.equal((await written).code, 'ERR_ABORTED');
    await turns();
    assert.equal(world.ab.bufferedAmount, 0);
  }
});

test('a reset that nobody listens to is an error of the peer, and no exception', async () => {
  const { a, ab, ba } = await connected();
  const there = next(ba, 'stream');
  ab.createStream('x');
  const error = next(a, 'error');
  const thrown = await uncaught(async () => {
    (await there).on('error', () => {}).destroy(new Error('no'));
    assert.deepEqual([(await error).code, (await error).message], ['ERR_ABORTED', 'no']);
  });
  assert.deepEqual(thrown, []);
});

test('an own error that nobody listens to is an exception, as Node.js has it', async () => {
  const { ab } = await connected();
  const thrown = await uncaught(() => ab.createStream('x').destroy(new Error('own')));
  assert.deepEqual(
    thrown.map(({ message }) => message),
    ['own'],
  );
});

test('a lost connection: every stream that is not over has its error', async () => {
  const { one, two, engine, called, events, b } = await streams();
  b.on('error', assert.fail);
  const written = new Promise((resolve) => one.write(Buffer.alloc(3 * MIB), resolve));
  await turns();
  engine.close(called('connect')[0][2], 'ERR_CONNECTION_LOST', 'gone');
  assert.equal((await written).code, 'ERR_CONNECTION_LOST');
  await turns();
  assert.deepEqual(events.sort(), [
    ['a', 'ERR_CONNECTION_LOST', 'gone'],
    ['a', 'close'],
    ['b', 'ERR_CONNECTION_LOST', 'gone'],
    ['b', 'close'],
  ]);
  const late = new Promise((resolve) => two.write('x', resolve));
  assert.ok((await late) instanceof Error);
});

test('a connection that closes in order delivers what was written; it may be read afterwards', async () => {
  const { one, two, ab, events } = await streams();
  one.write('first');
  one.write(Buffer.alloc(300_000));
  await ab.close();
  await turns();
  assert.deepEqual(events, [
    ['a', 'ERR_CONNECTION_CLOSED', 'the connection is closed'],
    ['a', 'close'],
  ]);
  // Here the other direction was not over: it says so when everything is read.
  assert.equal((await read(two)).length, 300_005);
  await turns();
  assert.deepEqual(events.slice(2), [
    ['b', 'ERR_CONNECTION_CLOSED', 'the connection is closed'],
    ['b', 'close'],
  ]);
});

test('where both directions were over there is no error, however late it is read', async () => {
  const { one, two, ab, events } = await streams();
  two.end('there');
  await turns();
  one.write(Buffer.alloc(200_000));
  await ab.close();
  assert.equal(String(await read(one)), 'there');
  assert.equal((await read(two)).length, 200_000);
  await turns();
  assert.deepEqual(events.sort(), [
    ['a', 'close'],
    ['b', 'close'],
  ]);
});

test('what is written to a stream whose connection closes fails, and the other end has all from before', async () => {
  const { connection, hear, put, handle, frames } = await driven();
  const stream = connection.createStream('x');
  const events = [];
  stream.on('error', ({ code }) => events.push(code));
  stream.write('before');
  connection.close();
  await turns();
  stream.write('after');
  await turns();
  assert.deepEqual(events, ['ERR_CONNECTION_CLOSED']);
  await hear(DATA, 0, 'for nobody');
  put(KIND.CLOSED, handle);
  await turns();
  assert.deepEqual(
    frames().map(([kind]) => kind),
    [OPEN, DATA, END],
  );
});

test('a stream that is never written nor read closes when both sides have ended it', async () => {
  const { one, two, events } = await streams();
  one.end();
  two.end();
  await turns();
  assert.deepEqual(events.sort(), [
    ['a', 'close'],
    ['b', 'close'],
  ]);
});

test('progress: each 64 KiB and at the end, with the total that meta.size says', async () => {
  const { one, two } = await streams({ size: 200_000 });
  const heard = { a: [], b: [] };
  one.on('progress', (event) => heard.a.push(event));
  two.on('progress', (event) => heard.b.push(event));
  for (let i = 0; i < 20; i++) one.write(Buffer.alloc(10_000));
  one.end();
  await read(two);
  two.end('reply');
  await read(one);
  for (const [side, direction] of [
    ['a', 'send'],
    ['b', 'receive'],
  ]) {
    const progress = heard[side].filter((event) => event.direction === direction);
    assert.ok(progress.every(({ total }) => total === 200_000));
    assert.deepEqual(
      progress.map(({ bytes }) => bytes),
      [70_000, 140_000, 200_000],
    );
  }
  const reply = { bytes: 5, total: undefined };
  assert.deepEqual(heard.a.at(-1), { direction: 'receive', ...reply });
  assert.deepEqual(heard.b.at(-1), { direction: 'send', ...reply });
});

test('progress without a size has no total', async () => {
  const { one } = await streams({ size: 'large' });
  const heard = next(one, 'progress');
  one.end('12345');
  assert.deepEqual(await heard, { direction: 'send', bytes: 5, total: undefined });
});

test('no credit for what is only buffered: a reader that pauses stops the remote', async () => {
  const { connection, hear, frames } = await driven();
  const stream = connection.createStream('x');
  stream.once('data', () => stream.pause());
  for (let i = 0; i < 16; i++) await hear(DATA, 0, Buffer.alloc(65536));
  assert.deepEqual(
    frames().filter(([kind]) => kind === CREDIT),
    [],
  );
  stream.resume();
  await turns();
  assert.deepEqual(frames().at(-1), [CREDIT, 0, credit(2 * MIB)]);
});

test('a reset ends reading at once', async () => {
  const { connection, hear } = await driven();
  const stream = connection.createStream('x');
  stream.on('error', () => {});
  await hear(DATA, 0, 'data');
  await hear(END, 0);
  await hear(RESET, 0, 'because');
  assert.equal(stream.destroyed, true);
  assert.equal(stream.read(), null);
});
