'use strict';
// The engine of a page: the functions of engine-native.js over the page's own WebRTC and WebSocket, and what js/ needs of
// a page itself. Touches no DOM, and nothing at all before the first peer. The rules are in page/.

const { EVENTS, nextHandle } = require('./page/books');
const { PagePeer } = require('./page/peer');
const { failure } = require('./page/signal');

/** Events of one drain. */
const BATCH = 256 * 4;
const LOCAL_BROKER = 'ws://localhost:5000';

/** What all peers share. */
const ends = new Map();
const peers = new Map();

/** Opens a mailbox; `ring` is called when there is something to drain, never from inside of one of these functions. */
function open(ring) {
  const mailbox = { events: [], awake: false, put, ends, peers };
  function put(kind, handle, a, b) {
    mailbox.events.push(kind, handle, a, b);
    if (mailbox.awake) return;
    mailbox.awake = true;
    queueMicrotask(ring);
  }
  return mailbox;
}

function drain(mailbox) {
  const { events } = mailbox;
  mailbox.events = events.length > BATCH ? events.splice(BATCH) : [];
  mailbox.awake = events.length > 0;
  for (let i = 0; i < events.length; i += 4) {
    const message = events[i] === EVENTS.TEXT || events[i] === EVENTS.BINARY;
    if (message) ends.get(events[i + 1])?.transport?.handed();
  }
  return events;
}

// A browser that closes a tab says nothing to the other side, which would have to find out by the silence.
function leave({ persisted }) {
  if (!persisted) for (const peer of peers.values()) peer.leave();
}

/** `own`: those options that only a page has. */
function createPeer(mailbox, text, own) {
  // The same listener again is none more.
  globalThis.addEventListener?.('pagehide', leave);
  const options = { ...JSON.parse(text), own };
  const peer = new PagePeer(options, mailbox);
  peers.set(peer.handle, peer);
  return peer.handle;
}

function connect(handle, remote) {
  const connection = nextHandle();
  peers.get(handle)?.connect(connection, remote);
  return connection;
}

const send = (handle, data) => ends.get(handle)?.transport?.send(data) ?? -1;
const buffered = (handle) => ends.get(handle)?.transport?.buffered ?? 0;
const maxMessage = (handle) => ends.get(handle)?.transport?.maxMessage ?? 0;

function close(handle, code, message) {
  ends.get(handle)?.peer.close(handle, code === null ? null : failure(code, message));
}

function answer(handle, reason) {
  const link = ends.get(handle);
  link?.peer.decide(link, reason);
}

const transformed = (handle, transport, sdp) => peers.get(handle)?.transformed(transport, sdp);

function find(handle, token, id) {
  peers.get(handle)?.look(token, id);
  return peers.has(handle);
}

function closePeer(handle) {
  const there = peers.has(handle);
  if (there) peers.get(handle).closePeer();
  return there;
}

function stats(handle, token) {
  const link = ends.get(handle);
  if (link?.transport === undefined) return false;
  link.transport.stats().then(
    (numbers) => link.peer.put(EVENTS.SETTLED, token, JSON.stringify(numbers)),
    (error) => {
      const reported = failure('ERR_CONNECTION_CLOSED', `no numbers: ${error.message}`);
      link.peer.put(EVENTS.SETTLED, token, null, JSON.stringify(reported));
    },
  );
  return true;
}

// What runs later, in order. Timers would be slowed down where the page is not visible.
const due = [];
let port;

/** Runs `task` in a turn of the event loop of its own, when all promises that are due have had theirs. */
function turn(task) {
  if (port === undefined) {
    const channel = globalThis.MessageChannel === undefined ? undefined : new MessageChannel();
    const next = () => due.shift()();
    if (channel !== undefined) channel.port1.onmessage = next;
    port = channel?.port2 ?? { postMessage: () => setTimeout(next) };
  }
  due.push(task);
  port.postMessage(0);
}

const pause = (next) => () => turn(next);

/** A page lives as long as its user wants. */
function hold() {}

function warn(message, code) {
  console.warn(`linkup: ${message}${code === undefined ? '' : ` [${code}]`}`);
}

/** Where no broker is given: the one that served the page, if one did. `embedded`: nobody said that they are brokers. */
function defaultBroker() {
  const { protocol, host } = globalThis.location ?? {};
  if (!/^https?:$/.test(protocol)) return { url: LOCAL_BROKER, embedded: true };
  const own = `${protocol.replace('http', 'ws')}//${host}`;
  return { url: [...new Set([own, LOCAL_BROKER])], embedded: true };
}

/** Options of createPeer that only a page has. */
const ownOptions = ['RTCPeerConnection'];

module.exports = {
  open,
  drain,
  createPeer,
  connect,
  send,
  close,
  answer,
  find,
  transformed,
  closePeer,
  buffered,
  stats,
  maxMessage,
  hold,
  pause,
  turn,
  warn,
  defaultBroker,
  ownOptions,
};
