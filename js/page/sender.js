'use strict';
// What goes out over an open data channel: messages, whole or in pieces, and frames of streams, by turns, as far as the
// remote and the browser take them. Knows when something was confirmed, not how the channel begins and ends.
// The same rules in Rust: crates/core/src/wire/{outgoing,ledger}.rs.

const EVENTS = require('../events');
const { hasRoom, utf8Length, utf8 } = require('../message');
const { Fifo } = require('./fifo');
const { Flight } = require('./flight');
const { BEGIN, BINARY, FRAME_COST, MAX_BODY, MAX_HEADER, MORE, PING, encodeFrame } = require('./frame');
const { demand, u32 } = require('../wire');
const { failure } = require('./signal');
const { LINKUP } = require('./states');

/**
 * Bytes handed to the browser at once. More is no faster anywhere, and in Chromium much slower: its SCTP sends what it has
 * in bursts that its own sockets drop, and waits for a second or two.
 */
const AT_ONCE = 128 * 1024;
/** Data frames that may be under way without an ACK: SCTP numbers those of a stream with 16 bits. */
const MAX_UNCONFIRMED = 24 * 1024;
/** Bytes of streams that wait here until no more are taken, and until they are again. */
const CROWDED = 256 * 1024;
const THINNED = 64 * 1024;
/** A remote that takes no larger frames than that has no use for ours. */
const MIN_FRAME = 64;
/** Nobody makes us keep more than so many bytes of answers. */
const MAX_ANSWERS = 4 * 1024 * 1024;
/**
 * Whether a channel has no limits: a browser says null, react-native-webrtc and wrtc -1, of 16 bits that is 65535. It has one of
 * them at most, so that both are none.
 */
const isUnlimited = (...limits) => [-1, 65535].some((none) => limits.every((limit) => (limit ?? -1) === none));
/** Progress of a message in pieces is told at most once for so many bytes, and for this part of it. */
const STEP = 256 * 1024;
const STEPS = 100;

class Sender {
  /** The browser's RTCDataChannel, until nothing more goes out or comes in. */
  dataChannel;
  /** Whether both sides are linkup peers and everything arrives, in order, so that there are binary frames. */
  framed = false;
  /** Bytes of the largest message that the remote takes. */
  maxMessage = 0;
  /** Nothing more is taken. */
  closing = false;
  /** What may be under way over this transport. */
  flight = new Flight();

  #most;
  #prepared = false;
  // What the browser has not got yet: of messages the data, its size and the token, by turns; frames of streams; the
  // message of which it has got some pieces.
  #messages = new Fifo();
  #streams = new Fifo();
  #cut;
  #queued = 0;
  #crowd = 0;
  #full = false;
  #crowded = false;
  #streamsTurn = false;
  #room = 0;
  // Data frames sent and confirmed; cost of the message frames sent and handed over there.
  #sent = 0;
  #confirmed = 0;
  #spent = 0;
  #handed = 0;
  // Frames that end no message, by their numbers; who waits for an ACK, and of which frame: numbers and tokens by turns.
  #partial = new Fifo();
  #tokens = new Set();
  #waiting = new Fifo();
  #asks = false;
  // Frames that are not confirmed, for another transport; how many of them this one has got; whether it is not known yet
  // which of them have arrived.
  #kept = new Fifo();
  #given = 0;
  #waits = false;

  /**
   * What is made from it has `put(kind, a, b, handle)` for the events, of this connection where no other handle is
   * given; `tell('stuck')`, for a channel that takes nothing more; and `frameBytes`, the largest frame that the
   * remote takes.
   *
   * @param {object} options the peer's
   * @param {object} link
   */
  constructor(options, link) {
    this.options = options;
    this.link = link;
  }

  /** The channel is open: from now on it is known what may go. */
  prepare() {
    this.#prepared = true;
    const { dataChannel, frameBytes, link } = this;
    const { ordered, maxRetransmits, maxPacketLifeTime } = dataChannel;
    const reliable = ordered && isUnlimited(maxRetransmits, maxPacketLifeTime);
    this.framed = link.kind === LINKUP && reliable && frameBytes >= MIN_FRAME;
    this.#most = this.framed ? Math.min(MAX_BODY, frameBytes - MAX_HEADER) : frameBytes;
    this.maxMessage = this.framed ? link.receive.message : frameBytes;
  }

  /** Whether another transport may go on where this one ends. */
  get resumes() {
    return this.framed && this.link.receive.resume;
  }

  /** There is another transport. Nothing goes before the remote has said what it has; what it has not goes first. */
  rewind() {
    this.#prepared = true;
    this.#given = 0;
    this.#waits = true;
    this.flight = new Flight();
  }

  /** Bytes of messages that are not on their way. */
  get buffered() {
    return this.#queued + (this.dataChannel?.bufferedAmount ?? 0);
  }

  /** Whether the browser has everything. */
  get allSent() {
    return (
      !this.#cut && this.#messages.length + this.#streams.length + this.#kept.length === this.#given && !this.#waits
    );
  }

  /** Whether something was sent. */
  get used() {
    return this.#sent > 0;
  }

  /** Messages that the remote may not have: of a plain client, at least so many. */
  get unsure() {
    const waiting = this.#messages.length / 3 + (this.#cut ? 1 : 0);
    if (this.framed) return waiting + this.#sent - this.#confirmed - this.#partial.length;
    return waiting + Math.min(this.dataChannel.bufferedAmount, 1);
  }

  /** The engine's `send()`. */
  send(data, token) {
    const { limits } = this.options;
    const text = typeof data === 'string';
    if (this.#refuses) return -1;
    if (!this.framed && (token || !text)) return -4;
    const size = text ? utf8Length(data) : data.length;
    if (size > this.maxMessage) return -3;
    if (!hasRoom(this.buffered, size, limits)) return -2;
    this.#messages.push(text ? data : size > this.#most ? new Uint8Array(data) : encodeFrame([BINARY], data));
    this.#messages.push(size);
    this.#messages.push(token);
    if (token) this.#tokens.add(token);
    this.#queued += size;
    this.pump();
    if (this.buffered <= limits.highWaterMark) return 0;
    this.#full = true;
    return 1;
  }

  /** The engine's `frame()`. */
  frame(kind, stream, body) {
    if (this.#refuses) return -1;
    if (!this.framed) return -4;
    const frame = encodeFrame([kind, ...u32(stream)], body ?? []);
    this.#streams.push(frame);
    this.#crowd += frame.length;
    this.pump();
    if (this.#crowd <= CROWDED) return 0;
    this.#crowded = true;
    return 1;
  }

  /** Sends a frame that is not data. */
  write(header) {
    const { dataChannel } = this;
    if (!this.framed || !this.#mayGive() || dataChannel.bufferedAmount > MAX_ANSWERS) return;
    dataChannel.send(encodeFrame(header));
  }

  /** Asks for an ACK, or any sign of life. */
  ping() {
    this.write([PING]);
  }

  /** Of a message `{at, whole, step}` so many bytes are through. */
  progress(kind, message) {
    const { at, whole } = message;
    if (at < message.step && at < whole) return;
    message.step = at + Math.max(STEP, whole / STEPS);
    this.put(kind, at, whole);
  }

  /** Hands to the browser what may go. */
  pump() {
    const { dataChannel } = this;
    if (!this.#mayGive()) return;
    // Before more comes: streams alone may keep the browser's buffer full.
    if (this.#full && this.buffered <= this.options.limits.highWaterMark) {
      this.#full = false;
      this.put(EVENTS.DRAINED, 0);
    }
    this.#room = AT_ONCE - dataChannel.bufferedAmount;
    if (this.#waits) return;
    while (this.#flies && this.#given < this.#kept.length) {
      this.#given += 1;
      this.#give(this.#kept.peek(this.#given - 1), this.#confirmed + this.#given);
    }
    while (this.#flies && this.#sent - this.#confirmed < MAX_UNCONFIRMED && this.#next());
    if (this.#crowded && this.#crowd < THINNED) {
      this.#crowded = false;
      this.put(EVENTS.DRAINED, 1);
    }
  }

  /** The remote has so many data frames, and its application messages of that cost: all, where it says no numbers. */
  confirmed(frames = this.#sent, cost = this.#spent) {
    demand(frames >= this.#confirmed && frames <= this.#sent && cost >= this.#handed && cost <= this.#spent);
    if (this.resumes) {
      this.#waits = false;
      this.#given = Math.max(0, this.#given + this.#confirmed - frames);
      while (this.#confirmed++ < frames) this.#kept.take();
    }
    this.#confirmed = frames;
    this.#handed = cost;
    this.flight.arrived(frames);
    while (this.#partial.peek() <= frames) this.#partial.take();
    while (this.#waiting.peek() <= frames) {
      this.#waiting.take();
      const token = this.#waiting.take();
      this.#tokens.delete(token);
      this.put(EVENTS.SETTLED, true, null, token);
    }
  }

  /** Nothing goes any more: who waits for an ACK hears why there is none. */
  drop(error) {
    const why = error ?? failure('ERR_CONNECTION_CLOSED', 'the connection is closed');
    for (const token of this.#tokens) this.put(EVENTS.SETTLED, null, why, token);
  }

  get #refuses() {
    return this.closing || !this.dataChannel || (this.dataChannel.readyState !== 'open' && !this.resumes);
  }

  /** Sends a frame; whether there was one that may go. */
  #next() {
    const left = this.#cut ? this.#cut.whole - this.#cut.at : this.#messages.peek(1);
    const size = Math.min(left, this.#most);
    const outstanding = this.#spent - this.#handed;
    // Where nothing is left, it is not a number.
    const message = outstanding === 0 ? size >= 0 : outstanding + size + FRAME_COST <= this.link.receive.window;
    const stream = this.#streams.length > 0 && (this.#streamsTurn || !message);
    this.#streamsTurn = !stream;
    if (stream) {
      const frame = this.#streams.take();
      this.#crowd -= frame.length;
      this.#transmit(frame);
      this.#partial.push(this.#sent);
    } else if (message) this.#sendMessage(size);
    return stream || message;
  }

  /** Sends the next message, or so many bytes of it. */
  #sendMessage(size) {
    this.#queued -= size;
    this.#spent += size + FRAME_COST;
    if (!this.#cut) {
      const data = this.#messages.take();
      const whole = this.#messages.take();
      const token = this.#messages.take();
      if (size === whole) {
        this.#transmit(data);
        return this.#expect(token);
      }
      const text = typeof data === 'string';
      const bytes = text ? utf8(data) : data;
      this.#cut = { bytes, whole, at: 0, step: 0, token, begin: [BEGIN, text ? 0 : 1, ...u32(whole)] };
    }
    const cut = this.#cut;
    const { bytes, at, begin, whole, token } = cut;
    cut.at += size;
    this.#transmit(encodeFrame(at > 0 ? [MORE] : begin, bytes.subarray(at, cut.at)));
    this.progress(EVENTS.SENDING, cut);
    if (cut.at < whole) return this.#partial.push(this.#sent);
    this.#cut = undefined;
    this.#expect(token);
  }

  /** Whether the browser takes something. In Chromium a channel that was open may say 'connecting', and stay so. */
  #mayGive() {
    const state = this.dataChannel?.readyState;
    if (state === 'connecting' && this.#prepared) {
      this.#prepared = false;
      queueMicrotask(() => this.tell('stuck'));
    }
    return state === 'open';
  }

  /** Whether the browser, and the way to the remote, take another frame. */
  get #flies() {
    return this.#room > 0 && this.flight.free;
  }

  /** Hands over a frame, which is the remote's `number`th. */
  #give(frame, number) {
    this.dataChannel.send(frame);
    this.#room -= frame.length;
    if (this.flight.went(frame.length, number)) this.#ask();
  }

  #transmit(frame) {
    this.#give(frame, this.#sent + 1);
    this.#sent += 1;
    if (this.resumes) {
      this.#kept.push(frame);
      this.#given += 1;
    }
    // Of a plain client's messages nothing more is heard.
    if (!this.framed) this.confirmed();
  }

  /** Somebody may wait for an ACK of what was sent last. */
  #expect(token) {
    if (!token) return;
    this.#waiting.push(this.#sent);
    this.#waiting.push(token);
    this.#ask();
  }

  /** Asks for an ACK, once for all that is sent in this turn. */
  #ask() {
    if (this.#asks) return;
    this.#asks = true;
    queueMicrotask(() => {
      this.#asks = false;
      this.ping();
    });
  }
}

module.exports = { Sender };
