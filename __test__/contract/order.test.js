'use strict';
// The order of messages, and back-pressure.

const { assert, collect, pair, registered, rejects, test, within } = require('./harness');

const COUNT = 2000;

test('calls to one peer keep their order, also while connecting and over both ways to send', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(b, 'message');
  const sends = [];
  for (let i = 0; i < 100; i++) sends.push(a.send(b.id, i));
  const connection = await within(a.connect(b.id), 'connect');
  for (let i = 100; i < COUNT; i++) sends.push(i % 2 ? connection.send(i) : a.send(b.id, i));
  await within(Promise.all(sends), 'send');
  const list = await messages.until(COUNT);
  assert.deepEqual(
    list,
    Array.from({ length: COUNT }, (_, i) => ({ from: a.id, message: i })),
  );
});

test('what listeners send comes after what was sent before', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(a, 'message');
  b.on('connection', (connection) => {
    connection.send('in connection');
    connection.on('connect', () => b.send(a.id, 'in connect'));
    connection.on('message', () => connection.send('in message'));
  });
  await within(a.send(b.id, 'begin'), 'send');
  const list = await messages.until(3);
  assert.deepEqual(
    list.map(({ message }) => message),
    ['in connection', 'in connect', 'in message'],
  );
});

test('both directions at once', async () => {
  const { ab, ba } = await pair();
  const [there, back] = [collect(ba, 'message'), collect(ab, 'message')];
  const numbers = Array.from({ length: COUNT }, (_, i) => i);
  const sendAll = async (connection) => {
    for (const i of numbers) await connection.send(i);
  };
  await within(Promise.all([sendAll(ab), sendAll(ba)]), 'send');
  assert.deepEqual(await there.until(COUNT), numbers);
  assert.deepEqual(await back.until(COUNT), numbers);
});

test('who has waited for room may send a message as large as the whole buffer', async () => {
  const limits = { highWaterMark: 100_000, bufferedBytes: 1_000_000 };
  const [a, b] = await Promise.all([registered('a', { limits }), registered('b')]);
  const messages = collect(b, 'message');
  const sizes = [90_000, 1_000_000];
  // The first two wait for the connection.
  await within(Promise.all(sizes.map((size) => a.send(b.id, 'x'.repeat(size)))), 'send');
  await messages.until(2);
  for (const size of sizes) await within(a.send(b.id, 'x'.repeat(size)), 'send');
  const heard = await messages.until(4);
  assert.deepEqual(
    heard.map(({ message }) => message.length),
    [...sizes, ...sizes],
  );
});

test('await send() is back-pressure: what waits stays bounded, however much is sent', async () => {
  const { ab, ba } = await pair({ limits: { highWaterMark: 200_000 } });
  const text = 'x'.repeat(100_000);
  const count = 400;
  const messages = collect(ba, 'message');
  let most = 0;
  for (let i = 0; i < count; i++) {
    await within(ab.send(text), 'send');
    most = Math.max(most, ab.bufferedAmount);
  }
  // The mark, a message, and what the transport itself keeps until it is acknowledged: a quarter of all at most.
  assert.ok(most < (count * text.length) / 4, `${most} bytes waited`);
  await messages.until(count);
});

test('without awaiting, more than limits.bufferedBytes is refused; what was taken arrives', async () => {
  const { b, ab, ba } = await pair({ limits: { bufferedBytes: 300_000, highWaterMark: 100_000 } });
  const messages = collect(ba, 'message');
  // The network takes some of it meanwhile.
  const texts = Array.from({ length: 500 }, (_, i) => String(i).padEnd(20_000, 'x'));
  const sends = texts.map((text) => ab.send(text));
  const results = await within(Promise.allSettled(sends), 'send');
  const taken = results.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
  assert.ok(taken.length >= 10 && taken.length < texts.length, `${taken.length} taken`);
  for (const [i, { status }] of results.entries()) {
    if (status === 'rejected') await rejects(sends[i], 'ERR_BUFFER_FULL', { peerId: b.id });
  }
  const list = await messages.until(taken.length);
  assert.deepEqual(
    list.map((text) => Number.parseInt(text, 10)),
    taken,
  );
});
