'use strict';
// What a page sends over a data channel, frame by frame, to a remote that the test plays.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Flight } = require('../../js/page/flight');
const { PLAIN } = require('../../js/page/states');
const { COST, EVENTS, MIB, frames, settle, solo } = require('./page-wire');

/** What the browser gets at once. */
const AT_ONCE = 128 * 1024;

const bytes = (size, value = 7) => new Uint8Array(size).fill(value);

/** What comes while the browser takes everything. */
function taken({ fake, heard }) {
  const words = heard();
  for (let more = [1]; more.length > 0; words.push(...more)) {
    fake.bufferedAmount = 0;
    fake.onbufferedamountlow();
    more = heard();
  }
  return words;
}

test('what fits goes in one frame, what does not in pieces', () => {
  const one = solo();
  const { end } = one;
  const heard = () => taken(one);
  assert.equal(end.maxMessage, 64 * MIB);
  end.send('é'.repeat(32_768), 0);
  assert.deepEqual(heard(), ['é'.repeat(32_768)]);
  end.send(`é${'x'.repeat(65_535)}`, 0);
  assert.deepEqual(heard(), [
    ['begin', 0, 65_537, 65_536],
    ['more', 1],
  ]);
  end.send(bytes(0), 0);
  end.send(bytes(65_536), 0);
  end.send(bytes(131_073), 0);
  assert.deepEqual(heard(), [
    ['binary', 0],
    ['binary', 65_536],
    ['begin', 1, 131_073, 65_536],
    ['more', 65_536],
    ['more', 1],
  ]);
});

test('no frame is larger than the remote takes', () => {
  const { end, fake, heard } = solo();
  assert.equal(end.send('x'.repeat(3000), 0), 0);
  heard();
  const small = solo({ frameBytes: 1006 });
  small.end.send('x'.repeat(1000), 0);
  small.end.send('x'.repeat(1001), 0);
  small.end.send(bytes(1001), 0);
  assert.deepEqual(small.heard(), [
    'x'.repeat(1000),
    ['begin', 0, 1001, 1000],
    ['more', 1],
    ['begin', 1, 1001, 1000],
    ['more', 1],
  ]);
  assert.equal(fake.readyState, 'open');
});

test('what is too large, or too much, is refused', () => {
  const { end } = solo({ receive: { message: 100, window: 262_144 }, limits: { bufferedBytes: 1000 } });
  assert.equal(end.send('x'.repeat(101), 0), -3);
  assert.equal(end.send('é'.repeat(51), 0), -3);
  assert.equal(end.send(bytes(101), 0), -3);
  for (let i = 0; i < 10; i++) assert.equal(end.send('x'.repeat(100), 0), 0);
  assert.equal(end.send('x', 0), -2);
});

test('a plain client gets text, as much as a frame carries', () => {
  const { end, heard, fake } = solo({ kind: PLAIN });
  assert.equal(end.maxMessage, 256 * 1024);
  assert.equal(end.send(bytes(1), 0), -4);
  assert.equal(end.send('1', 1), -4);
  assert.equal(end.frame(9, 1, bytes(1)), -4);
  assert.equal(end.send('x'.repeat(256 * 1024 + 1), 0), -3);
  assert.equal(end.send('x'.repeat(256 * 1024), 0), 0);
  end.ping();
  assert.equal(heard().length, 1);
  // However much that is without an ACK.
  for (let i = 0; i < 30_000; i++) {
    end.send('', 0);
    fake.bufferedAmount = 0;
  }
  assert.equal(heard().length, 30_000);
});

test('a channel without limits may say so by -1, of 16 bits or more, as react-native-webrtc and wrtc do', () => {
  for (const none of [null, undefined, -1, 65_535]) {
    const { end } = solo({ channel: { maxRetransmits: none, maxPacketLifeTime: none } });
    assert.equal(end.send(bytes(1), 0), 0, `${none}`);
  }
});

test('an unreliable channel is as a plain client', () => {
  const { fake } = solo();
  for (const property of [
    { ordered: false },
    { maxRetransmits: 0 },
    { maxPacketLifeTime: 5 },
    { maxRetransmits: 65_535 },
  ]) {
    const other = solo({ channel: property });
    assert.equal(other.end.send(bytes(1), 0), -4);
    assert.equal(other.end.send('1', 0), 0);
  }
  assert.equal(fake.ordered, true);
});

test('the window counts payload and 64 for each frame; one may always go', () => {
  const { end, heard, say } = solo({ receive: { message: MIB, window: 1000 } });
  end.send('x'.repeat(500), 0);
  end.send('x'.repeat(1000 - 500 - 2 * COST), 0);
  end.send('', 0);
  assert.equal(heard().length, 2);
  say(frames.ack(2, 500 + COST - 1 + 1));
  assert.deepEqual(heard(), ['']);
  say(frames.ack(3, 1000 + COST));
  end.send('x'.repeat(5000), 0);
  end.send('y', 0);
  assert.equal(heard().length, 1);
  say(frames.ack(4, 1000 + COST));
  assert.deepEqual(heard(), [], 'it has arrived, but nobody has read it');
  say(frames.ack(4, 1000 + 5000 + 2 * COST));
  assert.deepEqual(heard(), ['y']);
});

test('24,576 data frames of any kind may go without an ACK', () => {
  const { end, fake, heard, say } = solo({ receive: { message: MIB, window: 1e9 } });
  for (let i = 0; i < 30_000; i++) {
    fake.bufferedAmount = 0;
    if (i % 2) end.send('', 0);
    else end.frame(9, i, bytes(1));
  }
  assert.equal(heard().length, 24_576);
  end.ping();
  assert.deepEqual(heard(), [['ping', 0]]);
  say(frames.ack(100, 0));
  assert.equal(heard().length, 100);
});

test('messages and frames of streams go by turns', () => {
  const one = solo();
  const { end, fake, heard } = one;
  fake.bufferedAmount = AT_ONCE;
  end.send('x'.repeat(200_000), 0);
  end.send('1', 0);
  for (let i = 0; i < 3; i++) end.frame(9, i, bytes(10));
  end.frame(10, 0);
  end.frame(10, 0, null);
  assert.deepEqual(heard(), []);
  const words = taken(one).map((word) => (typeof word === 'string' ? word : word[0]));
  assert.deepEqual(words, ['begin', 'data', 'more', 'data', 'more', 'data', 'more', 10, '1', 10]);
});

test('frames of streams go on where the window is full', () => {
  const { end, heard } = solo({ receive: { message: MIB, window: 1000 } });
  end.send('x'.repeat(900), 0);
  end.send('x'.repeat(900), 0);
  end.frame(9, 1, bytes(10));
  end.frame(9, 1, bytes(10));
  assert.deepEqual(heard().slice(1), [
    ['data', 10],
    ['data', 10],
  ]);
});

test('the browser gets no more than it should have', () => {
  const { end, fake, heard } = solo({ receive: { message: 64 * MIB, window: 1e9 } });
  assert.equal(end.send(bytes(10 * MIB), 0), 1);
  assert.ok(fake.bufferedAmount < 1.1 * AT_ONCE);
  assert.equal(end.buffered, fake.bufferedAmount + 10 * MIB - 2 * 65_536);
  assert.equal(heard().length, 2);
  assert.deepEqual(end.of(EVENTS.DRAINED), []);
});

test('who sends too much waits until it is little, streams or not', async () => {
  const { end, fake } = solo({ limits: { highWaterMark: 1000 } });
  assert.equal(fake.bufferedAmountLowThreshold, 1000);
  fake.rate = () => 0;
  assert.equal(end.send('x'.repeat(1000), 0), 0);
  assert.equal(end.send('x', 0), 1);
  for (let i = 0; i < 40; i++) end.frame(9, 1, bytes(65_000));
  assert.deepEqual(end.of(EVENTS.DRAINED), []);
  fake.bufferedAmount = 1000;
  fake.onbufferedamountlow();
  assert.ok(fake.bufferedAmount > AT_ONCE, 'the streams have filled it again');
  assert.deepEqual(end.of(EVENTS.DRAINED), [[0, undefined, 'handle']]);
});

test('streams wait from 256 KiB on until there is room for them', () => {
  const { end, fake } = solo();
  fake.bufferedAmount = AT_ONCE;
  for (let i = 0; i < 8; i++) assert.equal(end.frame(9, 1, bytes(32_768 - 5)), 0);
  assert.equal(end.frame(9, 1, bytes(1)), 1);
  const to = (amount) => {
    fake.bufferedAmount = AT_ONCE - amount;
    fake.onbufferedamountlow();
  };
  to(196_000);
  assert.deepEqual(end.of(EVENTS.DRAINED), []);
  to(100);
  to(100);
  assert.deepEqual(end.of(EVENTS.DRAINED), [[1, undefined, 'handle']]);
});

test('tokens: one PING for all of a turn, and each hears of its own message', async () => {
  const { end, heard, say } = solo();
  end.send('1', 11);
  end.send('x'.repeat(100_000), 12);
  end.frame(9, 1, bytes(1));
  end.send('3', 0);
  end.send('4', 14);
  assert.equal(heard().length, 6);
  await settle(1);
  assert.deepEqual(heard(), [['ping', 0]]);
  say(frames.ack(2, 0));
  assert.deepEqual(end.of(EVENTS.SETTLED), [[true, null, 11]]);
  say(frames.ack(3, 0));
  assert.deepEqual(end.of(EVENTS.SETTLED).slice(1), [[true, null, 12]]);
  say(frames.ack(5, 0));
  assert.equal(end.of(EVENTS.SETTLED).length, 2);
  say(frames.ack(6, 0));
  assert.deepEqual(end.of(EVENTS.SETTLED).slice(2), [[true, null, 14]]);
  end.send('5', 15);
  await settle(1);
  assert.deepEqual(heard(), ['5', ['ping', 0]]);
});

test('tokens of what was not confirmed hear how it ended, each once', () => {
  const { end, say } = solo({ receive: { message: MIB, window: 150_000 } });
  end.send('1', 1);
  end.send('2', 2);
  end.send('x'.repeat(400_000), 3);
  end.send('4', 0);
  end.send('5', 5);
  say(frames.ack(1, 0));
  end.tell('lost', { code: 'ERR_CONNECTION_LOST', message: 'gone' });
  const lost = { code: 'ERR_CONNECTION_LOST', message: 'gone' };
  assert.deepEqual(end.of(EVENTS.SETTLED), [
    [true, null, 1],
    [null, lost, 2],
    [null, lost, 3],
    [null, lost, 5],
  ]);
});

test('progress of what goes in pieces: the first, the last, and now and then', () => {
  const { end, fake } = solo({ receive: { message: 64 * MIB, window: 1e9 } });
  const all = (size) => {
    end.events = [];
    end.send(bytes(size), 0);
    for (let i = 0; i < 1000; i++) {
      fake.bufferedAmount = 0;
      fake.onbufferedamountlow();
    }
    return end.of(EVENTS.SENDING).map(([done, total]) => {
      assert.equal(total, size);
      return done;
    });
  };
  assert.deepEqual(all(65_536), []);
  assert.deepEqual(all(65_537), [65_536, 65_537]);
  assert.deepEqual(
    all(10 * 65_536),
    [1, 5, 9, 10].map((n) => n * 65_536),
  );
  // A hundredth of it is 10 pieces and a bit.
  assert.equal(all(64 * MIB).length, 1 + Math.floor(1023 / 11) + 0);
});

test('a queue of many is worked off without moving it', () => {
  const { end, fake, heard, say } = solo({ receive: { message: MIB, window: 1e9 } });
  fake.bufferedAmount = AT_ONCE;
  for (let i = 0; i < 50_000; i++) end.send(`${i}`, 0);
  fake.bufferedAmount = 0;
  const all = [];
  while (all.length < 50_000) {
    fake.bufferedAmount = 0;
    fake.onbufferedamountlow();
    all.push(...heard());
    say(frames.ack(all.length, 0));
  }
  assert.deepEqual(all, [...Array(50_000).keys()].map(String));
  assert.equal(end.buffered, fake.bufferedAmount);
});

test('nobody makes us keep answers without end', () => {
  const { fake, say, heard, end } = solo();
  fake.bufferedAmount = 10 * MIB;
  for (let i = 0; i < 1000; i++) say(frames.ping());
  assert.deepEqual(heard(), []);
  assert.equal(end.over, undefined);
});

test('a remote that is near gets 96 KiB and a frame at once, and is asked for an ACK every 24', async (context) => {
  context.mock.method(performance, 'now', () => 0);
  const { end, heard, say } = solo({ near: true });
  for (let i = 0; i < 100; i++) end.send(bytes(8000), 0);
  await settle(1);
  assert.deepEqual(heard(), [...Array(13).fill(['binary', 8000]), ['ping', 0]], '13 x 8 KB are more than 96 KiB');
  say(frames.ack(3, 3 * (8000 + COST)));
  assert.deepEqual(heard(), [], 'nothing was asked after these');
  say(frames.ack(4, 4 * (8000 + COST)));
  await settle(1);
  assert.deepEqual(heard(), [...Array(4).fill(['binary', 8000]), ['ping', 0]]);
  say(frames.ack(17, 17 * (8000 + COST)));
  assert.equal(heard().length, 12, 'the last of which it is known that it is there is the 16th');
});

test('a plain client gets what the browser takes', () => {
  const { end, fake, heard } = solo({ near: true, kind: PLAIN });
  for (let i = 0; i < 100; i++) {
    fake.bufferedAmount = 0;
    end.send('x'.repeat(8000), 0);
  }
  assert.equal(heard().length, 100);
});

test('the farther away a remote is, the more may be under way', (context) => {
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  const KIB = 1024;
  /** What goes at once after an answer that came within so many ms each time. */
  const most = (...answers) => {
    const flight = new Flight();
    let number = 0;
    for (const ms of answers) {
      assert.equal(flight.went(24 * KIB, ++number), true);
      now += ms;
      flight.arrived(number);
    }
    let count = 0;
    for (; flight.free; count++) flight.went(KIB, ++number);
    return count;
  };
  assert.equal(most(), 96);
  assert.equal(most(1), 96);
  assert.equal(most(10), 96);
  assert.equal(most(20), 4 * 96);
  assert.equal(most(100), 100 * 96);
  assert.equal(most(100, 20, 90), 4 * 96, 'the shortest counts: the others have waited for something');
  assert.equal(most(1, ...Array(1100).fill(20)), 4 * 96, 'it is farther away than it was');
});
