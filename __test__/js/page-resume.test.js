'use strict';
// A page's connection goes on over another channel: whenever that happens, everything arrives once, in order.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { EVENTS, MIB, End, FakeChannel, frames, random, settle, solo, until } = require('./page-wire');

const RECEIVE = { message: 64 * MIB, window: 8 * MIB, resume: true };
const OPTIONS = { receive: RECEIVE };

/** Two ends of a fresh channel. */
function joined(next) {
  const [one, two] = [new FakeChannel(), new FakeChannel()];
  one.other = two;
  two.other = one;
  for (const fake of [one, two]) fake.rate = () => next() ** 3 * 200_000;
  return [new End(one, OPTIONS), new End(two, OPTIONS)];
}

/** Both go on over another channel; what was under way is lost. */
function moveOver(ends, next) {
  const fresh = joined(next);
  for (const at of [0, 1]) {
    const end = ends[at];
    end.fake.other = undefined;
    end.fake.rate = () => 0;
    end.takeOver(fresh[at]);
    end.fake = fresh[at].fake;
  }
}

for (let seed = 1; seed <= 20; seed++) {
  test(`whatever is under way, seed ${seed}`, async () => {
    const next = random(seed);
    const ends = joined(next);
    const count = 60;
    const sent = ends.map(() => []);
    const tokens = ends.map(() => []);
    for (let step = 0; step < 2 * count; step++) {
      const at = step % 2;
      const size = [0, 10, 1000, 70_000, 300_000][Math.floor(next() * 5)];
      const message = next() < 0.5 ? 'ä'.repeat(size / 2) : new Uint8Array(size).fill(step);
      const token = next() < 0.3 ? step + 1 : 0;
      if (token) tokens[at].push(token);
      assert.ok(ends[at].send(message, token) >= 0);
      assert.ok(ends[at].frame(9, at, [step]) >= 0);
      sent[at].push(message);
      if (next() < 0.3) await settle(3);
      if (next() < 0.2) moveOver(ends, next);
    }
    await until(() => ends.every((end, at) => end.messages.length === sent[1 - at].length), 'the last message');
    await until(() => ends.every((end) => end.frames.length === count), 'the last frame');
    for (const at of [0, 1]) {
      assert.deepEqual(ends[at].messages, sent[1 - at]);
      assert.deepEqual(
        ends[at].frames.map((frame) => frame[5]),
        sent[1 - at].map((_, index) => 2 * index + 1 - at),
      );
    }
    // A reply to a PING that was lost comes with the next ACK.
    moveOver(ends, next);
    const settled = (end) => end.of(EVENTS.SETTLED).map(([, , token]) => token);
    await until(() => ends.every((end, at) => settled(end).length === tokens[at].length), 'the last ACK');
    for (const at of [0, 1]) assert.deepEqual(settled(ends[at]), tokens[at]);
    // An end in order, interrupted.
    ends[0].close();
    await settle(Math.floor(next() * 6));
    if (!ends.some((end) => end.over)) moveOver(ends, next);
    await until(() => ends.every((end) => end.over), 'the end');
    assert.deepEqual(
      ends.map((end) => end.over[0]),
      ['finished', 'gone'],
    );
  });
}

test('what is sent without a channel waits, and what the remote has is not sent again', async () => {
  const { end, fake, say, heard } = solo(OPTIONS);
  for (const text of ['1', '2', '3']) end.send(text);
  say(frames.binary([1]));
  await settle();
  fake.readyState = 'closed';
  assert.equal(end.send('4'), 0);
  assert.equal(end.frame(9, 0, [5]), 0);
  heard();
  const other = solo(OPTIONS);
  other.say(frames.binary([2]));
  end.takeOver(other.end);
  assert.deepEqual(other.heard(), [['ack', 1, 65]], 'first of all, what has come');
  end.send('6');
  other.say(frames.ack(2, 130));
  await settle();
  const texts = other.heard().filter((frame) => typeof frame === 'string' || frame[0] === 'data');
  assert.deepEqual(texts, ['3', ['data', 1], '4', '6']);
});

test('without a remote that resumes, nothing waits', () => {
  const { end, fake } = solo();
  fake.readyState = 'closed';
  assert.equal(end.send('4'), -1);
});
