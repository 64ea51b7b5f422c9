'use strict';
// The engine of a page: the functions of engine-native.js over the page's own WebRTC and WebSocket, and what js/ needs of
// a page itself. Touches no DOM, and nothing at all before the first peer. The rules are in page/.

const EVENTS = require('./events');
const { nextHandle } = require('./page/books');
const { PagePeer } = require('./page/peer');
const { failure } = require('./page/signal');
const { streamPair } = require('./page/stream');

/** Events of one drain. */
const BATCH = 256 * 4;

/** What all peers share. */
const ends = new Map();
const peers = new Map();

// A browser that closes a tab says nothing to the other side, which would have to find out by the silence.
function leave({ persisted }) {
  if (!persisted) for (const peer of peers.values()) peer.leave();
}

// What runs later, in order. Timers would be slowed down where the page is not visible.
const due = [];
let port;

/** The functions of engine-native.js. */
const engine = {
  /** Opens a mailbox; `ring` is called when there is something to drain, never from inside of one of these functions. */
  open(ring) {
    const mailbox = { events: [], ends, peers };
    mailbox.put = (kind, handle, a, b) => {
      mailbox.events.push(kind, handle, a, b);
      if (mailbox.awake) return;
      mailbox.awake = true;
      queueMicrotask(ring);
    };
    return mailbox;
  },

  drain(mailbox) {
    const { events } = mailbox;
    mailbox.events = events.splice(BATCH);
    mailbox.awake = mailbox.events.length > 0;
    for (let i = 0; i < events.length; i += 4) {
      const message = events[i] === EVENTS.TEXT || events[i] === EVENTS.BINARY;
      if (message) ends.get(events[i + 1])?.transport?.handed(events[i + 3]);
    }
    return events;
  },

  /** `own`: those options that only a page has. */
  createPeer(mailbox, text, own) {
    // The same listener again is none more.
    globalThis.addEventListener?.('pagehide', leave);
    const peer = new PagePeer({ ...JSON.parse(text), own }, mailbox);
    peers.set(peer.handle, peer);
    return peer.handle;
  },

  connect(handle, remote) {
    const connection = nextHandle();
    peers.get(handle)?.connect(connection, remote);
    return connection;
  },

  send: (handle, data, token) => ends.get(handle)?.transport?.send(data, token) ?? -1,
  frame: (handle, kind, stream, body) => ends.get(handle)?.transport?.frame(kind, stream, body) ?? -1,
  flow: (handle, open) => ends.get(handle)?.transport?.flow(open),
  buffered: (handle) => ends.get(handle)?.transport?.buffered ?? 0,
  maxMessage: (handle) => ends.get(handle)?.transport?.maxMessage ?? 0,

  close(handle, code, message) {
    const link = ends.get(handle);
    link?.peer.close(link, code && failure(code, message));
  },

  answer(handle, reason) {
    const link = ends.get(handle);
    link?.peer.decide(link, reason);
  },

  transformed: (handle, transport, sdp) => peers.get(handle)?.transformed(transport, sdp),

  find(handle, token, id) {
    peers.get(handle)?.look(token, id);
    return peers.has(handle);
  },

  closePeer: (handle) => peers.get(handle)?.closePeer(),

  stats(handle, token) {
    const link = ends.get(handle);
    if (!link?.transport) return false;
    link.transport.stats().then(
      (numbers) => link.peer.put(EVENTS.SETTLED, token, JSON.stringify(numbers)),
      ({ message }) => {
        const error = failure('ERR_CONNECTION_CLOSED', `no numbers: ${message}`);
        link.peer.put(EVENTS.SETTLED, token, null, JSON.stringify(error));
      },
    );
  },

  /** A page lives as long as its user wants. */
  hold() {},

  pause: (next) => () => engine.turn(next),

  /** Runs `task` in a turn of the event loop of its own, when all promises that are due have had theirs. */
  turn(task) {
    if (!port) {
      const next = () => due.shift()();
      if (globalThis.MessageChannel) {
        const channel = new MessageChannel();
        channel.port1.onmessage = next;
        port = channel.port2;
      } else port = { postMessage: () => setTimeout(next) };
    }
    due.push(task);
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

  /** A stream as a page has it. */
  stream: streamPair,
};

module.exports = { engine };
