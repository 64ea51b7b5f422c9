'use strict';
// Streams: bytes in both directions beside the messages. How a runtime has them is in the harness' `using`.

const { MIB, bytesOf } = require('./corpus');
const { assert, collect, linkup, next, pair, rejects, test, using, within } = require('./harness');

function same(one, two) {
  return one.length === two.length && one.every((byte, i) => byte === two[i]);
}

/** Two peers and both ends of a stream that a has opened. */
async function streams(meta, options) {
  const ends = await pair(options);
  const incoming = next(ends.ba, 'stream');
  const one = ends.ab.createStream('name', meta);
  const two = await incoming;
  return { ...ends, one, two, near: using(one), far: using(two) };
}

/** Writes all and ends. */
async function send({ write, end }, bytes, step = 50_000) {
  for (let i = 0; i < bytes.length; i += step) await write(bytes.subarray(i, i + step));
  await end();
}

/** Sends back what comes. */
async function echo({ read, write, end }) {
  for (let chunk = await read(); chunk !== null; chunk = await read()) await write(chunk);
  await end();
}

test('a stream has its name, what was said about it, and its connection, on both sides', async () => {
  const meta = { size: 1, é: [null, { a: 'b' }] };
  const { ab, ba, one, two } = await streams(meta);
  for (const [stream, connection] of [
    [one, ab],
    [two, ba],
  ]) {
    assert.deepEqual([stream.name, stream.meta, stream.connection === connection], ['name', meta, true]);
  }
});

test('3 MB there and back', async () => {
  const { one, two, near, far } = await streams();
  const closed = Promise.all([next(one, 'close'), next(two, 'close')]);
  const data = bytesOf(3_000_000, 1);
  const done = Promise.all([echo(far), send(near, data)]);
  assert.ok(same(await within(near.readAll(), 'echo'), data));
  await within(done, 'both ends');
  await closed;
});

test('strings are UTF-8; chunks are buffers and views', async () => {
  const { near, far } = await streams();
  const around = Uint8Array.of(0, 1, 2, 3);
  const sending = (async () => {
    await near.write('é😀');
    await near.write(around.subarray(1, 3));
    await near.write('');
    await near.end();
  })();
  assert.deepEqual([...(await within(far.readAll(), 'all'))], [0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 1, 2]);
  await sending;
});

test('many streams at once, in both directions, beside messages', async () => {
  const { ab, ba } = await pair();
  const count = 20;
  const size = 300_000;
  const messages = [collect(ab, 'message'), collect(ba, 'message')];
  const incoming = [ab, ba].map((connection) => collect(connection, 'stream'));
  const sending = [ab, ba].flatMap((connection) =>
    Array.from({ length: count }, (_, i) =>
      send(using(connection.createStream(`${i}`, { seed: i })), bytesOf(size, i)),
    ),
  );
  for (let i = 0; i < 100; i++) for (const connection of [ab, ba]) connection.send(`${i}`.repeat(1000));
  for (const { until } of incoming) {
    const list = await until(count);
    const all = await within(Promise.all(list.map((stream) => using(stream).readAll())), 'all bytes');
    for (const [i, bytes] of all.entries()) assert.ok(same(bytes, bytesOf(size, list[i].meta.seed)), `stream ${i}`);
  }
  await within(Promise.all(sending), 'writers');
  for (const { until } of messages) {
    const list = await until(100);
    assert.ok(list.every((text, i) => text === `${i}`.repeat(1000)));
  }
});

test('a stream that nobody reads stops its writer only: messages and other streams overtake it', async () => {
  const { ab, ba, near, far } = await streams();
  const incoming = next(ba, 'stream');
  const big = bytesOf(4 * MIB, 2);
  let written = false;
  const writing = send(near, big, big.length).then(() => {
    written = true;
  });
  const message = next(ba, 'message');
  await within(ab.send('overtakes', { ack: true }), 'ack');
  assert.equal(await message, 'overtakes');
  const sending = send(using(ab.createStream('other')), bytesOf(2 * MIB, 3));
  const other = using(await incoming);
  assert.ok(same(await within(other.readAll(), 'the other stream'), bytesOf(2 * MIB, 3)));
  await sending;
  assert.equal(written, false);
  assert.ok(ab.bufferedAmount >= 2 * MIB, `${ab.bufferedAmount} bytes wait`);
  assert.ok(same(await within(far.readAll(), 'the first stream'), big));
  await within(writing, 'writer');
});

test('half closed: the other direction goes on', async () => {
  const { near, far } = await streams();
  await send(near, bytesOf(10, 4));
  assert.equal((await within(far.readAll(), 'question')).length, 10);
  await far.write('an');
  await far.write('swer');
  await far.end();
  assert.equal((await within(near.readAll(), 'answer')).length, 6);
});

for (const [name, pick] of [
  ['its maker', ({ near, far }) => [near, far]],
  ['the other side', ({ near, far }) => [far, near]],
]) {
  test(`${name} aborts: both directions end, there with ERR_ABORTED and the reason`, async () => {
    const world = await streams();
    const { ab, ba } = world;
    const [aborting, other] = pick(world);
    await other.write('never read');
    const error = next(other.stream, 'error');
    const closed = Promise.all([next(aborting.stream, 'close'), next(other.stream, 'close')]);
    const writing = other.write(new Uint8Array(3 * MIB)).then(
      () => assert.fail('it cannot have been read'),
      ({ code }) => code,
    );
    aborting.stream.on('error', () => {});
    await within(aborting.abort(new Error('no more')), 'abort');
    const { code, message, peerId } = await error;
    assert.deepEqual([code, message, peerId], ['ERR_ABORTED', 'no more', other.stream.connection.id]);
    assert.equal(await within(writing, 'writer'), 'ERR_ABORTED');
    await closed;
    // The connection goes on.
    const heard = next(ba, 'message');
    await ab.send('still there');
    assert.equal(await heard, 'still there');
  });
}

test('where nobody listens to streams they are refused', async () => {
  const { b, ab } = await pair();
  const { code, peerId } = await next(ab.createStream('x'), 'error');
  assert.deepEqual([code, peerId], ['ERR_ABORTED', b.id]);
});

test('a bad name or meta is a TypeError; a connection that is closing makes none', async () => {
  const { b, ab } = await pair();
  assert.throws(() => ab.createStream(), { name: 'TypeError', message: /^name: / });
  assert.throws(() => ab.createStream('x'.repeat(257)), { name: 'TypeError', message: /^name: / });
  assert.throws(() => ab.createStream('x', 1n), { name: 'TypeError', message: /^meta: / });
  assert.throws(() => ab.createStream('x', 'x'.repeat(16_383)), { name: 'TypeError', message: /^meta: / });
  const closing = ab.close();
  const refused = (error) => error instanceof linkup.LinkupError && error.code === 'ERR_CONNECTION_CLOSED';
  assert.throws(
    () => ab.createStream('x'),
    (error) => refused(error) && error.peerId === b.id,
  );
  await closing;
});

test('progress on both sides, with the total that meta.size says', async () => {
  const { one, two, near, far } = await streams({ size: 1_000_000 });
  const [out, incoming] = [collect(one, 'progress'), collect(two, 'progress')];
  const sending = send(near, bytesOf(1_000_000, 5));
  await within(far.readAll(), 'all');
  await sending;
  for (const [{ list }, direction] of [
    [out, 'send'],
    [incoming, 'receive'],
  ]) {
    assert.ok(list.length > 5 && list.length <= 16, `${list.length} events`);
    assert.ok(list.every((event) => event.direction === direction && event.total === 1_000_000));
    assert.equal(list.at(-1).bytes, 1_000_000);
  }
});

for (const [name, end] of [
  ['Connection.close()', ({ ab }) => ab.close()],
  ['Peer.disconnect()', ({ a, b }) => a.disconnect(b.id)],
  ['Peer.close()', ({ a }) => a.close()],
]) {
  test(`${name} delivers what is written to streams; it may be read afterwards`, async () => {
    const world = await streams();
    const { near, far } = world;
    const data = bytesOf(600_000, 6);
    const writing = near.write(data);
    await within(end(world), name);
    await writing;
    assert.ok(same(await within(far.readAll(), 'all'), data));
  });
}

test('a close gives up a stream that nobody reads, after timeouts.close', async () => {
  const { b, ab, near } = await streams(undefined, { timeouts: { close: 300 } });
  const writing = near.write(new Uint8Array(3 * MIB));
  const failed = rejects(writing, 'ERR_CONNECTION_CLOSED', { peerId: b.id });
  await rejects(ab.close(), 'ERR_CLOSE_TIMEOUT', { peerId: b.id });
  await failed;
});
