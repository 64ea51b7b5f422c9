'use strict';
// One RTCPeerConnection with its data channel: comes to be, carries messages, ends. Knows the browser's WebRTC and its
// bounds; when to call, whom, and what a signal says is not its business.
//
// The end: between two linkup peers each side says that it has sent its last message by opening one more channel, whose
// label holds the number of its messages; the other side closes that channel when it has them all. Whoever hears such a
// FIN sends what it has taken and its own. A plain simple-peer client knows no FIN: there the channel is closed. The same
// in Rust: crates/driver/src/transport/session.rs.

const { utf8Length } = require('../message');
const { LINKUP, failure } = require('./signal');

/** The largest message that all browsers and webrtc-rs carry in one piece. */
const MAX_MESSAGE = 256 * 1024;
/** What a browser says where the remote's description has no limit (RFC 8841, section 6.1). */
const USUAL_MESSAGE = 64 * 1024;
/** Bytes handed to the browser at once, and when it gets more. Chromium refuses all above 16 MiB. */
const WINDOW = 1024 * 1024;
const LOW = 256 * 1024;
const FIN = 'linkup:fin:';
const SAY_AGAIN = 300;
/**
 * How long a channel to a plain client lives at least, where it was called and has not said anything: Chromium loses what
 * came before it has told its page of a channel that is closed by then.
 */
const GRACE = 250;
/** For a bye to overtake, by way of the broker, the end of the transport. */
const LINGER = 250;

/** Bytes on the wire. */
const sizeOf = (data) => (typeof data === 'string' ? utf8Length(data) : data.byteLength);

/** Says in our description how large messages may be: each browser announces its own bound. */
function announce(sdp, { limits, trickle }) {
  const said = sdp.replace(/(a=max-message-size:)\d+/, `$1${Math.min(limits.messageBytes, MAX_MESSAGE)}`);
  return trickle ? said : said.replace(/a=ice-options:trickle\r\n/, '');
}

class Transport {
  #pc;
  #channel;
  #calls = false;
  #open = false;
  #closing = false;
  #error;
  // What the browser has not got yet: data and its size, by turns.
  #queue = [];
  #queued = 0;
  #full = false;
  // The application wants the end, and waits to hear how it went.
  #asked = false;
  #written = 0;
  #read = 0;
  // Ours is said, the other side has confirmed it.
  #said = false;
  #confirmed = false;
  // The other side's: the channel that is our answer, and after how many messages; all of them are here.
  #fin;
  #awaited = 0;
  #delivered = false;
  #deadline;
  // When a channel to a plain client may be closed.
  #ripe = 0;
  #silence;
  #gathered;

  /**
   * @param {object} peer hears: described, gathered, opened, gone, failed, finished, received, drained, each with `link`
   * @param {object} link
   * @param {number} handle
   */
  constructor(peer, link, handle) {
    this.peer = peer;
    this.link = link;
    this.handle = handle;
  }

  /** Comes to be: as the caller, or as the called with an offer. Its description follows. */
  async start(offer) {
    const { options } = this.peer;
    try {
      const pc = this.#make();
      const { channelName = Math.random().toString(36).slice(2), channelConfig } = options;
      this.#calls = offer === undefined;
      if (this.#calls || channelConfig?.negotiated) {
        this.#adopt(pc.createDataChannel(channelName, channelConfig));
      }
      if (this.#calls) {
        await pc.setLocalDescription(await pc.createOffer());
      } else {
        await pc.setRemoteDescription({ type: 'offer', sdp: offer });
        await pc.setLocalDescription(await pc.createAnswer());
      }
      if (!options.trickle) await this.#allGathered(pc, options.iceCompleteTimeout);
      this.#tell('described', this.#pc && announce(pc.localDescription.sdp, options));
    } catch (error) {
      this.#failed(this.#pc === undefined || this.#calls ? 'ERR_UNSUPPORTED' : 'ERR_PROTOCOL', error);
    }
  }

  /** The called side's description. */
  async setAnswer(sdp) {
    try {
      await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      this.#failed('ERR_PROTOCOL', error);
    }
  }

  /** An address of the remote. One that makes no sense is passed over; browsers keep the order with descriptions. */
  addCandidate(candidate) {
    this.#pc?.addIceCandidate(candidate).catch(() => {});
  }

  get buffered() {
    return this.#queued + (this.#channel?.bufferedAmount ?? 0);
  }

  get maxMessage() {
    return Math.min(this.#pc?.sctp?.maxMessageSize || USUAL_MESSAGE, MAX_MESSAGE);
  }

  /** The engine's `send()`. */
  send(data) {
    if (this.#closing || this.#channel?.readyState !== 'open') return -1;
    const size = sizeOf(data);
    const { bufferedBytes, highWaterMark } = this.peer.options.limits;
    if (size > this.maxMessage) return -3;
    if (this.buffered + size > bufferedBytes) return -2;
    this.#queue.push(data, size);
    this.#queued += size;
    this.#pump();
    if (this.buffered <= highWaterMark) return 0;
    this.#full = true;
    return 1;
  }

  /** Numbers about the connection. What is not known is absent. */
  async stats() {
    const report = await this.#pc.getStats();
    let channel;
    let pair;
    report.forEach((entry) => {
      if (entry.type === 'data-channel') channel = entry;
      // Firefox has `selected`.
      if (entry.selected ?? (entry.nominated && entry.state === 'succeeded')) pair = entry;
    });
    const { bytesSent, bytesReceived, messagesSent, messagesReceived } = channel ?? {};
    const [local, remote] = [pair?.localCandidateId, pair?.remoteCandidateId].map((id) => {
      const candidate = id && report.get(id);
      if (!candidate) return undefined;
      const { candidateType: type, address, port, protocol } = candidate;
      return { type, address, port, protocol };
    });
    const relayed = [local, remote].some((candidate) => candidate?.type === 'relay');
    return {
      path: pair && (relayed ? 'turn' : 'direct'),
      roundTripTime: pair?.currentRoundTripTime,
      bytesSent,
      bytesReceived,
      messagesSent,
      messagesReceived,
      localCandidate: local,
      remoteCandidate: remote,
    };
  }

  /** Delivers what was accepted, then closes: `finished` follows. */
  close() {
    this.#asked = true;
    this.#end();
  }

  /** Vanishes; nothing follows. */
  abort(linger) {
    const pc = this.#pc;
    const channel = this.#channel;
    this.peer = undefined;
    this.#pc = this.#channel = undefined;
    this.#queue = [];
    clearTimeout(this.#silence);
    clearTimeout(this.#deadline);
    if (pc === undefined) return;
    pc.onicecandidate = pc.ondatachannel = pc.oniceconnectionstatechange = pc.onconnectionstatechange = null;
    pc.onicegatheringstatechange = null;
    if (channel !== undefined) {
      channel.onopen = channel.onmessage = channel.onerror = channel.onclose = channel.onbufferedamountlow = null;
    }
    if (linger && this.#open) setTimeout(() => pc.close(), LINGER);
    else pc.close();
    this.#gathered?.();
  }

  #tell(what, ...about) {
    this.peer?.[what](this.link, ...about);
  }

  #failed(code, error, cut) {
    this.#tell('failed', failure(code, `WebRTC failed: ${error?.message ?? error}`), cut);
  }

  #make() {
    const { iceServers, iceTransportPolicy, own } = this.peer.options;
    const RTCPeerConnection = own?.RTCPeerConnection ?? globalThis.RTCPeerConnection;
    if (RTCPeerConnection === undefined)
      throw new Error('there is no RTCPeerConnection: give options.RTCPeerConnection');
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy });
    this.#pc = pc;
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
      this.#tell('gathered', { candidate: line, sdpMid, sdpMLineIndex });
    };
    pc.ondatachannel = ({ channel }) => {
      if (channel.label.startsWith(FIN)) this.#heardFin(channel);
      else if (this.#channel === undefined) this.#adopt(channel);
      // One channel is a connection; what else a remote opens means nothing here.
      else channel.close();
    };
    pc.oniceconnectionstatechange = pc.onconnectionstatechange = () => this.#changed(pc);
    return pc;
  }

  #changed(pc) {
    const { iceConnectionState: ice, connectionState: whole } = pc;
    if (ice === 'failed' || (whole === 'failed' && !this.#open)) {
      return this.#failed('ERR_ICE_FAILED', 'no pair of addresses works, or the one that did works no more');
    }
    if (!this.#open) return;
    if (ice !== 'disconnected') {
      clearTimeout(this.#silence);
      this.#silence = undefined;
    }
    // The browser has waited a while before it says that: together they stay within the time.
    else {
      const silent = () => this.#failed('ERR_CONNECTION_LOST', 'the remote is silent');
      this.#silence ??= setTimeout(silent, this.peer.options.timeouts.idle / 2);
    }
  }

  #adopt(channel) {
    this.#channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = Math.min(LOW, this.peer.options.limits.highWaterMark);
    channel.onopen = () => this.#opened();
    channel.onmessage = ({ data }) => {
      this.#opened();
      this.#ripe = 0;
      this.#read += 1;
      this.#tell('received', typeof data === 'string' ? data : new Uint8Array(data));
      this.#answerFin();
    };
    channel.onbufferedamountlow = () => this.#pump();
    channel.onerror = ({ error }) => {
      this.#error = error ?? 'the data channel broke';
    };
    channel.onclose = () => this.#closed();
    if (channel.readyState === 'open') this.#opened();
  }

  #opened() {
    if (this.#open) return;
    this.#open = true;
    if (this.#calls) this.#ripe = Date.now() + GRACE;
    this.#tell('opened');
    if (this.#fin !== undefined) this.#obeyFin();
  }

  /** The channel was closed, or broke. */
  #closed() {
    // With its FIN behind it, a linkup peer goes only when it has ours; a plain one says nothing.
    const all = this.#delivered || (this.#queue.length === 0 && this.#channel.bufferedAmount === 0);
    if (this.#asked && all) this.#tell('finished');
    else if (this.#asked || (this.#hasFin && this.#fin === undefined)) this.#lost();
    else this.#tell('gone');
  }

  #lost() {
    this.#failed('ERR_CONNECTION_LOST', this.#error ?? 'the remote is gone', true);
  }

  /** Whether both sides know what a FIN is, and all messages arrive, so that counting them makes sense. */
  get #hasFin() {
    const { maxRetransmits, maxPacketLifeTime } = this.#channel;
    return this.link.kind === LINKUP && (maxRetransmits ?? maxPacketLifeTime ?? null) === null;
  }

  /** Takes nothing more; the rest goes out, and then our word that it was the rest. */
  #end() {
    const { close } = this.peer.options.timeouts;
    this.#deadline ??= setTimeout(() => this.#late(close), close);
    this.#closing = true;
    this.#pump();
  }

  #late(within) {
    if (!this.#asked) return this.#tell('gone');
    if (this.#confirmed) return this.#tell('finished');
    const unconfirmed = this.#queue.length / 2 + (this.#channel.bufferedAmount > 0 ? 1 : 0);
    const message = `the remote did not confirm the close within ${within} ms`;
    this.#tell('finished', failure('ERR_CLOSE_TIMEOUT', message, { unconfirmed }));
  }

  #sayFin() {
    if (this.#said) return;
    if (this.#hasFin) {
      this.#said = true;
      this.#pc.createDataChannel(FIN + this.#written).onclose = () => {
        this.#confirmed = true;
        this.#settle();
        setTimeout(() => this.#sayAgain(), SAY_AGAIN);
      };
      return;
    }
    const wait = this.#written > 0 ? this.#ripe - Date.now() : 0;
    if (wait > 0) setTimeout(() => this.#pump(), wait);
    else this.#channel.close();
  }

  /** A peer that was not yet done with the opening may have taken our FIN for any channel: it has not said its own. */
  #sayAgain() {
    if (this.#fin !== undefined) return;
    this.#said = this.#confirmed = false;
    this.#pump();
  }

  #heardFin(channel) {
    if (this.#fin !== undefined) return channel.close();
    this.#fin = channel;
    this.#awaited = Number(channel.label.slice(FIN.length));
    // It may overtake what it is about.
    if (this.#open) this.#obeyFin();
  }

  #obeyFin() {
    this.#end();
    this.#answerFin();
  }

  #answerFin() {
    if (this.#fin === undefined || this.#delivered || this.#read < this.#awaited || !this.#open) return;
    this.#delivered = true;
    this.#fin.close();
    this.#settle();
  }

  /** Both directions are through. */
  #settle() {
    if (this.#confirmed && this.#delivered) this.#tell(this.#asked ? 'finished' : 'gone');
  }

  #pump() {
    const channel = this.#channel;
    if (channel === undefined) return;
    let taken = 0;
    while (taken < this.#queue.length && channel.readyState === 'open' && channel.bufferedAmount < WINDOW) {
      channel.send(this.#queue[taken]);
      this.#written += 1;
      this.#queued -= this.#queue[taken + 1];
      taken += 2;
    }
    if (taken === this.#queue.length) this.#queue = [];
    else if (taken > 0) this.#queue.splice(0, taken);
    if (this.#full && this.buffered <= this.peer.options.limits.highWaterMark) {
      this.#full = false;
      this.#tell('drained');
    }
    if (this.#closing && this.#queue.length === 0) this.#sayFin();
  }

  #allGathered(pc, timeout) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeout);
      this.#gathered = () => {
        clearTimeout(timer);
        resolve();
      };
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && this.#gathered();
      pc.onicegatheringstatechange();
    });
  }
}

module.exports = { Transport, sizeOf };
