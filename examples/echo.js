// node examples/echo.js - a peer named echo that sends every message back
'use strict';

const linkup = require('..');

/** Starts the peer; also used by `npm start`. */
function startEcho(brokerUrl) {
  const peer = linkup.createPeer('echo', brokerUrl ? { brokerUrl } : {});
  peer.on('message', ({ from, message }) => {
    peer.send(from, message).catch((error) => console.error(`to ${from}: ${error.message}`));
  });
  peer.on('error', (error) => console.error(error.message));
  return peer;
}

if (require.main === module) {
  startEcho().on('register', (id) => console.log(`${id} is waiting for messages`));
}

module.exports = { startEcho };
