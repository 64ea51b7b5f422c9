'use strict';
// A page's channel as a whole: whatever two sides send arrives, exactly and in order, and both hear how it ends.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { EVENTS, frames, pair, random, settle, solo, turn, until } = require('./page-wire');

const SIZES = [0, 1, 2, 100, 100, 100, 100, 1000, 65_535, 65_536, 65_537, 131_072, 131_073, 400_000, 3_000_000];

/** A message of so many bytes: text of all widths, or bytes. */
function message(next, size) {
  if (next() < 0.4) return new Uint8Array(size).fill(next() * 256);
  const text = ['a', 'é', '€', '😀'][Math.floor(next() * 4)].repeat(Math.floor(size / 4));
  return text + 'z'.repeat(size - Buffer.byteLength(text));
}

/** A random life of one side: sends until it has said everything. */
async function live(end, next, count) {
  const said = { messages: [], frames: [] };
  for (let i = 0; i < count; i++) {
    const data = message(next, SIZES[Math.floor(next() * SIZES.length)]);
    const outcome = end.send(data, next() < 0.3 ? said.messages.length + 1 : 0);
    if (outcome < 0) break;
    said.messages.push(typeof data === 'string' ? data : data.slice());
    // What the application does with its bytes then is its own business.
    if (typeof data !== 'string') data.fill(0);
    for (let n = next() * 4; n > 1; n--) {
      const body = new Uint8Array(1 + next() * 2000).fill(n);
      if (end.frame(9, i, body) >= 0) said.frames.push(Buffer.from(body).toString('hex'));
    }
    for (let n = next() * 5; n > 1; n--) await turn();
    if (next() < 0.1) end.flow(false);
    if (next() < 0.3) end.flow(true);
  }
  end.flow(true);
  return said;
}

const bodies = (list) => list.map((frame) => Buffer.from(frame.subarray(5)).toString('hex'));

function same(heard, said, what) {
  assert.equal(heard.length, said.length, `${what}: ${heard.length} of ${said.length}`);
  // Not deepEqual: it is slow with millions of bytes.
  for (const [i, one] of heard.entries()) {
    assert.equal(typeof one, typeof said[i], `${what} ${i}`);
    assert.ok(typeof one === 'string' ? one === said[i] : Buffer.compare(one, said[i]) === 0, `${what} ${i} differs`);
  }
}

for (let seed = 1; seed <= 25; seed++) {
  test(`whatever is sent arrives, in order, however both sides close (seed ${seed})`, async () => {
    const next = random(seed);
    const { a, b } = pair({}, {}, { next });
    const [first, second] = next() < 0.5 ? [a, b] : [b, a];
    const [one, two] = await Promise.all([live(first, next, 15), live(second, next, 15)]);
    first.close();
    if (next() < 0.5) await turn();
    const both = next() < 0.5;
    if (both) second.close();
    await until(() => a.over && b.over, 'the end');
    assert.deepEqual(first.over, ['finished', undefined]);
    assert.equal(second.over[1], undefined);
    await settle();
    same(second.messages, one.messages, 'message');
    same(first.messages, two.messages, 'message');
    assert.deepEqual(bodies(second.frames), one.frames);
    assert.deepEqual(bodies(first.frames), two.frames);
    // Where both close, one of them may be gone with its last word under way.
    assert.ok(both || first.of(EVENTS.SETTLED).every(([value]) => value === true));
  });

  test(`a cut loses only the end, and nobody waits for ever (seed ${seed})`, async () => {
    const next = random(seed + 1000);
    const { a, b, one } = pair({}, {}, { next });
    let sending = true;
    const said = Promise.all([live(a, next, 15), live(b, next, 15)]).finally(() => {
      sending = false;
    });
    for (let n = next() * 200; sending && n > 0; n--) await turn();
    one.close();
    const [byA, byB] = await said;
    await until(() => a.over && b.over, 'the end');
    await settle();
    for (const [from, to, { messages }] of [
      [a, b, byA],
      [b, a, byB],
    ]) {
      same(to.messages, messages.slice(0, to.messages.length), 'message');
      const settled = from.of(EVENTS.SETTLED);
      assert.equal(new Set(settled.map(([, , token]) => token)).size, settled.length, 'each once');
      for (const [value, error, token] of settled) {
        if (value === true) assert.ok(token <= to.messages.length, `${token} arrived`);
        else assert.equal(error.code, 'ERR_CONNECTION_CLOSED');
      }
    }
  });
}

test('a reader that does not read stops the sender under the window, and nothing is lost', async () => {
  const { a, b, books } = pair();
  b.reads = false;
  const text = 'x'.repeat(60_000);
  let count = 0;
  for (; count < 500; count++) assert.ok(a.send(text, 0) >= 0);
  await settle(300);
  const { most, frames: sent } = books[0];
  assert.ok(most > 8 * 1024 * 1024 - 60_064 && most <= 8 * 1024 * 1024, `${most} bytes`);
  assert.ok(sent < 200 && b.unread === sent);
  assert.equal(a.buffered, (count - sent) * text.length);
  b.reads = true;
  b.read();
  await until(() => b.messages.length === count);
  assert.equal(a.buffered, 0);
  assert.equal(a.of(EVENTS.DRAINED).length, 1);
});

test('while messages are not wanted they stay, and streams go on', async () => {
  const { a, b } = pair();
  b.flow(false);
  const bytes = new Uint8Array(1000).fill(7);
  for (let i = 0; i < 20; i++) {
    a.send('x'.repeat(1_000_000), 0);
    a.send(bytes, 0);
    a.frame(9, i, bytes);
  }
  await settle(300);
  assert.equal(b.unread + b.messages.length, 0);
  assert.equal(b.frames.length, 20);
  assert.ok(a.buffered > 10_000_000);
  b.flow(true);
  await until(() => b.messages.length === 40);
  for (const [i, one] of b.messages.entries()) assert.equal(typeof one, i % 2 ? 'object' : 'string');
  // Not a view of something larger.
  assert.equal(b.messages[1].buffer.byteLength, 1000);
});

test('what has come is handed over at the end, wanted or not', async () => {
  const { a, b, one } = pair();
  b.flow(false);
  a.send('1', 0);
  await settle();
  one.close();
  await settle();
  assert.deepEqual(b.messages, ['1']);
  assert.equal(b.over[0], 'lost');
});

test('who is asked to close waits until its application has got everything', async () => {
  const { a, b } = pair();
  b.reads = false;
  a.send('1', 0);
  a.send('x'.repeat(100_000), 0);
  a.close();
  assert.equal(a.send('late', 0), -1);
  assert.equal(a.frame(9, 1, new Uint8Array(1)), -1);
  await settle(50);
  assert.equal(a.over, undefined);
  assert.equal(b.send('late, too', 0), -1);
  b.read(1);
  await settle(50);
  assert.equal(a.over, undefined);
  b.read();
  await settle(50);
  assert.deepEqual([a.over[0], b.over[0]], ['finished', 'gone']);
});

test('a close that is not confirmed says how many messages, not frames, may be lost', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say } = solo({ receive: { message: 1e8, window: 262_144 } });
  end.send('1', 0);
  end.frame(9, 1, new Uint8Array(10));
  end.send('2', 0);
  end.send('x'.repeat(100_000), 0);
  end.send('x'.repeat(1_000_000), 0);
  end.send('3', 0);
  end.frame(9, 1, new Uint8Array(10));
  end.close();
  say(frames.ack(3, 65));
  t.mock.timers.tick(4999);
  assert.equal(end.over, undefined);
  t.mock.timers.tick(1);
  const [what, { code, details }] = end.over;
  // The second text was not handed over, but it is there; so the large ones and the last one are left.
  assert.deepEqual([what, code, details], ['finished', 'ERR_CLOSE_TIMEOUT', { unconfirmed: 3 }]);
});

test('the end comes after everything that was taken', () => {
  const { end, fake, heard } = solo();
  for (const send of [() => end.send('1', 0), () => end.send('x'.repeat(70_000), 0), () => end.frame(10, 1)]) {
    fake.bufferedAmount = 128 * 1024;
    send();
  }
  end.close();
  assert.deepEqual(heard(), []);
  for (let i = 1; i < 5; i++) {
    fake.bufferedAmount = 128 * 1024 - 1;
    fake.onbufferedamountlow();
    const words = heard();
    assert.equal(words.flat().includes('fin'), i === 4, `${words}`);
  }
  end.drop();
  const other = solo();
  other.fake.bufferedAmount = 128 * 1024;
  other.end.frame(10, 1);
  other.end.close();
  assert.deepEqual(other.heard(), []);
  other.fake.bufferedAmount = 0;
  other.fake.onbufferedamountlow();
  assert.deepEqual(other.heard(), [
    [10, 0],
    ['fin', 0],
  ]);
  other.end.drop();
});

test('a FIN that is confirmed confirms everything before it', () => {
  const { end, say } = solo();
  end.send('1', 7);
  end.close();
  say(frames.finAck());
  assert.deepEqual(end.of(EVENTS.SETTLED), [[true, null, 7]]);
  assert.equal(end.over, undefined);
  say(frames.fin());
  assert.deepEqual(end.over, ['finished', undefined]);
});
