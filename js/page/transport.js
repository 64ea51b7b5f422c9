'use strict';
// One RTCPeerConnection: comes to be, notices when the remote has vanished, ends. Knows the browser's WebRTC and its
// bounds; when to call, whom, and what a signal says is not its business, and messages are channel.js's.

const { Channel } = require('./channel');
const { uuid } = require('./random');
const { failure } = require('./signal');

/** The largest message that all browsers and webrtc-rs carry in one piece. */
const MAX_MESSAGE = 256 * 1024;
/** What we take at least: there are frames that carry no message. */
const LEAST_MESSAGE = 1024;
/** What a browser says where the remote's description has no limit (RFC 8841, section 6.1). */
const USUAL_MESSAGE = 64 * 1024;
/** Of timeouts.idle, after the time that a browser needs to notice. */
const REST_OF_IDLE = 0.4;
/** How often a page looks whether something came, in timeouts.idle; after so many looks in vain it asks, and gives up. */
const BEAT = 0.15;
const QUIET = 2;
const SILENT = 6;
/** For a bye to overtake, by way of the broker, the end of the transport. */
const LINGER = 250;

class Transport extends Channel {
  #pc;
  #silence;
  #beat;
  // Browsers that count what they ask the remote ask all the time, also while the page is asleep, and say it after 5 s of
  // silence. Firefox asks every 5 s: that may be 10 s ago.
  #often = false;
  #gathered;
  /** How the two reach each other, as far as it is known. */
  path;

  /**
   * @param {object} peer hears: described, gathered, opened, gone, finished, failed, each with `link`; and `put`
   * @param {object} link
   */
  constructor(peer, link) {
    super(peer.options, link);
    this.peer = peer;
  }

  /** Comes to be: as the caller, or as the called with an offer. Its description follows. */
  async start(offer) {
    const { options } = this;
    const { channelName = uuid(), channelConfig } = options;
    const calls = offer === undefined;
    try {
      const pc = this.#make(options);
      if (calls || channelConfig?.negotiated) this.made(pc.createDataChannel(channelName, channelConfig));
      if (!calls) await pc.setRemoteDescription({ type: 'offer', sdp: offer });
      await pc.setLocalDescription(await (calls ? pc.createOffer() : pc.createAnswer()));
      if (!options.trickle) await this.#allGathered(pc, options.iceCompleteTimeout);
      if (this.#pc !== undefined) this.peer.described(this.link, announce(pc.localDescription.sdp, options, calls));
    } catch (error) {
      this.#failed(this.#pc === undefined || calls ? 'ERR_UNSUPPORTED' : 'ERR_PROTOCOL', error);
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

  /** The largest frame that the remote takes. */
  get frameBytes() {
    return Math.min(this.#pc?.sctp?.maxMessageSize || USUAL_MESSAGE, MAX_MESSAGE);
  }

  /** Numbers about the connection. What is not known is absent. */
  async stats() {
    const report = await this.#pc.getStats();
    let channel;
    let pair;
    report.forEach((entry) => {
      if (entry.type === 'data-channel') channel = entry;
      this.#often ||= 'consentRequestsSent' in entry;
      // Firefox has `selected`.
      if (entry.selected ?? (entry.nominated && entry.state === 'succeeded')) pair = entry;
    });
    const { bytesSent, bytesReceived, messagesSent, messagesReceived } = channel ?? {};
    const candidate = (id) => {
      const { candidateType: type, address, port, protocol } = report.get(id) ?? {};
      return type && { type, address, port, protocol };
    };
    const localCandidate = candidate(pair?.localCandidateId);
    const remoteCandidate = candidate(pair?.remoteCandidateId);
    const relayed = localCandidate?.type === 'relay' || remoteCandidate?.type === 'relay';
    // Without what is undefined.
    const numbers = JSON.stringify({
      path: pair && (relayed ? 'turn' : 'direct'),
      roundTripTime: pair?.currentRoundTripTime,
      bytesSent,
      bytesReceived,
      messagesSent,
      messagesReceived,
      localCandidate,
      remoteCandidate,
    });
    return JSON.parse(numbers);
  }

  /** Vanishes; nothing follows. `linger`: not before a bye is there. `error`: for who waits for an ACK. */
  abort(linger, error) {
    const pc = this.#pc;
    this.#pc = undefined;
    clearTimeout(this.#silence);
    clearInterval(this.#beat);
    if (pc) this.drop(error);
    this.peer = undefined;
    if (!pc) return;
    this.#gathered?.();
    pc.ondatachannel = null;
    if (linger && this.open) setTimeout(() => pc.close(), LINGER);
    else pc.close();
  }

  /** Something has happened: the peer hears of it. */
  tell(what, about) {
    if (what === 'lost') this.#failed('ERR_CONNECTION_LOST', about ?? 'the remote is gone', true);
    else if (what === 'broken') this.#failed('ERR_PROTOCOL', about);
    else this.peer?.[what](this.link, about);
    if (what === 'opened') this.#watch(this.options.timeouts.idle);
  }

  /** An event for the application, of this connection where no other handle is given. */
  put(kind, a, b, handle = this.link) {
    this.peer?.put(kind, handle, a, b);
  }

  #failed(code, error, cut) {
    this.peer?.failed(this.link, failure(code, `WebRTC failed: ${error?.message ?? error}`), cut);
  }

  #make(options) {
    const { iceServers, iceTransportPolicy, RTCPeerConnection = globalThis.RTCPeerConnection } = options;
    if (RTCPeerConnection === undefined) throw new Error('no RTCPeerConnection here');
    const pc = new RTCPeerConnection({ iceServers, iceTransportPolicy });
    this.#pc = pc;
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
      this.tell('gathered', { candidate: line, sdpMid, sdpMLineIndex });
    };
    pc.ondatachannel = ({ channel }) => this.arrived(channel, pc);
    pc.oniceconnectionstatechange = pc.onconnectionstatechange = () => this.#changed(pc, options.timeouts.idle);
    return pc;
  }

  #changed(pc, idle) {
    const { iceConnectionState: ice, connectionState: whole } = pc;
    if (ice === 'failed' || (whole === 'failed' && !this.open)) {
      return this.#failed('ERR_ICE_FAILED', 'no pair of addresses works');
    }
    clearTimeout(this.#silence);
    // The browser has not heard the remote for a while, and it may come back.
    if (this.open && ice === 'disconnected') {
      this.#silence = setTimeout(() => this.#silent(), this.#often ? idle * REST_OF_IDLE : 0);
    }
  }

  /** The numbers come through all the browser's threads. */
  async ready() {
    try {
      this.path = (await this.stats()).path;
    } catch {
      // It is over, or the browser has none.
    }
  }

  /** It is open: from now on, somebody has to notice when the remote is gone. */
  #watch(idle) {
    if (this.#often || !this.framed || !this.#pc) return;
    // A page that was busy for long has missed only one of these.
    this.#beat = setInterval(() => {
      this.quiet += 1;
      if (this.quiet === QUIET) this.ping();
      // While the browser itself hears the remote, it is a lost burst that SCTP sends again, after seconds.
      const heard = ['connected', 'completed'].includes(this.#pc?.iceConnectionState);
      if (this.quiet >= SILENT && !heard) this.#silent();
    }, idle * BEAT);
  }

  #silent() {
    this.#failed('ERR_CONNECTION_LOST', 'the remote is silent');
  }

  #allGathered(pc, timeout) {
    return new Promise((resolve) => {
      this.#gathered = resolve;
      setTimeout(resolve, timeout);
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve();
      pc.onicegatheringstatechange();
    });
  }
}

/**
 * Says in our description how large messages may be, as each browser announces its own bound, and where our channel may
 * lose some, which a called Node.js peer does not see.
 */
function announce(sdp, { limits, trickle, channelConfig = {} }, calls) {
  const { ordered = true, maxRetransmits, maxPacketLifeTime } = channelConfig;
  const reliable = ordered && (maxRetransmits ?? maxPacketLifeTime) === undefined;
  const most = Math.max(LEAST_MESSAGE, Math.min(limits.messageBytes, MAX_MESSAGE));
  const said = sdp.replace(/(a=max-message-size:)\d+/, `$1${most}`);
  const all = reliable || !calls ? said : `${said}a=x-linkup-unreliable\r\n`;
  return trickle ? all : all.replace(/a=ice-options:trickle\r\n/, '');
}

module.exports = { Transport };
