'use strict';
// Whom one peer is connected to: one attempt for calls at the same time, one connection where both sides called at
// once, and a new connection only after the old one to the same peer has ended. Knows links, not what they carry.

const { callOptions } = require('./abort');
const { LinkupError } = require('./errors');
const { Link } = require('./link');
const { checkSize, encode } = require('./message');
const { checkId } = require('./options');

/** The public `peer.connections`: a Map that only the roster changes. */
class Connections extends Map {
  set() {
    throw new TypeError('connections is read-only');
  }

  delete() {
    this.set();
  }

  clear() {
    this.set();
  }
}

class Roster {
  /** Open and closing connections by the remote's id. */
  connections = new Connections();
  // By the remote's id: the link that the next call uses, or waits for.
  #links = new Map();

  constructor(core, limits) {
    this.core = core;
    this.engine = core.hub.engine;
    this.limits = limits;
  }

  /** `Peer.connect()`. */
  connect(id, options) {
    try {
      this.#check(id);
      const { signal, publicKey } = callOptions(options, id, ['signal', 'publicKey']);
      return this.#reach(id, publicKey).ready(signal, publicKey);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** `Peer.send()`. */
  send(id, message, options) {
    try {
      let link = this.#links.get(id);
      if (!link) this.#check(id);
      const how = callOptions(options, id);
      const data = this.encode(message, id);
      link = this.#reach(id);
      // Where the connection has just been lost, the message goes over the next one.
      return link.post(data, how) ?? this.#reach(id).post(data, how);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** `Peer.disconnect()`. */
  disconnect(id) {
    try {
      checkId(id, 'peerId');
      return this.#links.get(id)?.close() ?? Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** What travels of a message that is within this peer's limit. */
  encode(message, id) {
    const data = encode(message, id);
    checkSize(data, this.limits.messageBytes, id);
    return data;
  }

  /** The engine has a handle for this peer now: start what waits for that. */
  startAll() {
    for (const link of this.#links.values()) this.#start(link);
  }

  /** A connection is open: one that was asked for here, or one that the remote made. */
  open(handle, info) {
    let link = this.core.hub.links.get(handle);
    if (!link) {
      // Opened just when it was given up here.
      if (!info.incoming) return false;
      link = this.#meet(handle, info.remote);
    }
    const { connection } = link;
    Map.prototype.set.call(this.connections, info.remote, connection);
    link.opened(info, this.core.identityOf(handle, info));
    // It came up while the peer closes: that closes it, too, after what the remote has sent.
    if (this.core.finished) link.expectClose();
    if (info.incoming) this.core.peer.emit('connection', connection);
    // A step of its own: whoever awaits `connect()` can listen before.
    return () => connection.emit('connect');
  }

  /** A link has ended. */
  gone(link) {
    const { remote, previous, next } = link;
    if (link.handle !== undefined) this.core.hub.links.delete(link.handle);
    if (this.connections.get(remote) === link.connection) Map.prototype.delete.call(this.connections, remote);
    if (this.#links.get(remote) === link) {
      this.#links.delete(remote);
      if (previous) this.#links.set(remote, previous);
    }
    if (previous) previous.next = next;
    if (next) {
      next.previous = previous;
      this.#start(next);
    }
  }

  /** Messages that `link` could not get rid of go over the next connection to the same peer. */
  again(link, entries) {
    this.#reach(link.remote).adopt(entries);
  }

  /**
   * The peer closes: attempts that nobody sent a message to end here. Returns promises of the others' ends, and of what
   * is written to streams of open connections: of an error, where that does not go out.
   */
  closing() {
    const pending = [];
    for (const link of [...this.#links.values()]) {
      const error = this.core.closedError(link.remote);
      link.refuse(error);
      if (link.live) {
        link.expectClose();
        pending.push(link.conclude());
      } else if (link.pending) pending.push(link.close());
      else link.giveUp(error);
    }
    return pending;
  }

  /** The peer is closed: what is left has ended. */
  ended(error) {
    // The map may grow meanwhile, by what an ended link waited for.
    for (const link of this.#links.values()) link.closed(error);
  }

  #check(id) {
    checkId(id, 'peerId');
    if (id !== this.core.id) return;
    throw new LinkupError('ERR_CONNECT_SELF', 'cannot connect to itself', { peerId: id });
  }

  /** The link that messages to `id` go over; made where there is none. */
  #reach(id, publicKey) {
    const last = this.#links.get(id);
    if (last?.usable) return last;
    const link = new Link(this, id, publicKey ?? this.core.keyOf(id));
    this.#links.set(id, link);
    link.previous = last;
    if (last) last.next = link;
    this.#start(link);
    return link;
  }

  #start(link) {
    const { core } = this;
    if (link.handle !== undefined || link.previous || core.handle === undefined) return;
    link.handle = this.engine.connect(core.handle, link.remote, link.pinned);
    core.hub.links.set(link.handle, link);
  }

  /** The link for a connection that the remote made: the one that is just calling it, if there is one. */
  #meet(handle, remote) {
    const { links } = this.core.hub;
    const last = this.#links.get(remote);
    let link = last;
    if (!last || last.live) {
      link = new Link(this, remote);
      this.#links.set(remote, link);
    } else if (last.handle !== undefined) {
      // The engine has not seen our call yet, or it will answer JOINED: either way that one is not needed.
      links.delete(last.handle);
      this.engine.close(last.handle, 'ERR_ABORTED', 'the remote was faster');
    }
    link.handle = handle;
    links.set(handle, link);
    return link;
  }
}

module.exports = { Roster };
