'use strict';
// A test double of the engine: any number of peers in one process, joined by memory. Does what the engine's interface
// promises and nothing else: no broker, no time-outs, no loss. `put` and `calls` let a test play the engine itself.

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
};

/** `auto: false`: nothing comes of a call until the test puts an event; every message is taken. */
function pairEngine({ auto = true, batch = 256 } = {}) {
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
    const end = { handle: ++lastHandle, peer, remote, open: false, buffered: 0, full: false };
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
    }
    for (const one of [end, other]) {
      const { incoming = false, remote } = one;
      const metadata = one.other.peer.options.metadata;
      put(KIND.OPEN, one.handle, JSON.stringify({ peer: one.peer.handle, remote, incoming, metadata, linkup: true }));
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
    createPeer(_mailbox, text) {
      const options = JSON.parse(text);
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
    send(handle, text) {
      if (!auto) return 0;
      const end = ends.get(handle);
      if (!end?.open) return -1;
      const { bufferedBytes, highWaterMark } = end.peer.options.limits;
      if (text.length > engine.maxMessage(handle)) return -3;
      if (end.buffered + text.length > bufferedBytes) return -2;
      end.buffered += text.length;
      setImmediate(() => {
        end.buffered -= text.length;
        if (ends.has(end.other.handle)) put(KIND.TEXT, end.other.handle, text);
        if (end.full && end.buffered <= highWaterMark) {
          end.full = false;
          put(KIND.DRAINED, handle);
        }
      });
      if (end.buffered > highWaterMark) end.full = true;
      return end.full ? 1 : 0;
    },
    close(handle, code, message) {
      const end = ends.get(handle);
      if (end === undefined) return;
      if (code !== null) finish(end, failed(code, message));
      else if (auto) setImmediate(() => finish(end));
    },
    answer(handle, reason) {
      const { end, target } = ends.get(handle);
      ends.delete(handle);
      if (reason === null) join(end, target);
      else finish(end, failed('ERR_DENIED', reason));
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
    pause: (next) => () => queueMicrotask(() => process.nextTick(next)),
    turn: setImmediate,
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
      if (!['pause', 'turn', 'drain', 'buffered', 'maxMessage'].includes(name)) calls.push([name, args, result]);
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
