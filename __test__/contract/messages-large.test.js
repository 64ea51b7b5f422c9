'use strict';
// Messages of any size and kind: whole, in order, within the limits of both sides.

const { CORPUS, MIB, SIZES, bytesOf } = require('./corpus');
const { assert, collect, next, pair, registered, rejects, test, within } = require('./harness');

/** Whether a message is a binary one with these bytes. */
function same(message, bytes) {
  assert.equal(message.constructor.name, globalThis.Buffer ? 'Buffer' : 'Uint8Array');
  return message.length === bytes.length && message.every((byte, i) => byte === bytes[i]);
}

test('JSON of any shape and size equals JSON.parse(JSON.stringify(x)), both ways', async () => {
  const { ab, ba } = await pair();
  const [there, back] = [collect(ba, 'message'), collect(ab, 'message')];
  for (const value of CORPUS) await within(Promise.all([ab.send(value), ba.send(value)]), 'send');
  for (const { until } of [there, back]) {
    const list = await until(CORPUS.length);
    for (const [i, value] of CORPUS.entries()) {
      const text = JSON.stringify(value);
      assert.ok(JSON.stringify(list[i]) === text, `${i}: ${text.slice(0, 100)}`);
      if (text.length < 10_000) assert.deepEqual(list[i], JSON.parse(text));
    }
    assert.ok(Object.hasOwn(list[9], '__proto__'));
    assert.equal(list[10].constructor === undefined, false);
  }
  assert.equal({}.a, undefined);
});

test('binary messages of any size arrive whole and in order between others, both ways', async () => {
  const { ab, ba } = await pair();
  const [there, back] = [collect(ba, 'message'), collect(ab, 'message')];
  for (const size of SIZES) {
    for (const connection of [ab, ba]) {
      connection.send(size);
      await within(connection.send(bytesOf(size)), 'send');
    }
  }
  for (const { until } of [there, back]) {
    const list = await until(2 * SIZES.length);
    for (const [i, size] of SIZES.entries()) {
      assert.equal(list[2 * i], size);
      assert.ok(same(list[2 * i + 1], bytesOf(size)), `${size} bytes`);
    }
  }
});

test('one of 64 MiB, the most that there may be; one byte more is refused', async () => {
  const { ab, ba } = await pair();
  const most = 64 * MIB;
  const heard = next(ba, 'message');
  // JSON puts quotes around it.
  assert.equal(await ab.send('x'.repeat(most - 2)), undefined);
  assert.equal((await heard).length, most - 2);
  await rejects(ab.send('x'.repeat(most - 1)), 'ERR_MESSAGE_TOO_LARGE');
  assert.equal(await ab.close(), undefined);
});

test('a buffer and any view of one arrive as their bytes', async () => {
  const { a, b, ab, ba } = await pair();
  const messages = collect(ba, 'message');
  const around = bytesOf(200_000).buffer;
  const values = [around, new DataView(around, 7, 100_001)];
  const views = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array];
  views.push(Float32Array, Float64Array, BigInt64Array, BigUint64Array);
  for (const View of views) values.push(new View(around, 8 * View.BYTES_PER_ELEMENT, 10_000));
  if (globalThis.Buffer) values.push(Buffer.from(around, 9, 70_000));
  if (globalThis.SharedArrayBuffer) {
    const shared = new SharedArrayBuffer(70_000);
    new Uint8Array(shared).set(bytesOf(70_000));
    values.push(shared, new Uint8Array(shared, 3));
  }
  for (const [i, value] of values.entries()) {
    await within(i % 2 ? ab.send(value) : a.send(b.id, value), 'send');
  }
  const list = await messages.until(values.length);
  for (const [i, value] of values.entries()) {
    const { buffer = value, byteOffset = 0, byteLength } = value;
    assert.ok(same(list[i], new Uint8Array(buffer, byteOffset, byteLength)), value.constructor.name);
  }
});

test('bytes are taken as they are when send is called, also while connecting', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(b, 'message');
  const bytes = bytesOf(200_000);
  const sent = [a.send(b.id, bytes)];
  bytes.fill(1);
  const connection = await within(a.connect(b.id), 'connect');
  sent.push(connection.send(bytes));
  bytes.fill(2);
  await within(Promise.all(sent), 'send');
  const [first, second] = (await messages.until(2)).map(({ message }) => message);
  assert.ok(same(first, bytesOf(200_000)));
  assert.ok(second.every((byte) => byte === 1));
});

test("over limits.messageBytes, ours or the remote's, a message rejects with both numbers", async () => {
  const { b, ab, ba } = await pair({ limits: { messageBytes: 300_000 } }, { limits: { messageBytes: 100_000 } });
  const messages = collect(ba, 'message');
  const refused = (size, limit) => ({ peerId: b.id, details: { size, limit } });
  await rejects(ab.send(new Uint8Array(300_001)), 'ERR_MESSAGE_TOO_LARGE', refused(300_001, 300_000));
  await rejects(ab.send(new Uint8Array(100_001)), 'ERR_MESSAGE_TOO_LARGE', refused(100_001, 100_000));
  await rejects(ab.send('é'.repeat(50_000)), 'ERR_MESSAGE_TOO_LARGE', refused(100_002, 100_000));
  await within(ab.send(new Uint8Array(100_000)), 'send');
  await within(ab.send('é'.repeat(49_999)), 'send');
  const [bytes, text] = await messages.until(2);
  assert.deepEqual([bytes.length, text.length], [100_000, 49_999]);
});

for (const [name, text] of [
  ['text', 'x'.repeat(64 * 1024)],
  ['long text', 'x'.repeat(70_000)],
  ['binary', bytesOf(64 * 1024)],
]) {
  test(`50 messages of ${name}, then close(): all arrive, both ways`, async () => {
    for (const from of ['ab', 'ba']) {
      const ends = await pair();
      const [sender, receiver] = from === 'ab' ? [ends.ab, ends.ba] : [ends.ba, ends.ab];
      const messages = collect(receiver, 'message');
      const sends = Array.from({ length: 50 }, () => sender.send(text));
      await within(sender.close(), 'close');
      await Promise.all(sends);
      assert.equal(messages.list.length, 50);
      assert.ok(messages.list.every((message) => message.length === text.length));
    }
  });
}

test('progress of a long message, on both sides, up to the whole of it', async () => {
  const { ab, ba } = await pair();
  const [out, incoming] = [collect(ab, 'progress'), collect(ba, 'progress')];
  const message = next(ba, 'message');
  await within(ab.send(new Uint8Array(5 * MIB)), 'send');
  await message;
  for (const [{ list }, direction] of [
    [out, 'send'],
    [incoming, 'receive'],
  ]) {
    assert.ok(list.length > 3 && list.length < 100, `${list.length} events`);
    assert.ok(list.every((event) => event.direction === direction && event.total === 5 * MIB));
    assert.ok(list.every(({ bytes }, i) => bytes > (list[i - 1]?.bytes ?? 0)));
    assert.equal(list.at(-1).bytes, 5 * MIB);
  }
});

test('with ack, send resolves when the remote has it: small, long, binary, while connecting', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(b, 'message');
  const options = { ack: true };
  assert.equal(await within(a.send(b.id, 0, options), 'ack'), undefined);
  const connection = await a.connect(b.id);
  const sent = ['small', 'x'.repeat(MIB), bytesOf(10), bytesOf(MIB)].map((value) => connection.send(value, options));
  await within(Promise.all(sent), 'acks');
  await messages.until(5);
  await within(connection.send('one more', options), 'ack', 2000);
});

test('with ack, send rejects where the connection ends before', async () => {
  const { b, ab, ba } = await pair({ timeouts: { close: 500 } });
  // Nobody reads: the remote's window fills.
  ba[Symbol.asyncIterator]();
  const sends = Array.from({ length: 40 }, () => ab.send(new Uint8Array(MIB), { ack: true }));
  const last = rejects(sends.at(-1), 'ERR_CLOSE_TIMEOUT', { peerId: b.id });
  const settled = Promise.allSettled(sends);
  await rejects(ab.close(), 'ERR_CLOSE_TIMEOUT');
  await last;
  await within(settled, 'the others');
});

test('what a close in order delivers is acknowledged', async () => {
  const { ab } = await pair();
  const sent = [1, bytesOf(MIB), 'last'].map((value) => ab.send(value, { ack: true }));
  await within(ab.close(), 'close');
  await within(Promise.all(sent), 'acks');
});

test('an abort ends the waiting for an ack with ERR_ABORTED', async () => {
  const { b, ab, ba } = await pair();
  const message = next(ba, 'message');
  const abort = new AbortController();
  const sent = ab.send(bytesOf(MIB), { ack: true, signal: abort.signal });
  abort.abort('enough');
  await rejects(sent, 'ERR_ABORTED', { peerId: b.id, cause: 'enough' });
  assert.equal((await message).length, MIB);
});
