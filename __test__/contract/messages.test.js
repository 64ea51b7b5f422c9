'use strict';
// What messages may be, and what arrives.

const { assert, collect, next, pair, registered, rejects, test, within } = require('./harness');

class Point {
  constructor(x) {
    this.x = x;
  }
}

const VALUES = [
  null,
  true,
  0,
  -0,
  1e308,
  Number.NaN,
  0.1 + 0.2,
  '',
  'text',
  'é€😀\u2028\0',
  '\ud800 lone \udc00',
  [],
  [undefined, () => {}, [null]],
  {},
  { a: undefined, b: { c: [1, { d: 'e' }] }, '': 1 },
  JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1, "toString": null}'),
  { '\ud800': '\ud800', 1: 1, 'a b': 2 },
  new Date(0),
  new Point(1),
  { toJSON: () => 'from toJSON' },
  new Map([[1, 2]]),
  'x'.repeat(100_000),
  Array.from({ length: 10_000 }, (_, i) => ({ i })),
];

test('what arrives equals JSON.parse(JSON.stringify(x))', async () => {
  const { ab, ba } = await pair();
  const [there, back] = [collect(ba, 'message'), collect(ab, 'message')];
  for (const value of VALUES) {
    await Promise.all([ab.send(value), ba.send(value)]);
  }
  const expected = VALUES.map((value) => JSON.parse(JSON.stringify(value)));
  for (const { until } of [there, back]) {
    const list = await until(VALUES.length);
    assert.deepEqual(list, expected);
    assert.deepEqual(
      list.map((value) => JSON.stringify(value)),
      VALUES.map((value) => JSON.stringify(value)),
    );
    assert.ok(Object.hasOwn(list[15], '__proto__'));
  }
  assert.equal({}.polluted, undefined);
});

test('a message is taken as it is when send is called', async () => {
  const { ab, ba } = await pair();
  const value = { n: 1 };
  const message = next(ba, 'message');
  ab.send(value);
  value.n = 2;
  assert.deepEqual(await message, { n: 1 });
});

test('what JSON cannot carry rejects ERR_INVALID_MESSAGE and hurts nothing', async () => {
  const { a, b, ab, ba } = await pair();
  const cycle = {};
  cycle.cycle = cycle;
  for (const value of [undefined, () => {}, Symbol('s'), 1n, { n: 1n }, cycle]) {
    await rejects(ab.send(value), 'ERR_INVALID_MESSAGE', { peerId: b.id });
    await rejects(a.send(b.id, value), 'ERR_INVALID_MESSAGE', { peerId: b.id });
  }
  const message = next(ba, 'message');
  await ab.send('still there');
  assert.equal(await message, 'still there');
});

test('a message over limits.messageBytes rejects with both numbers, before a byte is sent', async () => {
  const { a, b, ab, ba } = await pair({ limits: { messageBytes: 1000 } });
  const messages = collect(ba, 'message');
  const properties = { peerId: b.id, details: { size: 1001, limit: 1000 } };
  await rejects(ab.send('x'.repeat(999)), 'ERR_MESSAGE_TOO_LARGE', properties);
  await rejects(a.send(b.id, `${'é'.repeat(499)}x`), 'ERR_MESSAGE_TOO_LARGE', properties);
  await ab.send('x'.repeat(998));
  await ab.send('é'.repeat(499));
  assert.deepEqual(await messages.until(2), ['x'.repeat(998), 'é'.repeat(499)]);
});

test('a message over the limit does not begin a connection', async () => {
  const [a, b] = await Promise.all([registered('a', { limits: { messageBytes: 10 } }), registered('b')]);
  await rejects(a.send(b.id, 'x'.repeat(9)), 'ERR_MESSAGE_TOO_LARGE', { peerId: b.id });
  assert.equal(a.connections.size, 0);
});

test('the receiver keeps to its own limit', async () => {
  const { ab, b, ba } = await pair({}, { limits: { messageBytes: 1000 } });
  const messages = collect(ba, 'message');
  const ended = next(ab, 'close');
  // Either the sender knows the limit, or the connection ends; the message is never delivered.
  const sent = ab.send('x'.repeat(100_000)).then(
    () => ended,
    (error) => assert.equal(error.code, 'ERR_MESSAGE_TOO_LARGE'),
  );
  await within(sent, 'refusal');
  await b.close();
  assert.deepEqual(messages.list, []);
});
