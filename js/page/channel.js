'use strict';
// The data channel of a transport: messages in both directions, their bounds, and the end in order. Knows the browser's
// RTCDataChannel, not how it came to be.
//
// Between two linkup peers each side says with a FIN that it has sent its last message, and confirms the other's FIN when
// everything before it was handed to its application; whoever hears a FIN sends what it has taken and its own. A plain
// simple-peer client knows no FIN: there the channel is closed. The same in Rust: crates/driver/src/transport.

const { ACK, BINARY, FIN, FIN_ACK, decodeFrame, encodeFrame } = require('./frame');
const { utf8Length } = require('../message');
const { failure } = require('./signal');
const { LINKUP } = require('./states');

/** Bytes handed to the browser at once, and when it gets more. Chromium refuses all above 16 MiB. */
const WINDOW = 1024 * 1024;
const LOW = 256 * 1024;
/** A receiver confirms at least after so many messages, and so many ms after it has got one. */
const ACK_EVERY = 2048;
const ACK_AFTER = 100;
/** Messages that may be under way without an ACK: SCTP numbers those of a stream with 16 bits. */
const MAX_UNCONFIRMED = 24 * 1024;
/**
 * How long a channel to a plain client lives at least, where it was called and has not said anything: Chromium loses what
 * came before it has told its page of a channel that is closed by then.
 */
const GRACE = 250;

/** Bytes on the wire. */
const sizeOf = (data) => (typeof data === 'string' ? utf8Length(data) : data.byteLength);

class Channel {
  /** Whether it was open once. */
  open = false;

  #channel;
  #error;
  // What the browser has not got yet: data and its size, by turns.
  #queue = [];
  #queued = 0;
  #full = false;
  // Messages that the browser has got, and of these the ones that the remote has confirmed.
  #written = 0;
  #confirmed = 0;
  // Messages that have come, that the application has got, and that we have confirmed.
  #read = 0;
  #handed = 0;
  #acknowledged = 0;
  #ackTimer;
  // The application wants the end and waits to hear how it went; nothing more is taken.
  #asked = false;
  #closing = false;
  #deadline;
  // Our FIN: sent, confirmed. The remote's: here, confirmed.
  #said = false;
  #through = false;
  #heard = false;
  #answered = false;
  // When a channel to a plain client may be closed.
  #ripe = 0;

  /**
   * What is made from it has `tell`, which hears: opened, received, drained, finished, gone, lost, broken; and
   * `maxMessage`, what the remote takes.
   *
   * @param {object} options the peer's
   * @param {object} link
   */
  constructor(options, link) {
    this.options = options;
    this.link = link;
  }

  get buffered() {
    return this.#queued + (this.#channel?.bufferedAmount ?? 0);
  }

  /** A channel that we have made. */
  made(channel) {
    this.#ripe = GRACE;
    this.#adopt(channel);
  }

  /** A channel that the remote has made. */
  arrived(channel) {
    // One channel is a connection; what else a remote opens means nothing here.
    if (this.#channel) channel.close();
    else this.#adopt(channel);
  }

  /** The application has got one more of the messages. */
  handed() {
    this.#handed += 1;
    if (!this.#framed) return;
    if (this.#handed - this.#acknowledged >= ACK_EVERY) this.#acknowledge();
    else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_AFTER);
    this.#answerFin();
  }

  /** The engine's `send()`. */
  send(data) {
    if (this.#closing || this.#channel?.readyState !== 'open') return -1;
    if (typeof data !== 'string') return -4;
    const size = sizeOf(data);
    const { bufferedBytes, highWaterMark } = this.options.limits;
    if (size > this.maxMessage) return -3;
    if (this.buffered + size > bufferedBytes) return -2;
    this.#queue.push(data, size);
    this.#queued += size;
    this.#pump();
    if (this.buffered <= highWaterMark) return 0;
    this.#full = true;
    return 1;
  }

  /** Delivers what was accepted, then closes: `finished` follows. */
  close() {
    this.#asked = true;
    this.#end();
  }

  /** Nothing more goes out or comes in. */
  drop() {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#queue = [];
    clearTimeout(this.#deadline);
    clearTimeout(this.#ackTimer);
    if (!channel) return;
    channel.onopen = channel.onmessage = channel.onerror = channel.onclose = channel.onbufferedamountlow = null;
  }

  #adopt(channel) {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = Math.min(LOW, this.options.limits.highWaterMark);
    channel.onopen = () => this.#opened();
    channel.onmessage = ({ data }) => {
      this.#opened();
      this.#ripe = 0;
      const whole = typeof data === 'string' ? data : new Uint8Array(data);
      if (whole !== data && this.#framed) this.#heardFrame(decodeFrame(whole) ?? []);
      else this.#received(whole);
    };
    channel.onbufferedamountlow = () => this.#pump();
    channel.onerror = ({ error }) => {
      this.#error = error;
    };
    channel.onclose = () => this.#closed();
    if (channel.readyState === 'open') this.#opened();
  }

  #opened() {
    if (this.open) return;
    this.open = true;
    if (this.#ripe > 0) this.#ripe += Date.now();
    this.tell('opened');
  }

  #received(data) {
    this.#read += 1;
    this.tell('received', data);
  }

  #pump() {
    const channel = this.#channel;
    if (!channel) return;
    let taken = 0;
    const credit = this.#framed ? this.#confirmed + MAX_UNCONFIRMED : Number.POSITIVE_INFINITY;
    const most = channel.readyState === 'open' ? this.#queue.length : 0;
    while (taken < most && this.#written < credit && channel.bufferedAmount < WINDOW) {
      channel.send(this.#queue[taken]);
      this.#written += 1;
      this.#queued -= this.#queue[taken + 1];
      taken += 2;
    }
    if (taken === this.#queue.length) this.#queue = [];
    else if (taken > 0) this.#queue.splice(0, taken);
    if (this.#full && this.buffered <= this.options.limits.highWaterMark) {
      this.#full = false;
      this.tell('drained');
    }
    if (this.#closing && this.#queue.length === 0) this.#sayFin();
  }

  /** The channel was closed, or broke. */
  #closed() {
    // With its FIN behind it, a linkup peer goes only when it has ours.
    const all = this.#heard || this.#unconfirmed === 0;
    if (this.#asked && all) this.tell('finished');
    else if (this.#asked || (this.#framed && !this.#heard)) this.tell('lost', this.#error);
    else this.tell('gone');
  }

  /** Whether both sides are linkup peers and everything arrives, in order: then there are binary frames. */
  get #framed() {
    const { ordered, maxRetransmits, maxPacketLifeTime } = this.#channel ?? {};
    return this.link.kind === LINKUP && ordered && (maxRetransmits ?? maxPacketLifeTime ?? null) === null;
  }

  /** Messages that the remote may not have: of a plain client, at least so many. */
  get #unconfirmed() {
    const waiting = this.#queue.length / 2;
    if (this.#framed) return waiting + this.#written - this.#confirmed;
    return waiting + (this.#channel.bufferedAmount > 0 ? 1 : 0);
  }

  #sendFrame(kind, body) {
    if (this.#channel?.readyState === 'open') this.#channel.send(encodeFrame(kind, body));
  }

  #acknowledge() {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#acknowledged = this.#handed;
    this.#sendFrame(ACK, this.#handed);
  }

  #heardFrame([kind, body]) {
    if (kind === BINARY) this.#received(body);
    else if (kind === ACK && body >= this.#confirmed && body <= this.#written) {
      this.#confirmed = body;
      this.#pump();
    } else if (kind === FIN && !this.#heard) {
      this.#heard = true;
      this.#end();
      this.#answerFin();
    } else if (kind === FIN_ACK && this.#said && !this.#through) {
      this.#through = true;
      this.#settle();
    } else this.tell('broken', 'the remote sent a frame that is none, or makes no sense here');
  }

  /** Takes nothing more; the rest goes out, and then our word that it was the rest. */
  #end() {
    const { close } = this.options.timeouts;
    this.#deadline ??= setTimeout(() => this.#late(close), close);
    this.#closing = true;
    this.#pump();
  }

  #late(within) {
    if (!this.#asked) return this.tell('gone');
    if (this.#through) return this.tell('finished');
    const unconfirmed = this.#unconfirmed;
    const message = `the remote did not confirm the close within ${within} ms: ${unconfirmed} messages may be lost`;
    this.tell('finished', failure('ERR_CLOSE_TIMEOUT', message, { unconfirmed }));
  }

  #sayFin() {
    if (this.#said) return;
    if (this.#framed) {
      this.#said = true;
      return this.#sendFrame(FIN);
    }
    const wait = this.#written > 0 ? this.#ripe - Date.now() : 0;
    if (wait > 0) setTimeout(() => this.#pump(), wait);
    else this.#channel.close();
  }

  #answerFin() {
    if (!this.#heard || this.#answered || this.#handed < this.#read) return;
    this.#answered = true;
    this.#sendFrame(FIN_ACK);
    this.#settle();
  }

  /** Both directions are through. */
  #settle() {
    if (this.#through && this.#answered) this.tell(this.#asked ? 'finished' : 'gone');
  }
}

module.exports = { Channel, sizeOf };
