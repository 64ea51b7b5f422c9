'use strict';
// The public face of a peer. The work is done in peer-core.js (the peer) and roster.js (its connections).

const { Emitter } = require('./emitter');

/** One end of the network, known by an id. Comes from `createPeer()`. */
class Peer extends Emitter {
  #core;

  constructor(core) {
    if (core?.roster === undefined) throw new TypeError('a Peer comes from createPeer()');
    super();
    this.#core = core;
  }

  /** The id of the peer. */
  get id() {
    return this.#core.id;
  }

  /** 'connecting', 'registered', 'offline' or 'closed': how it stands with the broker. */
  get state() {
    return this.#core.state;
  }

  /** The open and closing connections by the remote's id; read-only. */
  get connections() {
    return this.#core.roster.connections;
  }

  /** Opens a connection, or returns the one that is there. */
  connect(peerId, options) {
    return this.#closed(peerId) ?? this.#core.roster.connect(peerId, options);
  }

  /** Delivers what was accepted for that peer, then closes the connection. */
  disconnect(peerId) {
    return this.#closed(peerId) ?? this.#core.roster.disconnect(peerId);
  }

  /** Sends a message; connects where needed. */
  send(peerId, message, options) {
    return this.#closed(peerId) ?? this.#core.roster.send(peerId, message, options);
  }

  /** Whether a peer with that id is registered at the broker. */
  find(id) {
    return this.#core.find(id);
  }

  /** Delivers what was accepted, closes every connection, unregisters. */
  close() {
    return this.#core.close();
  }

  /** Keeps the process alive while the peer is open: the default. */
  ref() {
    this.#core.hold(true);
    return this;
  }

  /** Lets the process end although the peer is open. */
  unref() {
    this.#core.hold(false);
    return this;
  }

  #closed(peerId) {
    return this.#core.finished ? Promise.reject(this.#core.closedError(peerId)) : undefined;
  }
}

// Node.js before 20.4 and some browsers do not have the symbol.
if (Symbol.asyncDispose !== undefined) Peer.prototype[Symbol.asyncDispose] = Peer.prototype.close;

module.exports = { Peer };
