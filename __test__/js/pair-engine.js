'use strict';
// A test double of the engine: any number of peers in one process, joined by memory. Does what the engine's interface
// promises and nothing else: no broker, no time-outs, no loss. `put` and `calls` let a test play the engine itself.

const { streamDuplex } = require('../../js/stream-native');

const KIND = {
  REGISTERED: 1,
  OFFLINE: 2,
  OPEN: 3,
  JOINED: 4,
  CLOSED: 5,
  SETTLED: 6,
  REQUEST: 7,
  TRANSFORM: 8,
  ERROR: 9,
  PEER_CLOSED: 10,
  TEXT: 11,
  BINARY: 12,
  DRAINED: 13,
  FRAME: 14,
  SENDING: 15,
  RECEIVING: 16,
};

/** Bytes of streams that wait until no more should come, and until more may again. */
const CROWDED = 256 * 1024;
const THINNED = 64 * 1024;

/**
 * `auto: false`: nothing comes of a call until the test puts an event; everything is taken. `plain`: the other sides are
 * plain simple-peer clients. `stream`: makes what an application holds of a stream.
 */
function pairEngine({ auto = true, batch = 256, plain = false, stream = streamDuplex } = {}) {
  const queue = [];
  const peers = new Map();
  const ends = new Map();
  const calls = [];
  const warnings = [];
  let asleep = true;
  let lastHandle = 0;
  let ring;
  let held = 0;

  const put = (kind, handle, a = null, b = null) => {
    queue.push(kind, handle, a, b);
    if (!asleep) return;
    asleep = false;
    setImmediate(ring);
  };
  const failed = (code, message = code, details = undefined) => JSON.stringify({ code, message, details });
  const named = (id) => [...peers.values()].find((peer) => peer.id === id);
  const openEnd = (peer, remote) => [...ends.values()].find((e) => e.peer === peer && e.remote === remote && e.open);

  function makeEnd(peer, remote) {
    const end = { handle: ++lastHandle, peer, remote, open: false, buffered: 0, full: false, crowd: 0, crowded: false };
    ends.set(end.handle, end);
    return end;
  }

  function join(end, target) {
    const there = openEnd(target, end.peer.id);
    if (there !== undefined) {
      ends.delete(end.handle);
      put(KIND.JOINED, end.handle, there.other.handle);
      return;
    }
    const calling = [...ends.values()].find((e) => e.peer === target && e.remote === end.peer.id && !e.incoming);
    const other = calling ?? makeEnd(target, end.peer.id);
    other.incoming = calling === undefined;
    for (const [one, two] of [
      [end, other],
      [other, end],
    ]) {
      one.other = two;
      one.open = true;
      one.caller = one === end;
      one.waiting = new Set();
    }
    for (const one of [end, other]) {
      const { incoming = false, remote, caller } = one;
      const metadata = one.other.peer.options.metadata;
      const info = { peer: one.peer.handle, remote, incoming, metadata, linkup: !plain, caller };
      put(KIND.OPEN, one.handle, JSON.stringify(info));
    }
  }

  function attempt(end) {
    if (!ends.has(end.handle) || end.open) return;
    const target = named(end.remote);
    if (target === undefined) return finish(end, failed('ERR_PEER_NOT_FOUND'));
    if (!target.options.asks) return join(end, target);
    const asked = { handle: ++lastHandle, end, target, request: true };
    ends.set(asked.handle, asked);
    const about = { peer: target.handle, from: end.peer.id, metadata: end.peer.options.metadata };
    put(KIND.REQUEST, asked.handle, JSON.stringify(about));
  }

  function finish(end, error = null) {
    if (!ends.delete(end.handle)) return;
    end.open = false;
    for (const token of end.waiting ?? []) put(KIND.SETTLED, token, null, error ?? failed('ERR_CONNECTION_CLOSED'));
    put(KIND.CLOSED, end.handle, error);
    if (end.other !== undefined) finish(end.other, error);
  }

  const engine = {
    open(bell) {
      ring = bell;
      return 1;
    },
    drain() {
      const events = queue.splice(0, batch * 4);
      asleep = events.length === 0;
      return events;
    },
    createPeer(_mailbox, given) {
      const options = JSON.parse(JSON.stringify(given));
      const peer = { handle: ++lastHandle, id: options.id, options };
      peers.set(peer.handle, peer);
      if (auto) put(KIND.REGISTERED, peer.handle);
      return peer.handle;
    },
    connect(handle, remote) {
      const end = makeEnd(peers.get(handle), remote);
      if (auto) setImmediate(attempt, end);
      return end.handle;
    },
    send(handle, data, token) {
      if (!auto) return 0;
      const end = ends.get(handle);
      if (!end?.open) return -1;
      const { bufferedBytes, highWaterMark } = end.peer.options.limits;
      const text = typeof data === 'string';
      if (plain && (token || !text)) return -4;
      if (data.length > engine.maxMessage(handle)) return -3;
      if (end.buffered + data.length > bufferedBytes) return -2;
      const copy = text ? data : Buffer.from(data);
      end.buffered += copy.length;
      if (token) end.waiting.add(token);
      const arrive = () => {
        if (end.other.held) return end.other.held.push(arrive);
        end.buffered -= copy.length;
        if (ends.has(end.other.handle)) put(text ? KIND.TEXT : KIND.BINARY, end.other.handle, copy);
        if (end.waiting.delete(token)) put(KIND.SETTLED, token, 'true');
        if (end.full && end.buffered <= highWaterMark) {
          end.full = false;
          put(KIND.DRAINED, handle, 0);
        }
      };
      setImmediate(arrive);
      if (end.buffered > highWaterMark) end.full = true;
      return end.full ? 1 : 0;
    },
    frame(handle, kind, id, body) {
      if (!auto) return 0;
      const end = ends.get(handle);
      if (!end?.open) return -1;
      if (plain) return -4;
      const frame = Buffer.concat([Buffer.from([kind, 0, 0, 0, 0]), body ?? Buffer.alloc(0)]);
      frame.writeUInt32BE(id, 1);
      end.crowd += frame.length;
      setImmediate(() => {
        end.crowd -= frame.length;
        if (ends.has(end.other.handle)) put(KIND.FRAME, end.other.handle, frame);
        if (end.crowded && end.crowd < THINNED) {
          end.crowded = false;
          put(KIND.DRAINED, handle, 1);
        }
      });
      end.crowded ||= end.crowd > CROWDED;
      return end.crowded ? 1 : 0;
    },
    flow(handle, open) {
      const end = ends.get(handle);
      const { held = [] } = end ?? {};
      if (end) end.held = open ? undefined : [];
      for (const arrive of held) arrive();
    },
    close(handle, code, message) {
      const end = ends.get(handle);
      if (end === undefined) return;
      if (code !== null) finish(end, failed(code, message));
      else if (auto) setImmediate(() => finish(end));
    },
    answer(handle, code, reason) {
      const { end, target } = ends.get(handle);
      ends.delete(handle);
      if (code === null) join(end, target);
      else finish(end, failed(code, reason));
    },
    find(_peer, token, id) {
      if (auto) put(KIND.SETTLED, token, JSON.stringify(named(id) !== undefined));
    },
    transformed() {},
    closePeer(handle) {
      setImmediate(() => {
        const peer = peers.get(handle);
        for (const end of [...ends.values()]) if (end.peer === peer) finish(end);
        peers.delete(handle);
        if (auto) put(KIND.PEER_CLOSED, handle);
      });
    },
    buffered: (handle) => ends.get(handle)?.buffered ?? 0,
    stats(handle, token) {
      if (!ends.has(handle)) return false;
      put(KIND.SETTLED, token, '{"bytesSent":1}');
      return true;
    },
    maxMessage: () => 256 * 1024,
    path: () => 'direct',
    parse: JSON.parse,
    pause: (next) => () => queueMicrotask(() => process.nextTick(next)),
    turn: setImmediate,
    stream,
    hold(change) {
      held += change;
    },
    warn: (message, code) => warnings.push({ message, code }),
    defaultBroker: () => ({ url: 'ws://localhost:5000', embedded: true }),
  };
  for (const name of Object.keys(engine)) {
    const real = engine[name];
    engine[name] = (...args) => {
      const result = real(...args);
      if (!['pause', 'parse', 'turn', 'drain', 'buffered', 'maxMessage', 'path', 'stream'].includes(name))
        calls.push([name, args, result]);
      return result;
    };
  }
  return {
    engine,
    put,
    calls,
    warnings,
    failed,
    held: () => held,
    called: (name) => calls.filter((c) => c[0] === name),
  };
}

module.exports = { pairEngine, KIND };
