'use strict';
// The engine of a page: the functions of engine-native.js over the page's own WebRTC and WebSocket, and what js/ needs of
// a page itself. Handles are the objects themselves here, and nothing is JSON. Touches no DOM, and nothing at all before
// the first peer. The rules are in page/.

const EVENTS = require('./events');
const { createIdentity, loadIdentity } = require('./page/identity');
const { PagePeer } = require('./page/peer');
const { failure } = require('./page/signal');
const { streamPair } = require('./page/stream');

/** Events of one drain. */
const BATCH = 256 * 4;

/** What has happened and is not drained yet. */
const events = [];
/** The messages of the last drain: of which connection, and their cost. */
let taken = [];
let ring;

function put(kind, handle, a, b) {
  // Never from inside of one of the engine's functions.
  if (events.push(kind, handle, a, b) === 4) queueMicrotask(ring);
}

// What runs later. Timers would be slowed down where the page is not visible.
let next;
let port;

/** The functions of engine-native.js. */
const engine = {
  /** `bell` is called when there is something to drain, at least when there was nothing before. */
  open(bell) {
    ring = bell;
  },

  /** Whoever asks for more has passed on what there was: only now has the application got those messages. */
  drain() {
    const passed = taken;
    taken = [];
    for (const [link, cost] of passed) link.transport?.handed(cost);
    const batch = events.splice(0, BATCH);
    for (let i = 0; i < batch.length; i += 4) {
      if (batch[i] === EVENTS.TEXT || batch[i] === EVENTS.BINARY) taken.push([batch[i + 1], batch[i + 3]]);
    }
    return batch;
  },

  /** What an event says. */
  parse: (value) => value,

  createPeer: (_mailbox, options) => new PagePeer(options, put),
  connect: (peer, remote, key) => peer.connect(remote, key),
  send: (link, data, token) => link.transport?.send(data, token) ?? -1,
  frame: (link, kind, stream, body) => link.transport?.frame(kind, stream, body) ?? -1,
  flow: (link, open) => link.transport?.flow(open),
  buffered: (link) => link.transport?.buffered ?? 0,
  path: (link) => link.transport?.path,
  maxMessage: (link) => link.transport?.maxMessage ?? 0,
  close: (link, code, message) => link.peer.close(link, code && failure(code, message)),
  answer: (link, code, reason) => link.peer.decide(link, code && failure(code, reason)),
  login: (peer, token) => peer.setLogin(token),
  createIdentity,
  loadIdentity,
  /** Where the page has loaded dist/oidc.js. */
  oidc: (options) => globalThis.linkupOidc?.oidc(options),
  // WebCrypto does not make the public half of a private key.
  isPair: () => true,
  transformed: (peer, transport, sdp) => peer.transformed(transport, sdp),
  find: (peer, token, id) => peer.look(token, id),
  closePeer: (peer) => peer.closePeer(),

  stats(link, token) {
    if (!link.transport) return false;
    link.transport.stats().then(
      (numbers) => put(EVENTS.SETTLED, token, numbers),
      ({ message }) => put(EVENTS.SETTLED, token, null, failure('ERR_CONNECTION_CLOSED', `no numbers: ${message}`)),
    );
  },

  /** A page lives as long as its user wants. */
  hold() {},

  pause: (next) => () => engine.turn(next),

  /** Runs `task` in a turn of the event loop of its own, when all promises that are due have had theirs: one at a time. */
  turn(task) {
    next = task;
    if (!port) {
      const run = () => next();
      if (globalThis.MessageChannel) {
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = run;
        port = port2;
      } else port = { postMessage: () => setTimeout(run) };
    }
    port.postMessage(0);
  },

  warn(message, code) {
    console.warn(`linkup: ${message}${code ? ` [${code}]` : ''}`);
  },

  /** Where no broker is given: the one that served the page, if one did. `embedded`: nobody said that they are brokers. */
  defaultBroker() {
    const { protocol, host } = globalThis.location ?? {};
    const url = ['ws://localhost:5000'];
    if (/^https?:$/.test(protocol)) url.unshift(`${protocol.replace('http', 'ws')}//${host}`);
    return { url: [...new Set(url)], embedded: true };
  },

  /** Options of createPeer that only a page has. */
  ownOptions: ['RTCPeerConnection'],

  /** A stream as a page has it; React Native has none. */
  get stream() {
    return globalThis.ReadableStream && globalThis.WritableStream && streamPair;
  },
};

module.exports = { engine };
