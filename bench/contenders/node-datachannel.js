'use strict';
// node-datachannel: libdatachannel, by its own API.

const { PeerConnection } = require('node-datachannel');
const { deferred, HIGH, LOW } = require('./shared');

async function prepare({ role, signalling, receive }) {
  const ready = deferred();
  let pc;
  let channel;
  let described = false;
  const candidates = [];
  const use = (made) => {
    channel = made;
    channel.onMessage((data) => receive(data.byteLength ?? data.length));
    const open = () => ready.resolve(wrap(channel));
    if (channel.isOpen()) open();
    else channel.onOpen(open);
  };
  const start = () => {
    pc = new PeerConnection('bench', { iceServers: [] });
    pc.onLocalDescription((sdp, type) => signalling.send({ sdp, type }));
    pc.onLocalCandidate((candidate, mid) => signalling.send({ candidate, mid }));
    pc.onDataChannel(use);
  };
  signalling.hear = ({ sdp, type, candidate, mid }) => {
    if (!pc) start();
    if (candidate) candidates.push([candidate, mid]);
    if (sdp) {
      pc.setRemoteDescription(sdp, type);
      described = true;
    }
    // Candidates may overtake the description: the events come from different threads.
    if (described) for (const args of candidates.splice(0)) pc.addRemoteCandidate(...args);
  };
  return {
    connect() {
      if (role === 'caller') {
        start();
        use(pc.createDataChannel('bench'));
      }
      return ready.promise;
    },
    close() {
      channel?.close();
      pc.close();
    },
  };
}

function wrap(channel) {
  let low;
  channel.setBufferedAmountLowThreshold(LOW);
  channel.onBufferedAmountLow(() => low?.());
  return {
    send(payload) {
      // False says that it was buffered, not sent.
      const sent = typeof payload === 'string' ? channel.sendMessage(payload) : channel.sendMessageBinary(payload);
      if (!sent && channel.bufferedAmount() > HIGH) {
        return new Promise((resolve) => {
          low = resolve;
        });
      }
    },
  };
}

module.exports = { prepare };
