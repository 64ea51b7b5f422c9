'use strict';
// One RTCPeerConnection: comes to be, notices when the remote has vanished, ends. Knows the browser's WebRTC and its
// bounds; when to call, whom, and what a signal says is not its business, and messages are channel.js's.

const { Channel } = require('./channel');
const { uuid } = require('./random');
const { explain } = require('./explain');
const { Relay } = require('./relay');
const { failure } = require('./signal');

/** The largest message that all browsers and webrtc-rs carry in one piece. */
const MAX_MESSAGE = 256 * 1024;
/** What we take at least: there are frames that carry no message. */
const LEAST_MESSAGE = 1024;
/** What a browser says where the remote's description has no limit (RFC 8841, section 6.1). */
const USUAL_MESSAGE = 64 * 1024;
/** Of timeouts.idle, after the time that a browser needs to notice. */
const REST_OF_IDLE = 0.4;
/**
 * How often a page looks whether something came, in timeouts.idle and at most in ms; after so many looks in vain it asks.
 * While it waits for an answer it looks now and then whether the browser has received anything at all: browsers that are
 * content with a path write every 2.5 s.
 */
const BEAT = 0.05;
const LONGEST_BEAT = 500;
const QUIET = 4;
const SILENT = 6;
/** The least timeouts.idle for which a browser that asks by itself asks often enough. */
const OFTEN = 10_000;
/** States in which the browser hears the remote. */
const HEARD = ['connected', 'completed'];
/** Says in an offer that neither side uses a TURN server: there is one on the way already. */
const DIRECT = 'a=x-linkup-direct';
/** For a bye to overtake, by way of the broker, the end of the transport. */
const LINGER = 250;

class Transport extends Channel {
  #pc;
  #silence;
  #beat;
  // Browsers that count what they ask the remote ask all the time, also while the page is asleep, and say it after 5 s of
  // silence. Firefox asks every 5 s: that may be 10 s ago.
  #often = false;
  // What the browser had received when it was last looked at; the remote counts as silent.
  #received;
  // For how many looks the remote has owed us an answer.
  #asked = 0;
  #mute = false;
  #gathered;
  // Of servers, by their URLs.
  #errors = new Map();
  // Our description, where it goes over the broker.
  #own;
  // How the two reached each other when it opened, as far as it is known.
  #path;

  /**
   * @param {object} peer hears: described, gathered, opened, gone, finished, failed, each with `link`; and `put`
   * @param {object} link
   */
  constructor(peer, link) {
    super(peer.options, link);
    this.peer = peer;
  }

  /**
   * Comes to be: as the caller, or as the called with an offer. Its description follows. `rate`: it goes over the broker,
   * which takes so many bytes a second.
   */
  async start(offer, rate) {
    const { options } = this;
    const { channelName = uuid(), channelConfig } = options;
    const calls = offer === undefined;
    try {
      if (rate) return await this.#startRelay(rate, offer);
      const direct = calls ? this.link.direct : offer.includes(DIRECT);
      const pc = this.#make(options, direct);
      if (calls || channelConfig?.negotiated) this.made(pc.createDataChannel(channelName, channelConfig));
      if (!calls) await pc.setRemoteDescription({ type: 'offer', sdp: offer });
      await pc.setLocalDescription(await (calls ? pc.createOffer() : pc.createAnswer()));
      if (!options.trickle) await this.#allGathered(pc, options.iceCompleteTimeout);
      if (this.#pc !== undefined)
        this.peer.described(this.link, announce(pc.localDescription.sdp, options, calls, direct));
    } catch (error) {
      this.#failed(this.#pc === undefined || calls ? 'ERR_UNSUPPORTED' : 'ERR_PROTOCOL', error);
    }
  }

  async #startRelay(rate, offer) {
    const pc = new Relay(rate);
    this.#pc = pc;
    this.#listenTo(pc);
    this.#own = await pc.describe();
    if (this.#pc !== pc) return;
    // The called side waits for the first packet: then it knows that its answer has arrived.
    pc.onfirst = () => this.#relays();
    if (offer !== undefined) await pc.agree(this.#own, offer, false);
    this.peer?.described(this.link, this.#own);
  }

  /** Both sides have their keys. */
  #relays() {
    if (!this.#pc) return;
    this.made(this.#pc);
    this.#pc.onopen();
  }

  /** A packet came over the broker. */
  packet(data) {
    if (this.#pc instanceof Relay) this.#pc.packet(data);
  }

  /** The called side's description. */
  async setAnswer(sdp) {
    try {
      if (this.#own) {
        await this.#pc.agree(this.#own, sdp, true);
        return this.#relays();
      }
      await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      this.#failed('ERR_PROTOCOL', error);
    }
  }

  /** An address of the remote. One that makes no sense is passed over; browsers keep the order with descriptions. */
  addCandidate(candidate) {
    this.#pc?.addIceCandidate?.(candidate).catch(() => {});
  }

  /** How the two reach each other, as far as it is known: browsers go over to a better way when they find one. */
  get path() {
    if (this.#pc?.path) return this.#pc.path;
    const pair = this.#pc?.sctp?.transport?.iceTransport?.getSelectedCandidatePair?.();
    return pair ? pathOf(pair.local.type, pair.remote.type) : this.#path;
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
      this.#often ||= this.options.timeouts.idle >= OFTEN && 'consentRequestsSent' in entry;
      // Not the pair that has succeeded: while Chromium asks for consent again, none has.
      if (entry.type === 'transport') pair = report.get(entry.selectedCandidatePairId) ?? pair;
      // Firefox says it so.
      if (entry.selected) pair = entry;
    });
    const { bytesSent, bytesReceived, messagesSent, messagesReceived } = channel ?? {};
    const candidate = (id) => {
      const { candidateType: type, address, port, protocol } = report.get(id) ?? {};
      return type && { type, address, port, protocol };
    };
    const localCandidate = candidate(pair?.localCandidateId);
    const remoteCandidate = candidate(pair?.remoteCandidateId);
    // Without what is undefined.
    const numbers = JSON.stringify({
      path: this.#pc?.path ?? (pair && pathOf(localCandidate?.type, remoteCandidate?.type)),
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

  /**
   * Vanishes; nothing follows. `linger`: not before a bye is there. `error`: for who waits for an ACK. Over the broker it
   * returns a promise that settles when its last packets are out.
   */
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
    return pc.going;
  }

  /** Goes on over another one, which is open, and is no more than that afterwards. */
  moveOver(next) {
    const old = this.#pc;
    const pc = next.#pc;
    this.#pc = pc;
    this.#own = next.#own;
    this.#path = next.#path;
    next.#pc = next.peer = undefined;
    clearTimeout(this.#silence);
    this.#mute = false;
    this.#listenTo(pc);
    this.takeOver(next);
    old.close();
    this.quiet = 0;
    this.#watch(this.options.timeouts.idle);
  }

  /** Something has happened: the peer hears of it. */
  tell(what, about) {
    if (what === 'lost') this.#failed('ERR_CONNECTION_LOST', about ?? 'the remote is gone', true);
    else if (what === 'stuck') this.#failed('ERR_CONNECTION_LOST', new Error('the browser does not open the channel'));
    else if (what === 'broken') this.#failed('ERR_PROTOCOL', about);
    else this.peer?.[what](this.link, about);
    if (what === 'opened') this.#watch(this.options.timeouts.idle);
  }

  /** The error, and where it does not go over the broker, which addresses and servers there are, and what to do. */
  explained({ code, message }) {
    if (this.#pc?.localDescription === undefined) return failure(code, message);
    const details = explain(this.#pc, this.options.iceServers, this.#errors);
    const { local, remote, advice } = details;
    const none = `no path between ${local.length} addresses here and ${remote.length} of the remote works`;
    return failure(code, `${message && `${message}: `}${none}. ${advice}`, details);
  }

  /** An event for the application, of this connection where no other handle is given. */
  put(kind, a, b, handle = this.link) {
    this.peer?.put(kind, handle, a, b);
  }

  #failed(code, error, cut) {
    this.peer?.failed(this.link, failure(code, `WebRTC failed: ${error?.message ?? error}`), cut);
  }

  #make({ iceServers, iceTransportPolicy, RTCPeerConnection = globalThis.RTCPeerConnection }, direct) {
    if (RTCPeerConnection === undefined) throw new Error('no RTCPeerConnection here');
    const pc = new RTCPeerConnection({ iceServers: direct ? withoutTurn(iceServers) : iceServers, iceTransportPolicy });
    this.#pc = pc;
    this.#listenTo(pc);
    return pc;
  }

  #listenTo(pc) {
    // Also the last ones, which are encrypted when this is over.
    const { peer, link } = this;
    pc.onpacket = (data) => peer.relay(link, data);
    const { idle } = this.options.timeouts;
    pc.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      const { candidate: line, sdpMid, sdpMLineIndex } = candidate;
      this.tell('gathered', { candidate: line, sdpMid, sdpMLineIndex });
    };
    pc.onicecandidateerror = (error) => this.#errors.set(error.url, error);
    pc.ondatachannel = ({ channel }) => this.arrived(channel, pc);
    pc.oniceconnectionstatechange = pc.onconnectionstatechange = () => this.#changed(pc, idle);
  }

  #changed(pc, idle) {
    const { iceConnectionState: ice, connectionState: whole } = pc;
    if (ice === 'failed' || (whole === 'failed' && !this.open)) {
      return this.peer?.failed(this.link, this.explained(failure('ERR_ICE_FAILED', '')));
    }
    clearTimeout(this.#silence);
    // The browser has not heard the remote for a while, and it may come back.
    if (this.open && ice === 'disconnected') {
      const wait = this.#often && !this.resumes ? idle * REST_OF_IDLE : 0;
      this.#silence = setTimeout(() => this.#silent(), wait);
    } else if (HEARD.includes(ice)) this.#heard();
  }

  /** The numbers come through all the browser's threads. */
  async ready() {
    try {
      this.#path = (await this.stats()).path;
    } catch {
      // It is over, or the browser has none.
    }
  }

  /** It is open: from now on, somebody has to notice when the remote is gone. */
  #watch(idle) {
    clearInterval(this.#beat);
    if (!this.framed || !this.#pc) return;
    // A page that was busy for long has missed only one of these.
    this.#beat = setInterval(() => this.#tick(), Math.min(idle * BEAT, LONGEST_BEAT));
  }

  async #tick() {
    if (this.quiet === 0) {
      this.#heard();
      this.#asked = 0;
    }
    this.quiet += 1;
    // A browser that asks by itself says so.
    const asks = this.quiet >= QUIET && !this.#often;
    if (asks && !this.#asked) this.ping();
    this.#asked = asks || this.#mute || this.unsure > 0 ? this.#asked + 1 : 0;
    if (this.#asked % SILENT !== 1) return;
    const received = await this.#receives();
    if (this.#asked === 1) return;
    // The browser itself hears the remote: that is asleep, or SCTP sends a lost burst again, after seconds.
    if (received) this.#heard();
    else this.#silent();
  }

  /** Whether the browser has received anything since the last look. */
  async #receives() {
    const before = this.#received;
    let now = '';
    const report = await this.#pc?.getStats().catch(() => {});
    report?.forEach(({ type, bytesReceived, requestsReceived, responsesReceived, lastPacketReceivedTimestamp }) => {
      if (type !== 'candidate-pair') return;
      now += [bytesReceived, requestsReceived, responsesReceived, lastPacketReceivedTimestamp];
    });
    this.#received = now;
    return now !== before;
  }

  #silent() {
    if (!this.resumes) this.#failed('ERR_CONNECTION_LOST', 'the remote is silent');
    else if (!this.#mute) this.tell('muted');
    this.#mute = true;
  }

  #heard() {
    if (this.#mute) this.tell('audible');
    this.#mute = false;
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

const pathOf = (...types) => (types.includes('relay') ? 'turn' : 'direct');

const withoutTurn = (servers = []) =>
  servers.flatMap((server) => {
    const urls = [server.urls].flat().filter((url) => !/^turn/.test(url));
    return urls.length > 0 ? { ...server, urls } : [];
  });

/**
 * Says in our description how large messages may be, as each browser announces its own bound, and where our channel may
 * lose some, which a called Node.js peer does not see.
 */
function announce(sdp, { limits, trickle, channelConfig = {} }, calls, direct) {
  const { ordered = true, maxRetransmits, maxPacketLifeTime } = channelConfig;
  const reliable = ordered && (maxRetransmits ?? maxPacketLifeTime) === undefined;
  const most = Math.max(LEAST_MESSAGE, Math.min(limits.messageBytes, MAX_MESSAGE));
  const said = sdp.replace(/(a=max-message-size:)\d+/, `$1${most}`);
  const all = said + (reliable || !calls ? '' : 'a=x-linkup-unreliable\r\n') + (direct && calls ? `${DIRECT}\r\n` : '');
  return trickle ? all : all.replace(/a=ice-options:trickle\r\n/, '');
}

module.exports = { Transport };
