'use strict';
// The life of one connection: connecting (messages wait in the outbox), open, closing, closed. Knows the engine's
// handle of it; who it is connected to and what came before or after it is the roster's business.

const { callOptions, onAbort } = require('./abort');
const { Connection } = require('./connection');
const { LinkupError, bufferFull, connectionClosed, unsupported } = require('./errors');
const { stranger } = require('./identity');
const { checkSize, hasRoom, sizeOf, tooLarge } = require('./message');
const { Loops } = require('./messages');
const { Streams, checkStream } = require('./streams');
const { deferred, settle } = require('./waiting');

// What `send()` returns where nothing is to be waited for: one promise for all.
const SENT = Promise.resolve();

class Link {
  state = 'connecting';
  handle = undefined;
  metadata = undefined;
  identity = null;
  /** The link to the same peer whose end this one waits for before it starts, and the one that waits for this. */
  previous = undefined;
  next = undefined;

  /** Whether it came up once. */
  live = false;

  #path = 'direct';
  #broken = false;
  #waiters = new Set();
  #outbox = new Set();
  #queued = 0;
  #limit = 0;
  #drain;
  #closing;
  #streams;
  #loops = new Loops((open) => this.roster.engine.flow(this.handle, open));
  // While the streams' data goes out; what it is where that took too long.
  #concluding;
  #late;

  /** `pinned`: the key that the remote must have. */
  constructor(roster, remote, pinned) {
    this.roster = roster;
    this.remote = remote;
    this.pinned = pinned;
    this.connection = new Connection(this);
  }

  get usable() {
    return this.#flows || this.state === 'connecting';
  }

  /** Whether the engine takes messages: it keeps them where the transport is gone and another one is to come. */
  get #flows() {
    return this.state === 'open' || this.state === 'reconnecting';
  }

  /** Which way the bytes go; of a connection that is over, which way they went. */
  get path() {
    if (this.live) this.#path = this.roster.engine.path(this.handle) ?? this.#path;
    return this.#path;
  }

  get bufferedAmount() {
    return this.#queued + (this.live ? this.roster.engine.buffered(this.handle) + this.#streams.queued : 0);
  }

  /** `Connection.send()`. */
  send(message, options) {
    try {
      const how = callOptions(options, this.remote);
      const data = this.roster.encode(message, this.remote);
      return this.post(data, how) ?? Promise.reject(connectionClosed(this.remote));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends a message or puts it into the outbox: its promise, or undefined where this link takes nothing any more. */
  post(data, how) {
    if (this.#flows) return this.#transmit(data, how);
    if (this.state === 'connecting') return this.#enqueue(data, how);
  }

  /** `Connection.createStream()`. */
  createStream(name, meta) {
    const about = checkStream(name, meta);
    if (!this.#flows) throw connectionClosed(this.remote);
    return this.#streams.create(about);
  }

  /** The messages from now on, for one loop. */
  messages() {
    return this.#loops.add();
  }

  /** Resolves with the Connection when it is open, to a remote with that key where one is given. */
  ready(signal, publicKey) {
    if (this.#flows) return this.#checked(publicKey);
    return new Promise((resolve, reject) => {
      this.#wait(this.#waiters, { resolve: () => resolve(this.#checked(publicKey)), reject }, signal);
    });
  }

  async #checked(publicKey) {
    if (publicKey !== undefined && this.identity?.publicKey !== publicKey) throw stranger(this.remote);
    return this.connection;
  }

  /** `Connection.stats()`. */
  stats() {
    const { engine, core } = this.roster;
    if (this.state === 'closed') return Promise.reject(connectionClosed(this.remote));
    return core.hub.ask(core, this.remote, (token) => engine.stats(this.handle, token));
  }

  /** `Connection.close()`: delivers what was accepted, also what is still in the outbox. */
  close() {
    if (this.#closing) return this.#closing.promise;
    if (this.state === 'closed') return SENT;
    const { promise } = this.expectClose();
    if (!this.live) {
      if (this.#outbox.size === 0) this.giveUp(connectionClosed(this.remote));
      return promise;
    }
    const end = () => this.roster.engine.close(this.handle, null, '');
    const waiting = this.conclude();
    if (waiting) waiting.then(end);
    else end();
    return promise;
  }

  /** From now on it takes no messages and has a promise of its end. */
  expectClose() {
    this.state = 'closing';
    this.#closing ??= deferred();
    this.#loops.release();
    return this.#closing;
  }

  /** Lets go out what is written to streams: a promise where that takes time, of an error where it takes too long. */
  conclude() {
    this.#concluding ??= this.#streams.conclude(this.roster.core.settings.engine.timeouts.close)?.then((late) => {
      this.#late = late;
      return late;
    });
    return this.#concluding;
  }

  /** Ends an attempt, or a connection that the remote broke, at once. */
  giveUp(error) {
    if (this.handle !== undefined) this.roster.engine.close(this.handle, error.code, error.message);
    if (this.live) this.state = 'closing';
    else this.closed(error);
  }

  /** Rejects the calls of `connect()`; the outbox still waits. */
  refuse(error) {
    settle(this.#waiters, (waiter) => waiter.reject(error));
  }

  /** Whether messages wait for it to open. */
  get pending() {
    return this.#outbox.size > 0;
  }

  /** The engine says that messages can flow. */
  opened({ metadata, caller }, identity) {
    this.identity = identity;
    const { engine, limits } = this.roster;
    this.live = true;
    this.#streams = new Streams(this, caller);
    // Absent and null travel as the same thing.
    this.metadata = metadata ?? undefined;
    // 0: the engine has lost it already, and says so at the first message.
    this.#limit = Math.min(limits.messageBytes, engine.maxMessage(this.handle) || Number.POSITIVE_INFINITY);
    const closing = this.state === 'closing';
    this.state = 'open';
    const rest = this.#flush();
    settle(this.#waiters, (waiter) => waiter.resolve());
    if (closing) {
      this.state = 'closing';
      engine.close(this.handle, null, '');
    }
    if (rest.length > 0) this.roster.again(this, rest);
  }

  /** Takes messages over that another link to the same peer did not get rid of. */
  adopt(entries) {
    for (const { data, how, resolve, reject } of entries) {
      try {
        resolve(this.post(data, how));
      } catch (error) {
        reject(error);
      }
    }
  }

  /** A text came. */
  text(text) {
    if (this.#broken) return false;
    let message;
    try {
      checkSize(text, this.roster.limits.messageBytes, this.remote);
      message = JSON.parse(text);
    } catch (cause) {
      if (cause instanceof LinkupError) return this.broke(cause);
      const about = { peerId: this.remote, cause };
      return this.broke(new LinkupError('ERR_PROTOCOL', 'the remote sent what is not JSON', about));
    }
    return this.#message(message, text.length);
  }

  /** Bytes came: a message as it is. */
  binary(bytes) {
    return !this.#broken && this.#message(bytes, bytes.length);
  }

  /** A frame of a stream came. */
  frame(bytes) {
    return !this.#broken && this.#streams.heard(bytes);
  }

  /** A message goes out or comes in, in pieces. */
  progress(direction, bytes, total) {
    return this.connection.emit('progress', { direction, bytes, total });
  }

  /** The engine's buffer is under its mark again: that of messages, or that of streams (1). */
  drained(which) {
    if (which === 1) return this.#streams.drained();
    if (!this.#drain) return false;
    this.#drain.resolve();
    this.#drain = undefined;
    return true;
  }

  /** The engine has lost the transport, and looks for another one. */
  interrupted() {
    if (this.state !== 'open') return false;
    this.state = 'reconnecting';
    return this.connection.emit('reconnecting');
  }

  /** It has found one, and goes on where the last one ended. */
  resumed() {
    if (this.state !== 'reconnecting') return false;
    this.state = 'open';
    return this.connection.emit('reconnected');
  }

  /** The remote did what it must not: the connection ends. */
  broke(error) {
    this.#broken = true;
    this.giveUp(error);
    return this.connection.emit('error', error) || this.roster.core.error(error);
  }

  /** It is over: in order (null), or with an error. */
  closed(error) {
    if (this.state === 'closed') return false;
    this.state = 'closed';
    const failure = error ?? connectionClosed(this.remote);
    this.refuse(failure);
    settle(this.#outbox, (entry) => entry.reject(failure));
    this.#queued = 0;
    const lost = this.live ? (error ?? this.#late) : null;
    for (const waiting of [this.#drain, this.#closing]) {
      if (lost) waiting?.reject(lost);
      else waiting?.resolve();
    }
    this.#drain = undefined;
    this.roster.gone(this);
    if (error) this.roster.core.lost(error);
    if (this.live) {
      this.roster.core.hub.forget(this, () => failure);
      this.#loops.end(error);
      this.#streams.closed(failure);
      this.connection.emit('close', { code: error?.code ?? null, reason: error?.message ?? '' });
    }
    return true;
  }

  #message(message, size) {
    const { peer } = this.roster.core;
    const emitted = this.connection.emit('message', message);
    const heard = this.#loops.take(message, size) || emitted;
    if (peer.listenerCount('message') === 0) return heard;
    return peer.emit('message', { from: this.remote, message });
  }

  #transmit(data, { ack, signal }) {
    checkSize(data, this.#limit, this.remote);
    const { engine, core } = this.roster;
    let outcome;
    const send = (token) => {
      outcome = engine.send(this.handle, data, token);
      return outcome >= 0;
    };
    if (ack) {
      const asked = core.hub.ask(this, this.remote, send);
      if (outcome >= 0) return this.#acknowledged(asked, signal);
      // What it rejects with is not why.
      asked.catch(() => {});
    } else send(0);
    if (outcome === 0) return SENT;
    if (outcome === 1) {
      this.#drain ??= deferred();
      return this.#drain.promise;
    }
    if (outcome === -1) {
      // The engine has lost it; the event that says so is on its way.
      this.state = 'closing';
      return;
    }
    throw this.#refusal(outcome, data);
  }

  /** Resolves when the remote has the message; an abort ends only the waiting. */
  #acknowledged(asked, signal) {
    return new Promise((resolve, reject) => {
      const off = onAbort(signal, this.remote, reject);
      asked.then(() => resolve(), reject).then(off);
    });
  }

  /** Why the engine did not take a message. */
  #refusal(outcome, data) {
    const { engine, limits } = this.roster;
    if (outcome === -2) return bufferFull(limits.bufferedBytes, this.remote);
    if (outcome === -3) return tooLarge(sizeOf(data), engine.maxMessage(this.handle), this.remote);
    return unsupported('binary messages, no acknowledgements', this.remote);
  }

  #enqueue(data, how) {
    const bytes = sizeOf(data);
    const { limits } = this.roster;
    if (!hasRoom(this.#queued, bytes, limits)) throw bufferFull(limits.bufferedBytes, this.remote);
    this.#queued += bytes;
    // The application's bytes may be others when the connection is open.
    const kept = typeof data === 'string' ? data : new Uint8Array(data);
    return new Promise((resolve, reject) => {
      this.#wait(this.#outbox, { data: kept, bytes, how, resolve, reject }, how.signal);
    });
  }

  /** Sends what waited, in order; returns what the engine did not take because the connection is gone already. */
  #flush() {
    const entries = [...this.#outbox];
    settle(this.#outbox, () => {});
    this.#queued = 0;
    for (let i = 0; i < entries.length; i++) {
      try {
        const sent = this.#transmit(entries[i].data, entries[i].how);
        if (sent === undefined) return entries.slice(i);
        entries[i].resolve(sent);
      } catch (error) {
        entries[i].reject(error);
      }
    }
    return [];
  }

  /** Adds somebody who is interested in this attempt; when the last one aborts, it is given up. */
  #wait(all, entry, signal) {
    all.add(entry);
    entry.off = onAbort(signal, this.remote, (error) => {
      all.delete(entry);
      if (all === this.#outbox) this.#queued -= entry.bytes;
      entry.reject(error);
      if (this.#waiters.size === 0 && this.#outbox.size === 0) this.giveUp(error);
    });
  }
}

module.exports = { Link };
