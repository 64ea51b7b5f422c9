// node examples/echo.js - a peer named echo that sends every message and every stream back
'use strict';

const { pipeline } = require('node:stream');
const linkup = require('..');

/** Starts the peer; also used by `npm start`. */
function startEcho(brokerUrl) {
  const peer = linkup.createPeer('echo', brokerUrl ? { brokerUrl } : {});
  peer.on('message', ({ from, message }) => {
    peer.send(from, message).catch((error) => console.error(`to ${from}: ${error.message}`));
  });
  peer.on('connection', (connection) => {
    connection.on('stream', (stream) => {
      if (connection.state !== 'open') return stream.destroy();
      // In a stream of its own; the first one ends when the other side has read that. Whoever gives one up ends both.
      pipeline(stream, connection.createStream(stream.name, stream.meta), stream, () => {});
    });
  });
  peer.on('error', (error) => console.error(error.message));
  return peer;
}

if (require.main === module) {
  startEcho().on('register', (id) => console.log(`${id} is waiting for messages`));
}

module.exports = { startEcho };
