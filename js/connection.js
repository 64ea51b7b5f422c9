'use strict';
// The public face of one connection: what an application holds. The work is done in link.js.

const { Emitter } = require('./emitter');

/** A WebRTC connection to another peer. Comes from `peer.connect()` or the event `connection`. */
class Connection extends Emitter {
  #link;

  constructor(link) {
    if (typeof link?.post !== 'function') throw new TypeError('a Connection comes from peer.connect()');
    super();
    this.#link = link;
  }

  /** The id of the remote peer. */
  get id() {
    return this.#link.remote;
  }

  /** 'connecting', 'open', 'reconnecting', 'closing' or 'closed'. */
  get state() {
    return this.#link.state;
  }

  /** Bytes accepted and not yet acknowledged by the remote's transport. */
  get bufferedAmount() {
    return this.#link.bufferedAmount;
  }

  /** What the remote peer gave as its `metadata`. */
  get metadata() {
    return this.#link.metadata;
  }

  /** Who the remote has proved to be: its `publicKey`, and `issuer`, `subject`, `email` and `claims` of its login; null where it has no key. */
  get identity() {
    return this.#link.identity;
  }

  /** 'direct', 'turn' or 'broker'. */
  get path() {
    return this.#link.path;
  }

  /** Sends a message; resolves when the transport has it and takes more, or with `{ack: true}` when the remote has it. */
  send(message, options) {
    return this.#link.send(message, options);
  }

  /** Opens a stream of bytes in both directions beside the messages. */
  createStream(name, meta) {
    return this.#link.createStream(name, meta);
  }

  /** The messages from now on; the remote waits while they are not asked for. */
  [Symbol.asyncIterator]() {
    return this.#link.messages();
  }

  /** Numbers about the transport. */
  stats() {
    return this.#link.stats();
  }

  /** Delivers what was accepted, then closes. */
  close() {
    return this.#link.close();
  }
}

module.exports = { Connection };
