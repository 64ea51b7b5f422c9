'use strict';
// linkup, of this project or of another revision (BENCH_ROOT), through its broker: from `connection.send(x)` to the event
// `message`, with promises and JSON.

const { SIZES } = require('../lib/payloads');
const { idsOf, deferred } = require('./shared');

const { createPeer } = require(process.env.BENCH_ROOT);

const peers = new Map();

async function prepare({ role, n, broker, receive }) {
  const { own, caller, called } = idsOf(role, n);
  const peer = await peerOf(own, broker);
  const come = deferred();
  if (role === 'called') peer.expected.set(caller, come.resolve);
  let connection;
  return {
    async connect() {
      connection = await (role === 'caller' ? peer.connect(called) : come.promise);
      connection.on('message', (message) => receive(sizeOf(message)));
      return wrap(connection);
    },
    close: () => connection.close().catch(() => {}),
  };
}

/** The peer of that id, registered. */
function peerOf(id, brokerUrl) {
  if (!peers.has(id)) peers.set(id, register(id, brokerUrl));
  return peers.get(id);
}

async function register(id, brokerUrl) {
  const peer = createPeer(id, { brokerUrl });
  peer.expected = new Map();
  peer.on('connection', (connection) => peer.expected.get(connection.id)?.(connection));
  await new Promise((resolve, reject) => peer.once('register', resolve).once('error', reject));
  return peer;
}

/** What counts for throughput: bytes of the binary message, or of the JSON that was sent. */
function sizeOf(message) {
  if (ArrayBuffer.isView(message) || message instanceof ArrayBuffer) return message.byteLength;
  return typeof message === 'string' ? SIZES.bulk : SIZES.small;
}

function wrap(connection) {
  return {
    send: (message) => connection.send(message),

    /** What to send instead of bytes where this version refuses them. */
    async instead(bulk) {
      try {
        await connection.send(bulk.subarray(0, 1));
      } catch (error) {
        if (error.code !== 'ERR_UNSUPPORTED') throw error;
        const note = 'no binary messages in this version: JSON strings of 64 KiB';
        return { payload: 'x'.repeat(bulk.length - 2), note };
      }
    },
  };
}

module.exports = { prepare, objects: true };
