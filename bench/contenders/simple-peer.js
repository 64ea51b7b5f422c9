'use strict';
// simple-peer over @roamhq/wrtc. Not as a stream, which would be slower: over this wrtc it looks only every 150 ms
// whether it may go on.

const SimplePeer = require('simple-peer');
const wrtc = require('@roamhq/wrtc');
const { HIGH, LOW, poll, deferred } = require('./shared');

async function prepare({ role, signalling, receive }) {
  const ready = deferred();
  let peer;
  const start = () => {
    peer = new SimplePeer({ initiator: role === 'caller', wrtc });
    peer.on('signal', (signal) => signalling.send(signal));
    peer.on('data', (data) => receive(data.length));
    peer.on('connect', () => ready.resolve(channel));
    peer.on('error', ready.reject);
  };
  const channel = {
    send(payload) {
      peer.send(payload);
      if (peer.bufferSize > HIGH) return poll(() => peer.bufferSize <= LOW);
    },
  };
  signalling.hear = (signal) => {
    if (!peer) start();
    peer.signal(signal);
  };
  return {
    connect() {
      if (role === 'caller') start();
      return ready.promise;
    },
    close: () => peer.destroy(),
  };
}

module.exports = { prepare };
