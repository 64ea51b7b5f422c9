'use strict';
// `for await (const message of connection)`.

const { assert, collect, next, pair, registered, test, using, within } = require('./harness');

test('a loop gets every message, from the first one to the close', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  b.on('connection', (connection) => {
    for (let i = 0; i < 1000; i++) connection.send(i);
    connection.send(new Uint8Array(100_000));
    connection.close();
  });
  const got = [];
  for await (const message of await within(a.connect(b.id), 'connect')) {
    got.push(message);
    // A body that waits loses nothing.
    if (message % 100 === 0) await a.find(b.id);
  }
  assert.equal(got.pop().length, 100_000);
  assert.deepEqual(
    got,
    Array.from({ length: 1000 }, (_, i) => i),
  );
});

test('a loop that is left stops; the connection goes on', async () => {
  const { ab, ba } = await pair();
  ab.send(1);
  for await (const message of ba) {
    assert.equal(message, 1);
    break;
  }
  const message = next(ba, 'message');
  await ab.send(2);
  assert.equal(await message, 2);
});

test('a slow loop slows the sender; nothing is lost, and streams go on', async () => {
  const { ab, ba } = await pair();
  const heard = collect(ba, 'message');
  const messages = ba[Symbol.asyncIterator]();
  const streams = collect(ba, 'stream');
  const near = using(ab.createStream('echo'));
  const far = using((await streams.until(1))[0]);
  const text = 'x'.repeat(512 * 1024);
  const count = 60;
  const sends = Array.from({ length: count }, () => ab.send(text));
  // As long as it takes until nothing moves any more.
  for (let before = -1; before < heard.list.length; ) {
    before = heard.list.length;
    for (let i = 0; i < 100; i++) {
      await within(near.write('ping'), 'write');
      await within(far.read(), 'read');
      await within(far.write('pong'), 'write');
      await within(near.read(), 'read');
    }
  }
  assert.ok(heard.list.length < count / 2, `${heard.list.length} messages came`);
  assert.ok(ab.bufferedAmount > (count / 4) * text.length, `${ab.bufferedAmount} bytes wait`);
  for (let i = 0; i < count; i++) assert.equal((await within(messages.next(), 'message')).value.length, text.length);
  await within(Promise.all(sends), 'send');
});
