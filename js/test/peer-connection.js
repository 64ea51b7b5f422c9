'use strict';
// A browser's RTCPeerConnection in the network, as far as linkup uses it: descriptions and candidates, ICE with its checks
// and states, as long as it takes until channels open, and numbers. As Chromium has it. The data goes over data-channel.js.

const { DataChannel } = require('./data-channel');
const { description, read, textOf } = require('./descriptions');
const { BROKER, isLost } = require('./paths');
const { Wire } = require('./wire');

/** Between checks of a path that is not there, that does not answer, and that does. */
const CHECK_FIRST = 50;
const CHECK_AGAIN = 480;
const CHECK_LATER = 2500;
/** Without an answer for so long it is 'disconnected', and 'failed'. */
const DISCONNECTED = 5000;
const FAILED = 15000;
/** Bytes of a check. */
const CHECK = 100;
/** Flights of DTLS and SCTP, to and fro, before a channel opens; after so many DTLS is through. */
const HANDSHAKES = 8;
const DTLS = 4;
const MAX_MESSAGE = 256 * 1024;

class PeerConnection {
  iceConnectionState = 'new';
  connectionState = 'new';
  iceGatheringState = 'new';
  localDescription = null;
  remoteDescription = null;
  sctp = null;
  counts = {
    bytesSent: 0,
    bytesReceived: 0,
    messagesSent: 0,
    messagesReceived: 0,
    requests: 0,
    responses: 0,
    asked: 0,
  };
  onicecandidate = null;
  onicecandidateerror = null;
  onicegatheringstatechange = null;
  oniceconnectionstatechange = null;
  onconnectionstatechange = null;
  ondatachannel = null;

  #host;
  #config;
  #ufrag;
  #theirUfrag;
  #candidates = [];
  #theirs = new Set();
  #channels = [];
  // DTLS is through; channels open.
  #secure = false;
  #up = false;
  #heardAt = 0;
  #handshake;
  #relayed = false;

  /**
   * @param {object} host where it runs: its name, address and world
   * @param {object} config an RTCConfiguration
   */
  constructor(host, config = {}) {
    this.world = host.world;
    this.#host = host;
    this.#config = config;
    this.#ufrag = host.world.name(8);
  }

  createDataChannel(label, about) {
    const channel = new DataChannel(this, label, about);
    this.#channels.push(channel);
    if (this.#up) this.#offer(channel);
    return channel;
  }

  async createOffer() {
    return { type: 'offer', sdp: this.#describe('actpass') };
  }

  async createAnswer() {
    return { type: 'answer', sdp: this.#describe('active') };
  }

  async setLocalDescription({ type, sdp }) {
    this.localDescription = description(type, sdp, this.#candidates);
    this.world.connections.set(this.#ufrag, this);
    this.#gather();
    this.#begin();
  }

  async setRemoteDescription({ type, sdp }) {
    const { ufrag, size, candidates, rest } = read(sdp);
    this.#theirs = new Set(candidates);
    this.remoteDescription = description(type, rest, this.#theirs);
    this.#theirUfrag = ufrag;
    const getSelectedCandidatePair = () => this.#pair();
    const maxMessageSize = Math.min(size || MAX_MESSAGE, MAX_MESSAGE);
    this.sctp = { maxMessageSize, transport: { iceTransport: { getSelectedCandidatePair } } };
    this.#begin();
  }

  async addIceCandidate({ candidate }) {
    if (!this.remoteDescription) throw new Error('InvalidStateError: no remote description');
    if (!/^candidate:/.test(candidate)) throw new Error('OperationError: this is no candidate');
    this.#theirs.add(candidate);
  }

  async getStats() {
    const { requests, responses, asked, ...counts } = this.counts;
    const report = new Map();
    report.set('channel', { id: 'channel', type: 'data-channel', ...counts });
    const pair = this.#pair();
    if (!pair) return report;
    const way = this.way;
    report.set('transport', { id: 'transport', type: 'transport', selectedCandidatePairId: 'pair' });
    report.set('pair', {
      id: 'pair',
      type: 'candidate-pair',
      state: 'succeeded',
      nominated: true,
      localCandidateId: 'local',
      remoteCandidateId: 'remote',
      currentRoundTripTime: way && (2 * way.latency) / 1000,
      bytesSent: counts.bytesSent,
      bytesReceived: counts.bytesReceived,
      consentRequestsSent: asked,
      requestsReceived: requests,
      responsesReceived: responses,
      lastPacketReceivedTimestamp: this.#heardAt,
    });
    for (const [id, side] of Object.entries(pair)) {
      const { address, port, protocol, type } = side;
      report.set(id, { id, type: `${id}-candidate`, candidateType: type, address, port, protocol });
    }
    return report;
  }

  /** The other side hears of it by one packet, if that arrives. */
  close() {
    if (this.connectionState === 'closed') return;
    const { way } = this;
    const peer = this.#peer;
    this.iceConnectionState = this.connectionState = 'closed';
    this.world.connections.delete(this.#ufrag);
    this.#handshake?.end();
    for (const channel of this.#channels) channel.end(true);
    const { random, time } = this.world;
    // Behind what is under way.
    if (this.#secure && way && !isLost(way, CHECK, random))
      time.after(way.latency + way.jitter + 1, () => peer.#left());
  }

  /** Which way the packets go at the moment; undefined where none arrive. */
  get way() {
    const peer = this.#peer;
    if (!peer || this.#host.dead || peer.#host.dead) return undefined;
    const [here, there] = [this.#host.name, peer.#host.name];
    const { paths } = this.world;
    const direct = this.#has('host') && peer.#has('host') && paths.direct(here, there);
    const turned = !direct && (this.#has('relay') || peer.#has('relay'));
    if (direct || turned) this.#relayed = !direct;
    return direct || (turned ? paths.turned(here, there) : undefined);
  }

  /** Something came from the other side. */
  heard() {
    this.#heardAt = this.world.time.now;
  }

  /** The one at the other end, when both have what the other one said, and one knows an address of the other. */
  get #peer() {
    if (this.connectionState === 'closed') return undefined;
    const peer = this.world.connections.get(this.#theirUfrag);
    if (!peer || !this.localDescription || peer.#theirUfrag !== this.#ufrag) return undefined;
    return this.#theirs.size + peer.#theirs.size > 0 ? peer : undefined;
  }

  #has(type) {
    return this.#candidates.some((line) => line.endsWith(`typ ${type}`));
  }

  #describe(setup) {
    const { world } = this;
    const about = { ufrag: this.#ufrag, pwd: world.name(24), fingerprint: world.name(64), setup, size: MAX_MESSAGE };
    return textOf(about);
  }

  /** Its own address is known at once; that of a TURN server in a round trip. */
  #gather() {
    const { iceServers = [], iceTransportPolicy } = this.#config;
    const { address, name } = this.#host;
    const { time, paths } = this.world;
    const turn = iceServers.flatMap(({ urls }) => urls).find((url) => /^turn/.test(url));
    const found = (type, ip) => {
      if (this.connectionState === 'closed') return;
      const candidate = `candidate:1 1 udp 1 ${ip} ${50000 + this.#candidates.length} typ ${type}`;
      this.#candidates.push(candidate);
      this.onicecandidate?.({ candidate: { candidate, sdpMid: '0', sdpMLineIndex: 0 } });
    };
    const complete = () => {
      this.iceGatheringState = 'complete';
      this.onicecandidate?.({ candidate: null });
      this.onicegatheringstatechange?.({});
    };
    this.iceGatheringState = 'gathering';
    time.after(0, () => {
      if (iceTransportPolicy !== 'relay') found('host', address);
      const way = turn && paths.direct(name, BROKER);
      if (!way) {
        if (turn) this.onicecandidateerror?.({ url: turn, errorCode: 701, errorText: 'no answer' });
        return complete();
      }
      time.after(2 * way.latency, () => {
        found('relay', '198.51.100.1');
        complete();
      });
    });
  }

  /** Both descriptions are there. */
  #begin() {
    if (!this.localDescription || !this.remoteDescription || this.iceConnectionState !== 'new') return;
    this.heard();
    this.#became('checking');
    this.#check();
  }

  #check() {
    if (this.connectionState === 'closed') return;
    const { time, random } = this.world;
    const { way } = this;
    const silent = time.now - this.#heardAt;
    if (silent >= FAILED) return this.#became('failed');
    if (silent >= DISCONNECTED && this.iceConnectionState === 'connected') this.#became('disconnected');
    this.counts.asked += 1;
    // The question and the answer.
    const answered = way && !isLost(way, CHECK, random) && !isLost(way, CHECK, random);
    if (answered) time.after(2 * way.latency, () => this.#answered());
    const waits = this.iceConnectionState === 'checking' ? CHECK_FIRST : CHECK_AGAIN;
    time.after(answered ? CHECK_LATER : waits, () => this.#check());
  }

  #answered() {
    // Somebody has cut it meanwhile, or it is over.
    if (!this.way || this.iceConnectionState === 'failed') return;
    this.heard();
    this.counts.responses += 1;
    this.counts.requests += 1;
    if (this.iceConnectionState === 'connected') return;
    const first = this.iceConnectionState === 'checking';
    this.#became('connected');
    if (first && this.localDescription.type === 'answer') this.#shake(1);
  }

  #became(state) {
    this.iceConnectionState = state;
    if (state === 'checking') this.connectionState = 'connecting';
    else if (state !== 'connected' || this.#secure) this.connectionState = state;
    this.oniceconnectionstatechange?.({});
    this.onconnectionstatechange?.({});
  }

  /** The next flight of the handshakes; the answerer begins. */
  #shake(number) {
    this.#handshake ??= new Wire(this.world, () => this.way);
    const peer = this.#peer;
    this.#handshake.onmessage = (number) => peer.#shaken(number);
    this.#handshake.send(number, CHECK);
  }

  #shaken(number) {
    if (this.connectionState === 'closed') return;
    this.heard();
    if (number < HANDSHAKES) this.#shake(number + 1);
    if (number >= DTLS) this.#secure = true;
    if (number >= HANDSHAKES - 1) this.#opens();
  }

  #opens() {
    this.#up = true;
    this.connectionState = 'connected';
    this.onconnectionstatechange?.({});
    for (const channel of this.#channels) this.#offer(channel);
  }

  /** A channel of ours opens, and the other side hears of it. */
  #offer(channel) {
    const peer = this.#peer;
    if (channel.negotiated) {
      const other = peer?.#channels.find(({ negotiated, id }) => negotiated && id === channel.id);
      return other?.join(channel);
    }
    channel.open();
    const wire = new Wire(this.world, () => this.way);
    wire.onmessage = (about) => peer?.#called(about, channel);
    wire.send(channel.about, CHECK);
  }

  #called({ label, ...about }, theirs) {
    if (this.connectionState === 'closed') return;
    const channel = new DataChannel(this, label, about);
    this.#channels.push(channel);
    channel.join(theirs);
    this.ondatachannel?.({ channel });
  }

  /** The other side has closed. */
  #left() {
    if (this.connectionState === 'closed') return;
    for (const channel of this.#channels) channel.end();
  }

  #pair() {
    const peer = this.#peer;
    if (!peer || !this.#up) return null;
    const side = (who) => {
      const type = this.#relayed && who.#has('relay') ? 'relay' : 'host';
      const address = type === 'relay' ? '198.51.100.1' : who.#host.address;
      return { type, address, port: 50000, protocol: 'udp' };
    };
    return { local: side(this), remote: side(peer) };
  }
}

module.exports = { PeerConnection };
