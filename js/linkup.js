'use strict';
// Puts linkup together over an engine: the addon in Node.js, WebRTC and WebSocket in a page. The one place that knows
// both the public API and what is behind it.

const { Connection } = require('./connection');
const { LinkupError } = require('./errors');
const { Hub } = require('./hub');
const { readOptions } = require('./options');
const { Peer } = require('./peer');
const { PeerCore } = require('./peer-core');

/** The public API over `engine`; `hub` is for what else uses the engine's mailbox. */
function linkup(engine) {
  const hub = new Hub(engine);

  /** Creates a peer with an id by which others can connect to it. */
  function createPeer(id, options) {
    const settings = readOptions(id, options, engine);
    return new PeerCore(hub, settings, (core) => new Peer(core)).peer;
  }

  /** A new key, by which other peers can know a peer of this application again. */
  const createIdentity = () => engine.createIdentity();

  /** The same, kept: in Node.js in a file, in a page in its IndexedDB. Made where it is not there. */
  const loadIdentity = (name) => engine.loadIdentity(name);

  return { hub, api: { createPeer, createIdentity, loadIdentity, Peer, Connection, LinkupError } };
}

module.exports = { linkup };
