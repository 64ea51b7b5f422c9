'use strict';
// What the tests of a page's channel stand on: two RTCDataChannels joined by memory, ordered and asynchronous, with
// a seeded network in between; and ends over them that do what page/transport.js does.

const EVENTS = require('../../js/events');
const { Channel } = require('../../js/page/channel');
const { BEGIN, BINARY, MORE, OPEN, ACK, PING, decodeFrame, encodeFrame } = require('../../js/page/frame');
const { u32, u64 } = require('../../js/wire');
const { failure } = require('../../js/page/signal');
const { LINKUP } = require('../../js/page/states');
const { utf8Length } = require('../../js/message');
const { random } = require('../../js/test/random');

const MIB = 1024 * 1024;
const COST = 64;
const RECEIVE = { message: 64 * MIB, window: 8 * MIB };
const LIMITS = { messageBytes: 64 * MIB, bufferedBytes: 64 * MIB, highWaterMark: MIB };

const turn = () => new Promise(setImmediate);

/** Lets everything happen that needs no timer. */
async function settle(turns = 20) {
  for (let i = 0; i < turns; i++) await turn();
}

async function until(condition, what = 'it') {
  for (let i = 0; i < 200_000; i++) {
    if (condition()) return;
    await turn();
  }
  throw new Error(`${what} does not come`);
}

/** One end of an RTCDataChannel. `other.onmessage` gets what is sent, some turns later. */
class FakeChannel {
  readyState = 'open';
  ordered = true;
  maxRetransmits = null;
  maxPacketLifeTime = null;
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  /** All that was sent. */
  sent = [];
  /** Bytes of one turn of the network; 0: nothing goes. */
  rate = () => Number.POSITIVE_INFINITY;
  #way = [];
  #moving = false;

  send(data) {
    if (this.readyState !== 'open') throw new Error('InvalidStateError');
    const text = typeof data === 'string';
    const size = text ? utf8Length(data) : data.length;
    if (size > this.largest) throw new TypeError('larger than the remote takes');
    const copy = text ? data : new Uint8Array(data).buffer;
    this.sent.push(text ? data : new Uint8Array(copy));
    this.audit?.(this.sent.at(-1));
    this.bufferedAmount += size;
    this.#way.push([copy, size]);
    this.move();
  }

  move() {
    if (this.#moving) return;
    this.#moving = true;
    setImmediate(() => {
      this.#moving = false;
      for (let room = this.rate(); room > 0 && this.#way.length > 0; ) {
        const [data, size] = this.#way.shift();
        room -= size + 1;
        const before = this.bufferedAmount;
        this.bufferedAmount -= size;
        const low = this.bufferedAmountLowThreshold;
        if (before > low && this.bufferedAmount <= low) this.onbufferedamountlow?.();
        this.deliver(data);
      }
      if (this.#way.length > 0 && this.rate() > 0) this.move();
    });
  }

  deliver(data) {
    this.other?.onmessage?.({ data });
  }

  /** Both ends are gone, with what was under way. */
  close() {
    for (const end of [this, this.other]) {
      if (!end || end.readyState === 'closed') continue;
      end.readyState = 'closed';
      end.#way = [];
      setImmediate(() => end.onclose?.());
    }
  }
}

/** A Channel, and an application that gets its events. */
class End extends Channel {
  events = [];
  messages = [];
  frames = [];
  /** How it ended: `[what, about]`. */
  over;
  /** Whether the application reads: takes what is in its mailbox. */
  reads = true;
  #mailbox = [];

  constructor(fake, { limits, timeouts, receive = RECEIVE, kind = LINKUP, frameBytes = 256 * 1024, channel } = {}) {
    const options = { limits: { ...LIMITS, ...limits }, timeouts: { close: 5000, ...timeouts } };
    super(options, { kind, receive, handle: 'handle' });
    this.fake = Object.assign(fake, channel);
    this.frameBytes = fake.largest = frameBytes;
    this.made(fake);
    fake.onopen();
  }

  /** At once: the browsers' threads are in ../page. */
  ready() {
    // biome-ignore lint/suspicious/noThenProperty: a promise would be late
    return { then: (next) => next() };
  }

  put(kind, a, b, handle = 'handle') {
    if (kind === EVENTS.TEXT || kind === EVENTS.BINARY) {
      this.#mailbox.push([a, b]);
      setImmediate(() => this.reads && this.read());
    } else if (kind === EVENTS.FRAME) this.frames.push(a);
    else this.events.push([kind, a, b, handle]);
  }

  /** Takes so many messages out of the mailbox. */
  read(count = this.#mailbox.length) {
    for (const [message, cost] of this.#mailbox.splice(0, count)) {
      this.messages.push(message);
      this.handed(cost);
    }
  }

  get unread() {
    return this.#mailbox.length;
  }

  tell(what, about) {
    if (what === 'opened' || this.over) return;
    this.over = [what, about];
    const error = what === 'broken' ? failure('ERR_PROTOCOL', about.message ?? about) : about;
    this.drop(error);
    this.fake.close();
  }

  /** Events of that kind: what they say. */
  of(kind) {
    return this.events.filter((event) => event[0] === kind).map(([, a, b, handle]) => [a, b, handle]);
  }
}

/** Fails where a sender does what the protocol forbids. */
function audit(fake, window) {
  const state = { frames: 0, received: 0, spent: 0, handed: 0, most: 0 };
  fake.audit = (frame) => {
    const [kind, body] = typeof frame === 'string' ? [0, frame] : decodeFrame(frame);
    if (kind === ACK || kind === PING || kind === 2 || kind === 3) return;
    state.frames += 1;
    if (state.frames - state.received > 24_576) throw new Error('too many frames without an ACK');
    if (kind >= OPEN) return;
    const size = typeof body === 'string' ? utf8Length(body) : body.length;
    if (size > 65_536) throw new Error('a frame is too large');
    const outstanding = state.spent - state.handed;
    if (outstanding > 0 && outstanding + size + COST > window) throw new Error('over the window');
    state.spent += size + COST;
    state.most = Math.max(state.most, state.spent - state.handed);
  };
  const { deliver } = fake.other;
  fake.other.deliver = (data) => {
    if (typeof data !== 'string') {
      const [kind, , a, b] = decodeFrame(new Uint8Array(data));
      if (kind === ACK) Object.assign(state, { received: a, handed: b });
    }
    deliver.call(fake.other, data);
  };
  return state;
}

/** Two ends, joined. */
function pair(optionsA = {}, optionsB = {}, { next } = {}) {
  const [one, two] = [new FakeChannel(), new FakeChannel()];
  one.other = two;
  two.other = one;
  const books = [audit(one, optionsA.receive?.window ?? RECEIVE.window), audit(two, RECEIVE.window)];
  if (next) for (const fake of [one, two]) fake.rate = () => next() ** 3 * 400_000;
  const [a, b] = [new End(one, optionsA), new End(two, optionsB)];
  return { a, b, one, two, books };
}

/**
 * One end, and a remote that is played by hand: `say(frame)`; `heard()` is what it got since it was asked last.
 * It is so far away that anything may be under way, if it is not `near`.
 */
function solo(options) {
  const fake = new FakeChannel();
  const end = new End(fake, options);
  if (!options?.near) end.flight = { free: true, went: () => false, arrived: () => {} };
  const say = (data) => {
    const whole = typeof data === 'string' ? data : new Uint8Array(data).buffer;
    fake.onmessage?.({ data: whole });
  };
  const heard = () => fake.sent.splice(0).map((data) => (typeof data === 'string' ? data : name(data)));
  return { end, fake, say, heard };
}

/** A frame in words. */
function name(bytes) {
  const [kind, body, a, b] = decodeFrame(bytes);
  if (kind === ACK) return ['ack', a, b];
  if (kind === BEGIN) return ['begin', a, b, body.length];
  return [['', '', 'fin', 'fin-ack', 'binary', '', 'more', 'ping', 'open', 'data'][kind] ?? kind, body.length];
}

const frames = {
  ack: (received, handed) => encodeFrame([ACK, ...u64(received), ...u64(handed)]),
  fin: () => encodeFrame([2]),
  finAck: () => encodeFrame([3]),
  binary: (body) => encodeFrame([BINARY], body),
  begin: (total, body, binary = 1) => encodeFrame([BEGIN, binary, ...u32(total)], body),
  more: (body) => encodeFrame([MORE], body),
  ping: () => encodeFrame([PING]),
  stream: (kind, stream, body) => encodeFrame([kind, ...u32(stream)], body),
};

module.exports = { COST, EVENTS, MIB, End, FakeChannel, frames, pair, random, settle, solo, turn, until };
