'use strict';
// PeerJS with its own server, over @roamhq/wrtc in place of a browser: the one rival that connects by an id, too.

const wrtc = require('@roamhq/wrtc');
const { WebSocket } = require('ws');

Object.assign(globalThis, wrtc, { WebSocket, location: new URL('http://localhost') });
const { Peer } = require('peerjs');
const { idsOf, poll, deferred } = require('./shared');
const { SIZES } = require('../lib/payloads');

const peers = new Map();

async function prepare({ role, n, broker, receive }) {
  const { own, caller, called } = idsOf(role, n);
  const peer = await peerOf(own, broker);
  const come = deferred();
  if (role === 'called') peer.expected.set(caller, come.resolve);
  let connection;
  return {
    async connect() {
      // Its default, which is ordered and reliable for bytes and objects alike.
      connection = role === 'caller' ? peer.connect(called) : await come.promise;
      connection.on('data', (data) => receive(data.byteLength ?? SIZES.small));
      if (!connection.open) {
        await new Promise((resolve, reject) => connection.once('open', resolve).once('error', reject));
      }
      return wrap(connection);
    },
    close: () => connection.close(),
  };
}

/** The peer of that id, registered. */
function peerOf(id, broker) {
  if (!peers.has(id)) peers.set(id, register(id, new URL(broker)));
  return peers.get(id);
}

async function register(id, { hostname: host, port }) {
  const peer = new Peer(id, { host, port: Number(port), path: '/', config: { iceServers: [] } });
  peer.expected = new Map();
  peer.on('connection', (connection) => peer.expected.get(connection.peer)?.(connection));
  await new Promise((resolve, reject) => peer.once('open', resolve).once('error', reject));
  return peer;
}

function wrap(connection) {
  return {
    send(message) {
      connection.send(message);
      // It keeps what is too much for the channel; the sender has to look by itself.
      if (connection.bufferSize > 0) return poll(() => connection.bufferSize === 0);
    },
  };
}

module.exports = { prepare, objects: true };
