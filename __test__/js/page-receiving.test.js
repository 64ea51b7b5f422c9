'use strict';
// What a page makes of what comes over a data channel: messages, ACKs, an end to what is not allowed.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { PLAIN } = require('../../js/page/states');
const { COST, EVENTS, MIB, frames, settle, solo } = require('./page-wire');

const { ack, begin, binary, fin, finAck, more, ping, stream } = frames;
const bytes = (size, value = 7) => new Uint8Array(size).fill(value);
/** Time passes, in steps that timers set by timers need. */
const pass = (t, seconds) => {
  for (let i = 0; i < seconds; i++) t.mock.timers.tick(1000);
};
const acks = (heard) => heard.filter(([kind]) => kind === 'ack').map(([, ...numbers]) => numbers);

test('pieces become one message, and a character may be cut', async () => {
  const { end, say } = solo();
  const text = new TextEncoder().encode('\ufeffé€😀');
  say(begin(text.length, text.subarray(0, 4), 0));
  for (const byte of text.subarray(4)) say(more([byte]));
  say(begin(3, [1]));
  say(stream(9, 1, [1]));
  say(more([2, 3]));
  await settle();
  assert.deepEqual(end.messages, ['\ufeffé€😀', new Uint8Array([1, 2, 3])]);
  assert.equal(end.frames.length, 1);
  assert.deepEqual(end.frames[0], stream(9, 1, [1]));
});

test('a large message grows as it comes', async () => {
  const { end, say } = solo();
  const whole = Uint8Array.from({ length: 5 * MIB + 1 }, (_, i) => i % 251);
  say(begin(whole.length, whole.subarray(0, 65_536)));
  for (let at = 65_536; at < whole.length; at += 65_536) say(more(whole.subarray(at, at + 65_536)));
  await settle();
  assert.equal(Buffer.compare(end.messages[0], whole), 0);
  assert.equal(end.messages[0].buffer.byteLength, whole.length);
});

test('progress of what comes in pieces', async () => {
  const { end, say } = solo();
  say(begin(1000, [1]));
  assert.deepEqual(end.of(EVENTS.RECEIVING), [[1, 1000, 'handle']]);
  say(more(bytes(500)));
  assert.equal(end.of(EVENTS.RECEIVING).length, 1);
  say(more(bytes(499)));
  assert.deepEqual(end.of(EVENTS.RECEIVING).slice(1), [[1000, 1000, 'handle']]);
  say(begin(MIB, [1]));
  for (const size of [65_536, 65_536, 65_536, 65_535, 1]) {
    assert.equal(end.of(EVENTS.RECEIVING).length, 3);
    say(more(bytes(size)));
  }
  assert.deepEqual(end.of(EVENTS.RECEIVING)[3], [256 * 1024 + 1, MIB, 'handle']);
  for (let left = MIB - 256 * 1024 - 1; left > 0; left -= 65_536) say(more(bytes(Math.min(left, 65_536))));
  end.events = [];
  say(begin(MIB, bytes(65_536)));
  for (let i = 1; i < 16; i++) say(more(bytes(65_536)));
  assert.deepEqual(
    end.of(EVENTS.RECEIVING).map(([at]) => at / 65_536),
    [1, 5, 9, 13, 16],
  );
});

// What no remote may do, after what, with what of our own before.
const none = [];
const HOSTILE = {
  'an unknown kind': [none, new Uint8Array([14])],
  'a bundle that is cut off': [none, new Uint8Array([13, 0, 1, 49, 0, 2, 49])],
  'a bundle with half a length': [none, new Uint8Array([13, 0, 0, 0])],
  'a bundle of no UTF-8': [none, new Uint8Array([13, 0, 1, 0xff])],
  'a bundle inside of a message': [[begin(3, [1])], new Uint8Array([13, 0, 0])],
  'a bundle after the end': [[fin()], new Uint8Array([13, 0, 0])],
  'an empty frame': [none, new Uint8Array([])],
  'a piece of nothing': [none, more([1])],
  'a piece after the last one': [[begin(2, [1]), more([2])], more([3])],
  'more than was announced': [[begin(3, [1])], more([2, 3, 4])],
  'a text inside of a message': [[begin(3, [1])], '1'],
  'a binary message inside of a message': [[begin(3, [1])], binary([1])],
  'a message that begins inside of a message': [[begin(3, [1])], begin(3, [1])],
  'an end inside of a message': [[begin(3, [1])], fin()],
  'a text that is not UTF-8': [[begin(2, [0xc3], 0)], more([0x28])],
  'half a character': [[begin(2, [0x20], 0)], more([0xc3])],
  'a whole text over the limit': [none, 'é'.repeat(50_001)],
  'a binary message over the limit': [none, binary(bytes(65_536)), { limits: { messageBytes: 65_535 } }],
  'a message over the limit in pieces': [none, begin(100_001, [1])],
  'a text after the end': [[fin()], '1'],
  'a binary message after the end': [[fin()], binary([1])],
  'a piece after the end': [[fin()], begin(2, [1])],
  'a frame of a stream after the end': [[fin()], stream(9, 1, [1])],
  'a second end': [[fin()], fin()],
  'a confirmation of no end': [none, finAck()],
  'a second confirmation': [[(end) => end.close(), finAck()], finAck()],
  'an ACK of what was not sent': [[(end) => end.send('1', 0)], ack(2, 0)],
  'an ACK of what did not cost as much': [[(end) => end.send('1', 0)], ack(1, 66)],
  'an ACK that goes back': [[(end) => end.send('1', 0), (end) => end.send('1', 0), ack(2, 65)], ack(1, 65)],
  'an ACK whose cost goes back': [[(end) => end.send('1', 0), ack(1, 65)], ack(1, 64)],
};

for (const [what, [before, last, options]] of Object.entries(HOSTILE)) {
  test(`ends the connection: ${what}`, () => {
    const { end, say } = solo({ limits: { messageBytes: 100_000 }, ...options });
    for (const step of before) {
      if (typeof step === 'function') step(end);
      else say(step);
    }
    assert.equal(end.over, undefined);
    say(last);
    assert.equal(end.over?.[0], 'broken');
  });
}

test('a bundle is its messages: each is handed over, and costs, as if it came alone', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say, heard } = solo();
  say(new Uint8Array([13, 0, 1, 49, 0x80, 2, 8, 9, 0, 0]));
  await settle();
  assert.deepEqual(end.messages, ['1', new Uint8Array([8, 9]), '']);
  // Applications read `.buffer`, too.
  assert.equal(end.messages[1].buffer.byteLength, 2);
  t.mock.timers.tick(100);
  assert.deepEqual(acks(heard()), [[1, 3 + 3 * COST]]);
});

test('what is allowed at the bounds is not hostile', async () => {
  const { end, say } = solo({ limits: { messageBytes: 100_000 } });
  end.send('1', 0);
  for (const frame of ['é'.repeat(50_000), begin(100_000, bytes(50_000)), more(bytes(50_000))]) say(frame);
  for (const frame of [ack(1, 0), ack(1, 65), ack(1, 65), ping(), stream(11, 5, []), fin(), ping()]) say(frame);
  await settle();
  assert.equal(end.over, undefined);
  assert.equal(end.messages.length, 2);
  end.drop();
});

test('a remote that overruns our window ends the connection, one that fills it does not', () => {
  const { end, say } = solo();
  end.reads = false;
  const count = (8 * MIB) / (65_472 + COST);
  for (let i = 0; i < count; i++) say(i % 2 ? binary(bytes(65_472)) : 'x'.repeat(65_472));
  say(stream(9, 1, bytes(65_536)));
  assert.equal(end.over, undefined);
  say('');
  assert.equal(end.over[0], 'broken');
});

test('a plain client has no window, and neither ACKs nor frames', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say, heard } = solo({ kind: PLAIN });
  end.reads = false;
  for (let i = 0; i < 200; i++) say('x'.repeat(65_536));
  say(new Uint8Array([2]));
  end.read();
  t.mock.timers.tick(1000);
  assert.deepEqual(heard(), []);
  assert.equal(end.over, undefined);
  assert.equal(end.messages.length, 201);
});

test('ACKs: 100 ms after what has come, and again 100 ms after it was read', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say, heard } = solo();
  end.reads = false;
  say('123');
  say(stream(9, 1, [1]));
  t.mock.timers.tick(99);
  assert.deepEqual(heard(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(heard(), [['ack', 2, 0]]);
  t.mock.timers.tick(1000);
  assert.deepEqual(heard(), []);
  end.read();
  t.mock.timers.tick(99);
  assert.deepEqual(heard(), []);
  t.mock.timers.tick(1);
  assert.deepEqual(heard(), [['ack', 2, 67]]);
});

test('ACKs: after 2,048 data frames, after an eighth of the window', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say, heard } = solo();
  end.reads = false;
  for (let i = 0; i < 2047; i++) say(i % 2 ? '' : stream(9, 1, [1]));
  assert.deepEqual(heard(), []);
  say('');
  assert.deepEqual(heard(), [['ack', 2048, 0]]);
  end.read();
  assert.deepEqual(heard(), []);
  for (let i = 0; i < 14; i++) say(binary(bytes(65_536)));
  assert.deepEqual(heard(), [], 'what has come is not what was read');
  end.read();
  assert.deepEqual(heard(), [], `${1024 * 64 + 14 * 65_600} are less than ${MIB}`);
  say(binary(bytes(65_536)));
  end.read();
  assert.deepEqual(heard(), [['ack', 2063, 1024 * 64 + 15 * 65_600]]);
});

test('ACKs: at once after a PING, and again when what came before it was read', () => {
  const { end, say, heard } = solo();
  end.reads = false;
  say(ping());
  assert.deepEqual(heard(), [['ack', 0, 0]]);
  say('1');
  say('2');
  say(ping());
  say('3');
  assert.deepEqual(heard(), [['ack', 2, 0]]);
  end.read(1);
  assert.deepEqual(heard(), []);
  end.read(1);
  assert.deepEqual(heard(), [['ack', 3, 130]]);
  end.read();
  assert.deepEqual(heard(), []);
});

test('pieces of a message that has its room are handed over as they come', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say, heard } = solo();
  end.reads = false;
  const total = 20 * MIB;
  say(begin(total, bytes(65_536)));
  for (let at = 2 * 65_536; at <= total; at += 65_536) say(more(bytes(65_536)));
  assert.equal(end.over, undefined);
  assert.equal(end.unread, 1);
  const told = acks(heard());
  assert.equal(told.length, 19);
  assert.deepEqual(
    told.at(-1),
    [19 * 16 + 0, 19 * 16 * 65_600].map((n, i) => (i ? n : told.at(-1)[0])),
  );
  t.mock.timers.tick(100);
  // All but the last piece, which is handed over with the message.
  assert.deepEqual(acks(heard()), [[320, 319 * 65_600]]);
  end.read();
  t.mock.timers.tick(100);
  assert.deepEqual(acks(heard()), [[320, 320 * 65_600]]);
});

test('one at a time has room: the next waits until the application has the first', () => {
  const { end, say, heard } = solo();
  end.reads = false;
  say(begin(100, bytes(99)));
  say(more([1]));
  say(begin(200, bytes(100)));
  say(ping());
  assert.deepEqual(acks(heard()), [[3, 99 + COST]]);
  end.read();
  say(ping());
  assert.deepEqual(acks(heard()).at(-1), [3, 99 + 1 + 100 + 3 * COST]);
  end.drop();
});

test('messages being put together have a room for all of the page', () => {
  const limits = { messageBytes: MIB };
  const ends = [...Array(6)].map(() => solo({ limits }));
  const told = ({ say, heard }) => {
    say(ping());
    return acks(heard()).at(-1)[1];
  };
  for (const { end, say } of ends) {
    end.reads = false;
    say(begin(MIB, [1]));
  }
  const room = 1 + COST;
  assert.deepEqual(ends.map(told), [room, room, room, room, 0, 0]);
  // A smaller one has no room either; it arrives all the same, within the window.
  const small = solo({ limits });
  small.say(begin(2, [1]));
  assert.equal(told(small), 0);
  small.say(more([1]));
  small.end.read();
  assert.equal(small.end.messages.length, 1);
  assert.equal(told(small), 2 + 2 * COST);
  // One ends: the first that waits has its room, without anything coming.
  ends[1].end.drop();
  assert.deepEqual([ends[4], ends[5]].map(told), [room, 0]);
  // One that waits ends: nothing comes of it.
  ends[5].end.drop();
  // One is complete, and read.
  ends[0].say(more(bytes(65_536)));
  for (let i = 1; i < 15; i++) ends[0].say(more(bytes(65_536)));
  ends[0].say(more(bytes(65_535)));
  const late = solo({ limits });
  late.say(begin(MIB, [1]));
  assert.equal(told(late), 0, 'the message that is on its way still has its room');
  ends[0].end.read();
  assert.equal(told(late), room);
  for (const { end } of [...ends, small, late]) end.drop();
});

test('a message that waits for the one before takes no room from others', () => {
  const limits = { messageBytes: 100 };
  const full = [...Array(4)].map(() => solo({ limits }));
  for (const { say } of full) say(begin(100, [1]));
  const { end, say } = solo({ limits });
  end.reads = false;
  for (let i = 0; i < 2; i++) {
    say(begin(2, [1]));
    say(more([2]));
  }
  full[0].end.drop();
  say(begin(100, [1]));
  const other = solo({ limits });
  const told = ({ say, heard }) => {
    say(ping());
    return acks(heard()).at(-1)[1];
  };
  other.say(begin(100, [1]));
  assert.equal(told(other), 1 + COST);
  full[1].end.drop();
  // It has its room only when both that came before are read.
  end.read(1);
  const third = solo({ limits });
  third.say(begin(100, [1]));
  assert.equal(told(third), 1 + COST);
  for (const one of [...full, other, third]) one.end.drop();
  end.read();
  end.drop();
});

test('the end of all gives all the room back', () => {
  const limits = { messageBytes: 100 };
  const ends = [...Array(4)].map(() => solo({ limits }));
  for (const { say, heard } of ends) {
    say(begin(100, [1]));
    say(ping());
    assert.deepEqual(acks(heard()), [[1, 1 + COST]]);
  }
  for (const { end } of ends) end.drop();
});

test('a message that does not go on for 30 s ends the connection', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say } = solo();
  say(begin(3, [1]));
  pass(t, 29);
  say(more([2]));
  // Frames of streams are no pieces.
  pass(t, 20);
  say(stream(9, 1, [1]));
  pass(t, 9);
  assert.equal(end.over, undefined);
  pass(t, 1);
  assert.equal(end.over[0], 'broken');
});

test('a message may rest as long as its sender has no leave to go on', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say } = solo();
  end.reads = false;
  // Unread, so that the window is nearly full.
  for (let i = 0; i < 127; i++) say(binary(bytes(65_536)));
  say(begin(65_537, [1]));
  pass(t, 100);
  assert.equal(end.over, undefined);
  end.read(1);
  pass(t, 29);
  assert.equal(end.over, undefined);
  pass(t, 1);
  assert.equal(end.over[0], 'broken');
});

test('a complete message rests as long as it likes', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { end, say } = solo();
  end.reads = false;
  say(begin(3, [1]));
  say(more([2, 3]));
  pass(t, 100);
  assert.equal(end.over, undefined);
  end.drop();
});

test('without room a message may rest', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const limits = { messageBytes: 100 };
  const ends = [...Array(5)].map(() => solo({ limits }));
  for (const { say } of ends) say(begin(100, [1]));
  pass(t, 30);
  // Those that had room have ended, which gives the last one some, and 30 s.
  assert.deepEqual(
    ends.map(({ end }) => end.over?.[0]),
    ['broken', 'broken', 'broken', 'broken', undefined],
  );
  pass(t, 30);
  assert.equal(ends[4].end.over[0], 'broken');
});
