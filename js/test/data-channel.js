'use strict';
// A browser's RTCDataChannel over two wires, as far as linkup uses it. Knows its other end, not how the two came to be.

const { Wire } = require('./wire');

/** One thing that a channel says to its other end without the application. */
const CLOSE = Symbol('close');
/** A life of that many ms is one retransmission. */
const RETRY = 200;

class DataChannel {
  readyState = 'connecting';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = 'arraybuffer';
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  onbufferedamountlow = null;

  #pc;
  #wire;
  #peer;
  // What comes before the other end is there.
  #early = [];

  /** @param {PeerConnection} pc whose `world` and `way` it uses, and whose `counts` it fills */
  constructor(pc, label, about = {}) {
    const {
      ordered = true,
      maxRetransmits = null,
      maxPacketLifeTime = null,
      protocol = '',
      negotiated = false,
    } = about;
    Object.assign(this, {
      label,
      ordered,
      maxRetransmits,
      maxPacketLifeTime,
      protocol,
      negotiated,
      id: about.id ?? null,
    });
    this.#pc = pc;
    const life = maxPacketLifeTime === null ? undefined : Math.floor(maxPacketLifeTime / RETRY);
    this.#wire = new Wire(pc.world, () => pc.way, { ordered, retries: maxRetransmits ?? life });
    this.#wire.onmessage = (data) => (this.#peer ? this.#peer.#came(data) : this.#early.push(data));
    this.#wire.onsent = (bytes, count) => this.#sent(bytes, count);
  }

  /** What the other end is told about it. */
  get about() {
    const { label, ordered, maxRetransmits, maxPacketLifeTime, protocol } = this;
    return { label, ordered, maxRetransmits, maxPacketLifeTime, protocol };
  }

  /** The two ends find each other: this one, which is new, is open, and hears what was sent to it. */
  join(peer) {
    this.#peer = peer;
    peer.#peer = this;
    this.open();
    this.#pc.world.time.after(0, () => {
      for (const data of peer.#early.splice(0)) this.#came(data);
    });
  }

  open() {
    if (this.readyState !== 'connecting') return;
    this.readyState = 'open';
    this.#pc.world.time.after(0, () => this.readyState === 'open' && this.onopen?.({}));
  }

  send(data) {
    if (this.readyState !== 'open') throw new Error('InvalidStateError: the channel is not open');
    const text = typeof data === 'string';
    const size = Buffer.byteLength(data);
    if (size > this.#pc.sctp.maxMessageSize) throw new TypeError('the message is larger than the remote takes');
    this.bufferedAmount += size;
    // The bytes as they are now, in a buffer of their own.
    this.#wire.send({ data: text ? data : new Uint8Array(data).slice().buffer, size }, size);
  }

  /** What was sent arrives, then it closes on both sides. */
  close() {
    if (this.readyState === 'closing' || this.readyState === 'closed') return;
    const connected = this.readyState === 'open' && this.#peer;
    this.readyState = 'closing';
    if (connected) this.#wire.send(CLOSE, 0);
    else this.#pc.world.time.after(0, () => this.end());
  }

  /** It is over at once, and sends nothing more. `quiet`: nobody is told. */
  end(quiet) {
    this.#wire.end();
    this.#closed(quiet);
  }

  #closed(quiet) {
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    if (!quiet) this.onclose?.({});
  }

  #sent(bytes, count) {
    const before = this.bufferedAmount;
    this.bufferedAmount -= bytes;
    this.#pc.counts.bytesSent += bytes;
    this.#pc.counts.messagesSent += count;
    const low = this.bufferedAmountLowThreshold;
    if (before > low && this.bufferedAmount <= low) this.onbufferedamountlow?.({});
  }

  #came(message) {
    if (this.readyState === 'closed') return;
    this.#pc.heard();
    if (message === CLOSE) {
      // The answer goes back behind what was sent from here.
      if (this.readyState === 'open') this.#wire.send(CLOSE, 0);
      return this.#closed();
    }
    const { counts } = this.#pc;
    counts.bytesReceived += message.size;
    counts.messagesReceived += 1;
    if (this.readyState === 'open') this.onmessage?.({ data: message.data });
  }
}

module.exports = { DataChannel };
