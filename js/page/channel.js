'use strict';
// The data channel of a transport: how it opens, which frame goes where, and the end in order. Knows the browser's
// RTCDataChannel, not how it came to be; what goes out is sender.js's, what comes in receiver.js's.
//
// Between two linkup peers each side says with a FIN that it has sent its last message, and confirms the other's FIN when
// everything before it was handed to its application; whoever hears a FIN sends what it has taken and its own. A plain
// simple-peer client knows no FIN: there the channel is closed. The same in Rust: crates/driver/src/transport.

const { ACK, BEGIN, BINARY, BUNDLE, FIN, FIN_ACK, MORE, OPEN, PING, decodeFrame } = require('./frame');
const { demand } = require('../wire');
const { Receiver } = require('./receiver');
const { failure } = require('./signal');
const { LINKUP } = require('./states');

/** When the browser gets more. */
const LOW = 32 * 1024;
/**
 * How long a channel to a plain client lives at least, where it was called and has not said anything: Chromium loses what
 * came before it has told its page of a channel that is closed by then.
 */
const GRACE = 250;

class Channel extends Receiver {
  /** Whether it was open once. */
  open = false;
  /** Set to 0 by whatever comes. */
  quiet = 0;

  #error;
  // One, or two where the called side could not speak over the caller's; what came before it was open.
  #channels = [];
  #early = [];
  // The application wants the end and waits to hear how it went.
  #asked = false;
  #deadline;
  // Our FIN: sent, confirmed. The remote's: here, confirmed.
  #said = false;
  #through = false;
  #heard = false;
  #answered = false;
  // When a channel to a plain client may be closed.
  #ripe = 0;

  #resumed = false;

  // What is made from it has `tell(what, about)`, which hears: opened, finished, gone, lost, stuck, broken.

  // And `ready()`, a promise that all the browser's threads have heard of what has happened. In Chromium a channel says that
  // it is open before: what is sent then is lost, or never taken off its bufferedAmount.

  /** A channel that we have made. */
  made(channel) {
    this.#ripe = GRACE;
    this.#adopt(channel);
    channel.onopen = () => this.ready().then(() => this.#opened());
  }

  /** A channel that the remote has made, in this RTCPeerConnection. */
  arrived(channel, pc) {
    if (!this.dataChannel) {
      this.#adopt(channel);
      const test = () => {
        channel.onopen = null;
        this.ready().then(() => this.#test(channel, pc));
      };
      channel.onopen = test;
      if (channel.readyState === 'open') test();
      // A called peer that cannot speak over our channel opens one of its own.
    } else if (this.link.kind === LINKUP && this.#channels.length === 1) this.#listen(channel);
    // One channel is a connection; what else a remote opens means nothing here.
    else channel.close();
  }

  /** Goes on over the channels of another transport, which is open. */
  takeOver(other) {
    const [first, ...rest] = other.#channels.splice(0);
    for (const channel of this.#channels.splice(0)) silence(channel);
    first.onopen = null;
    this.#adopt(first);
    for (const channel of rest) this.#listen(channel);
    this.#resumed = true;
    this.#said = this.#through;
    this.rewind();
    for (const data of other.#early.splice(0)) this.#came(data);
    this.#pump();
  }

  /** The application has got one more of the messages, of that cost. */
  handed(cost) {
    super.handed(cost);
    this.#answerFin();
  }

  /** Delivers what was accepted, then closes: `finished` follows. */
  close() {
    this.#asked = true;
    this.#end();
  }

  /** Nothing more goes out or comes in. `error`: for who waits for an ACK. */
  drop(error) {
    clearTimeout(this.#deadline);
    super.drop(error);
    this.dataChannel = undefined;
    for (const channel of this.#channels.splice(0)) silence(channel);
  }

  #adopt(channel) {
    this.dataChannel = channel;
    channel.bufferedAmountLowThreshold = Math.min(LOW, this.options.limits.highWaterMark);
    channel.onbufferedamountlow = () => this.#pump();
    this.#listen(channel);
  }

  #listen(channel) {
    this.#channels.push(channel);
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      this.quiet = this.#ripe = 0;
      if (this.open) this.#came(data);
      else this.#early.push(data);
    };
    channel.onerror = ({ error }) => {
      this.#error = error;
    };
    channel.onclose = () => this.#ended();
  }

  /** Goes on with a channel of the remote: one time in a thousand it is 'connecting' again in Chromium, and stays so. */
  #test(channel, pc) {
    if (this.dataChannel !== channel || channel.readyState !== 'connecting') return this.#opened();
    if (this.link.kind !== LINKUP) return this.tell('stuck');
    const { label, protocol, ordered, maxRetransmits, maxPacketLifeTime } = channel;
    // For null they take 0.
    const limits = { maxRetransmits: maxRetransmits ?? undefined, maxPacketLifeTime: maxPacketLifeTime ?? undefined };
    this.made(pc.createDataChannel(label, { protocol, ordered, ...limits }));
  }

  #came(data) {
    try {
      if (typeof data === 'string') this.gotWhole(data);
      else this.#frameCame(new Uint8Array(data));
    } catch (error) {
      this.tell('broken', error);
    }
  }

  #opened() {
    if (this.open || !this.dataChannel) return;
    this.open = true;
    this.prepare();
    if (this.#ripe > 0) this.#ripe += Date.now();
    this.tell('opened');
    // Another one has taken them over.
    for (const data of this.#early.splice(0)) this.#came(data);
  }

  #frameCame(bytes) {
    if (!this.framed) return this.gotWhole(bytes);
    const [kind, body, a, b] = decodeFrame(bytes);
    if (kind === BUNDLE) this.bundle(body);
    else if (kind >= OPEN) this.stream(bytes);
    // Not a view: applications read `.buffer`, too.
    else if (kind === BINARY) this.gotWhole(body.slice());
    else if (kind === BEGIN) this.begin(body, a, b);
    else if (kind === MORE) this.more(body);
    else if (kind === PING) this.asked();
    else if (kind === ACK) {
      this.confirmed(a, b);
      this.#pump();
    } else if (kind === FIN) {
      this.finish();
      this.#heard = true;
      this.#answered = false;
      this.#end();
      this.#answerFin();
    } else {
      demand(kind === FIN_ACK && (this.#resumed || (this.#said && !this.#through)));
      this.confirmed();
      this.#through = true;
      this.#settle();
    }
  }

  #pump() {
    this.pump();
    if (this.dataChannel && this.closing && this.allSent) this.#sayFin();
  }

  /** The channel was closed, or broke. */
  #ended() {
    // With its FIN behind it, a linkup peer goes only when it has ours.
    const all = this.#heard || this.unsure === 0;
    if (this.#asked && all) this.tell('finished');
    else if (this.#asked || (this.framed && !this.#heard)) this.tell('lost', this.#error);
    else this.tell('gone');
  }

  /** Takes nothing more; the rest goes out, and then our word that it was the rest. */
  #end() {
    const { close } = this.options.timeouts;
    this.#deadline ??= setTimeout(() => this.#late(close), close);
    this.closing = true;
    this.#pump();
  }

  #late(within) {
    if (!this.#asked) return this.tell('gone');
    if (this.#through) return this.tell('finished');
    const unconfirmed = this.unsure;
    const message = `the remote did not confirm the close within ${within} ms: ${unconfirmed} messages may be lost`;
    this.tell('finished', failure('ERR_CLOSE_TIMEOUT', message, { unconfirmed }));
  }

  #sayFin() {
    if (this.#said) return;
    if (this.framed) {
      this.#said = true;
      return this.write([FIN]);
    }
    const wait = this.used ? this.#ripe - Date.now() : 0;
    if (wait > 0) setTimeout(() => this.#pump(), wait);
    else this.dataChannel.close();
  }

  #answerFin() {
    if (!this.#heard || this.#answered || !this.allHanded) return;
    this.#answered = true;
    this.write([FIN_ACK]);
    this.#settle();
  }

  /** Both directions are through. */
  #settle() {
    if (this.#through && this.#answered) this.tell(this.#asked ? 'finished' : 'gone');
  }
}

/** Nothing more is heard of a channel. */
function silence(channel) {
  channel.onopen = channel.onmessage = channel.onerror = channel.onclose = channel.onbufferedamountlow = null;
}

module.exports = { Channel };
