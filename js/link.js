'use strict';
// The life of one connection: connecting (messages wait in the outbox), open, closing, closed. Knows the engine's
// handle of it; who it is connected to and what came before or after it is the roster's business.

const { onAbort, signalOf } = require('./abort');
const { Connection } = require('./connection');
const { LinkupError, connectionClosed } = require('./errors');
const { checkSize, utf8Length } = require('./message');

// What `send()` returns where nothing is to be waited for: one promise for all.
const SENT = Promise.resolve();

class Link {
  state = 'connecting';
  handle = undefined;
  metadata = undefined;
  path = 'direct';
  /** The link to the same peer whose end this one waits for before it starts, and the one that waits for this. */
  previous = undefined;
  next = undefined;

  /** Whether it came up once. */
  live = false;

  #broken = false;
  #waiters = new Set();
  #outbox = new Set();
  #queued = 0;
  #limit = 0;
  #drain;
  #closing;

  constructor(roster, remote) {
    this.roster = roster;
    this.remote = remote;
    this.connection = new Connection(this);
  }

  get usable() {
    return this.state === 'open' || this.state === 'connecting';
  }

  get bufferedAmount() {
    return this.#queued + (this.live ? this.roster.engine.buffered(this.handle) : 0);
  }

  /** `Connection.send()`. */
  send(message, options) {
    try {
      const signal = signalOf(options, this.remote, ['signal', 'ack']);
      const text = this.roster.encode(message, this.remote);
      return this.post(text, signal) ?? Promise.reject(connectionClosed(this.remote));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Sends a text or puts it into the outbox: its promise, or undefined where this link takes nothing any more. */
  post(text, signal) {
    if (this.state === 'open') return this.#transmit(text);
    if (this.state === 'connecting') return this.#enqueue(text, signal);
  }

  /** Resolves with the Connection when it is open. */
  ready(signal) {
    if (this.state === 'open') return Promise.resolve(this.connection);
    return new Promise((resolve, reject) => {
      this.#wait(this.#waiters, { resolve, reject }, signal);
    });
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
    if (this.live) this.roster.engine.close(this.handle, null, '');
    else if (this.#outbox.size === 0) this.giveUp(connectionClosed(this.remote));
    return promise;
  }

  /** From now on it takes no messages and has a promise of its end. */
  expectClose() {
    this.state = 'closing';
    this.#closing ??= deferred();
    return this.#closing;
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
  opened({ metadata, path = 'direct' }) {
    const { engine, limits } = this.roster;
    this.live = true;
    // Absent and null travel as the same thing.
    this.metadata = metadata ?? undefined;
    this.path = path;
    this.#limit = Math.min(limits.messageBytes, engine.maxMessage(this.handle));
    const closing = this.state === 'closing';
    this.state = 'open';
    const rest = this.#flush();
    settle(this.#waiters, (waiter) => waiter.resolve(this.connection));
    if (closing) {
      this.state = 'closing';
      engine.close(this.handle, null, '');
    }
    if (rest.length > 0) this.roster.again(this, rest);
  }

  /** Takes messages over that another link to the same peer did not get rid of. */
  adopt(entries) {
    for (const { text, signal, resolve, reject } of entries) {
      try {
        resolve(this.post(text, signal));
      } catch (error) {
        reject(error);
      }
    }
  }

  /** A text frame came. */
  text(text) {
    if (this.#broken) return false;
    let message;
    try {
      checkSize(text, this.roster.limits.messageBytes, this.remote);
      message = JSON.parse(text);
    } catch (cause) {
      let error = cause;
      if (!(cause instanceof LinkupError)) {
        const about = { peerId: this.remote, cause };
        error = new LinkupError('ERR_PROTOCOL', 'the remote sent a text that is not JSON', about);
      }
      this.#broken = true;
      this.giveUp(error);
      return this.connection.emit('error', error) || this.roster.core.error(error);
    }
    return this.message(message);
  }

  /** A message came. */
  message(message) {
    if (this.#broken) return false;
    const { peer } = this.roster.core;
    const heard = this.connection.emit('message', message);
    if (peer.listenerCount('message') === 0) return heard;
    return peer.emit('message', { from: this.remote, message });
  }

  /** The engine's buffer is under its mark again. */
  drained() {
    if (!this.#drain) return false;
    this.#drain.resolve();
    this.#drain = undefined;
    return true;
  }

  /** It is over: in order (null), or with an error. */
  closed(error) {
    if (this.state === 'closed') return false;
    this.state = 'closed';
    const failure = error ?? connectionClosed(this.remote);
    this.refuse(failure);
    settle(this.#outbox, (entry) => entry.reject(failure));
    this.#queued = 0;
    const lost = this.live ? error : null;
    for (const waiting of [this.#drain, this.#closing]) {
      if (lost) waiting?.reject(lost);
      else waiting?.resolve();
    }
    this.#drain = undefined;
    this.roster.gone(this);
    if (this.live) {
      this.connection.emit('close', { code: error?.code ?? null, reason: error?.message ?? '' });
    }
    return true;
  }

  #transmit(text) {
    checkSize(text, this.#limit, this.remote);
    const { engine, limits } = this.roster;
    const outcome = engine.send(this.handle, text);
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
    if (outcome === -2) throw bufferFull(limits.bufferedBytes, this.remote);
    const details = { size: utf8Length(text), limit: engine.maxMessage(this.handle) };
    throw new LinkupError('ERR_MESSAGE_TOO_LARGE', 'the remote does not take messages as large as that', {
      peerId: this.remote,
      details,
    });
  }

  #enqueue(text, signal) {
    const bytes = utf8Length(text);
    const { bufferedBytes } = this.roster.limits;
    if (this.#queued + bytes > bufferedBytes) throw bufferFull(bufferedBytes, this.remote);
    this.#queued += bytes;
    return new Promise((resolve, reject) => {
      this.#wait(this.#outbox, { text, bytes, signal, resolve, reject }, signal);
    });
  }

  /** Sends what waited, in order; returns what the engine did not take because the connection is gone already. */
  #flush() {
    const entries = [...this.#outbox];
    settle(this.#outbox, () => {});
    this.#queued = 0;
    for (let i = 0; i < entries.length; i++) {
      try {
        const sent = this.#transmit(entries[i].text);
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

function settle(all, each) {
  const entries = [...all];
  all.clear();
  for (const entry of entries) {
    entry.off();
    each(entry);
  }
}

function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => {
    result.resolve = resolve;
    result.reject = reject;
  });
  // Whoever was given the promise hears of its rejection; nobody else has to.
  result.promise.catch(() => {});
  return result;
}

function bufferFull(limit, peerId) {
  const message = `${limit} bytes (limits.bufferedBytes) wait to be sent already: wait for the promises of send()`;
  return new LinkupError('ERR_BUFFER_FULL', message, { peerId, details: { limit } });
}

module.exports = { Link };
