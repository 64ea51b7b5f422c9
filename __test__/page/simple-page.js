'use strict';
// A plain client for a page: simple-peer and the six documented broker messages, as somebody would write it from the
// specification. Knows nothing of linkup.

const SimplePeer = require('simple-peer/simplepeer.min.js');

/**
 * Registers `id`. `call(to)` resolves with a simple-peer that is connected; so does `called` when somebody calls. Its
 * `heardSdp` is the description that the other side has sent. `says` changes its own on the way to the other side.
 */
globalThis.plainClient = async (url, id, says = (sdp) => sdp) => {
  const socket = new WebSocket(url);
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  const peers = new Map();
  let incoming;
  const called = new Promise((resolve) => {
    incoming = resolve;
  });

  const make = (to, initiator) => {
    const peer = new SimplePeer({ initiator });
    peers.set(to, peer);
    peer.on('error', () => {});
    peer.on('signal', (data) => {
      if (data.sdp) data.sdp = says(data.sdp);
      socket.send(JSON.stringify({ message: { type: 'signal', from: id, to, signal: JSON.stringify(data) } }));
    });
    return new Promise((resolve) => peer.on('connect', () => resolve(peer)));
  };

  const registered = new Promise((resolve) => {
    socket.addEventListener('message', ({ data }) => {
      const { id: request, message } = JSON.parse(data);
      if (request) return resolve(message);
      if (!peers.has(message.from)) make(message.from, false).then(incoming);
      const peer = peers.get(message.from);
      const signal = JSON.parse(message.signal);
      peer.heardSdp ??= signal.sdp;
      if (!peer.destroyed) peer.signal(signal);
    });
  });
  socket.send(JSON.stringify({ id: Math.random().toString(), message: { type: 'register', id } }));
  await registered;
  return { call: (to) => make(to, true), called };
};
