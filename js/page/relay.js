'use strict';
// A transport over the broker, where two peers have no other way: what an RTCPeerConnection and its RTCDataChannel are to
// transport.js and channel.js, made of encrypted packets inside of signals (docs/protocol.md).
// The same in Rust: crates/driver/src/transport/relay.rs.

const { demand, u64, u64At } = require('../wire');
const { fromBase64, subtle, toBase64 } = require('./crypto');

const DESCRIPTION = 'relay:';

/** Bytes of one packet; what it costs of the broker's rate besides. */
const PACKET = 32 * 1024;
const COVER = 400;
/** An answer goes after so many bytes, or so many ms after whatever has none. */
const ANSWER_EVERY = 16 * 1024;
const ANSWER_AFTER = 50;

/** Kinds of packets: the first byte. Of a message, the last one has LAST. */
const BINARY = 1;
const ANSWER = 2;
const LAST = 4;
/** So many packets go at once when it ends: FIN and FIN-ACK, not what nobody waits for any more. */
const LAST_WORDS = 4;

const P256 = { name: 'ECDH', namedCurve: 'P-256' };

/** Packets are numbered by their order: one that is missing, or comes twice, opens none after it. */
const cover = (number) => ({ name: 'AES-GCM', iv: new Uint8Array([0, 0, 0, 0, ...u64(number)]) });

class Relay {
  path = 'broker';
  iceConnectionState = 'connected';
  sctp = { maxMessageSize: PACKET * 4 };

  // Of the channel.
  ordered = true;
  readyState = 'connecting';
  bufferedAmount = 0;

  #rate;
  #allowance;
  #filled = Date.now();
  #own;
  #seal;
  #open;
  #sealed = 0;
  #opened = 0;
  #out = [];
  #sent = 0;
  #had = 0;
  #received = 0;
  #answered = 0;
  #part = [];
  #timer;
  #refill;
  // One after the other: the order counts.
  #going = Promise.resolve();
  #coming = Promise.resolve();

  /** `rate`: bytes a second that the broker takes. What is made has `onpacket`, and `onfirst`, which hears of the first one. */
  constructor(rate) {
    this.#rate = this.#allowance = rate;
  }

  /** Ours, for the remote. */
  async describe() {
    this.#own = await subtle().generateKey(P256, false, ['deriveBits']);
    return DESCRIPTION + toBase64(new Uint8Array(await subtle().exportKey('raw', this.#own.publicKey)));
  }

  /** The remote's: now it is open. */
  async agree(own, theirs, calls) {
    const crypto = subtle();
    const [ours, other] = [own, theirs].map((text) => fromBase64(text.slice(DESCRIPTION.length)));
    const key = await crypto.importKey('raw', other, P256, false, []);
    const bits = await crypto.deriveBits({ name: 'ECDH', public: key }, this.#own.privateKey, 256);
    const secret = await crypto.importKey('raw', bits, 'HKDF', false, ['deriveKey']);
    const salt = new Uint8Array(calls ? [...ours, ...other] : [...other, ...ours]);
    const derive = (way, use) => {
      const how = {
        name: 'HKDF',
        hash: 'SHA-256',
        salt,
        info: new TextEncoder().encode(`linkup relay, ${way} the caller`),
      };
      return crypto.deriveKey(how, secret, { name: 'AES-GCM', length: 256 }, false, [use]);
    };
    this.#seal = await derive(calls ? 'from' : 'to', 'encrypt');
    this.#open = await derive(calls ? 'to' : 'from', 'decrypt');
    this.readyState = 'open';
    if (calls) this.#answer();
  }

  send(data) {
    const text = typeof data === 'string';
    const bytes = text ? new TextEncoder().encode(data) : data;
    this.bufferedAmount += bytes.length;
    for (let at = 0; at === 0 || at < bytes.length; at += PACKET) {
      const kind = (text ? 0 : BINARY) | (at + PACKET < bytes.length ? 0 : LAST);
      this.#out.push([kind, ...bytes.subarray(at, at + PACKET)]);
    }
    this.#pump();
  }

  /** A packet came over the broker. */
  packet(text) {
    this.#coming = this.#coming
      .then(async () => {
        const opened = await subtle().decrypt(cover(this.#opened++), this.#open, fromBase64(text));
        if (this.#opened === 1) this.onfirst();
        if (this.readyState === 'open') this.#came(new Uint8Array(opened));
      })
      .catch(() => this.close());
  }

  /** Settles when what was sent is encrypted, and out. */
  get going() {
    return this.#going.catch(() => {});
  }

  async getStats() {
    return new Map([[0, { type: 'candidate-pair', bytesReceived: this.#opened }]]);
  }

  close() {
    // Whoever ends has said FIN and FIN-ACK, which may still wait for the rate.
    if (this.#out.length <= LAST_WORDS) while (this.#out.length > 0) this.#hand();
    clearTimeout(this.#timer);
    clearTimeout(this.#refill);
    if (this.readyState === 'closed') return;
    this.readyState = 'closed';
    this.onclose?.();
  }

  #came(packet) {
    const [kind] = packet;
    if (kind === ANSWER) {
      const had = u64At(packet, 1);
      demand(had >= this.#had && had <= this.#sent);
      this.bufferedAmount -= had - this.#had;
      this.#had = had;
      this.#pump();
      if (this.bufferedAmount <= this.bufferedAmountLowThreshold) this.onbufferedamountlow?.();
      return;
    }
    this.#received += packet.length - 1;
    this.#part.push(packet.subarray(1));
    if (kind & LAST) {
      const whole = new Uint8Array(this.#part.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of this.#part.splice(0)) {
        whole.set(part, at);
        at += part.length;
      }
      this.onmessage?.({ data: kind & BINARY ? whole.buffer : new TextDecoder().decode(whole) });
    }
    if (this.#received - this.#answered >= ANSWER_EVERY) this.#answer();
    else this.#timer ??= setTimeout(() => this.#answer(), ANSWER_AFTER);
  }

  #answer() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#answered = this.#received;
    this.#post([ANSWER, ...u64(this.#received)]);
  }

  #post(packet) {
    this.#allowance -= (packet.length * 4) / 3 + COVER;
    this.#going = this.#going.then(async () => {
      const sealed = await subtle().encrypt(cover(this.#sealed++), this.#seal, new Uint8Array(packet));
      this.onpacket?.(toBase64(new Uint8Array(sealed)));
    });
  }

  #hand() {
    const packet = this.#out.shift();
    this.#sent += packet.length - 1;
    this.#post(packet);
  }

  /** Hands over what the broker takes. */
  #pump() {
    const now = Date.now();
    this.#allowance = Math.min(this.#rate, this.#allowance + ((now - this.#filled) * this.#rate) / 1000);
    this.#filled = now;
    while (this.#allowance > 0 && this.#out.length > 0) this.#hand();
    clearTimeout(this.#refill);
    if (this.#out.length > 0) this.#refill = setTimeout(() => this.#pump(), 50);
  }
}

/** Whether a description is one of a transport over the broker. */
const isRelay = (sdp) => sdp.startsWith(DESCRIPTION);

module.exports = { Relay, isRelay };
