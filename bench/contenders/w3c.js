'use strict';
// An end of a contender that has the browser's RTCPeerConnection. Trickles its candidates.

const { deferred, HIGH, LOW } = require('./shared');

/** Makes `prepare` for a class. `low(channel)` resolves when little is buffered. */
function w3c(RTCPeerConnection, low) {
  return async ({ role, signalling, receive }) => {
    const ready = deferred();
    let pc;
    const use = (channel) => {
      channel.binaryType = 'arraybuffer';
      channel.onmessage = ({ data }) => receive(data.byteLength ?? data.length);
      const open = () => ready.resolve(wrap(channel, low));
      if (channel.readyState === 'open') open();
      else channel.onopen = open;
    };
    const start = () => {
      pc = new RTCPeerConnection({ iceServers: [] });
      pc.onicecandidate = ({ candidate }) => {
        if (candidate) signalling.send({ candidate: candidate.toJSON?.() ?? candidate });
      };
      pc.ondatachannel = ({ channel }) => use(channel);
    };
    const describe = async (description) => {
      await pc.setLocalDescription(description);
      signalling.send({ description: { type: description.type, sdp: description.sdp } });
    };

    // One after the other: a candidate may come while the description is being set.
    let before = Promise.resolve();
    signalling.hear = (signal) => {
      before = before.then(() => hear(signal)).catch(ready.reject);
    };
    async function hear({ description, candidate }) {
      if (!pc) start();
      if (candidate) return pc.addIceCandidate(candidate);
      await pc.setRemoteDescription(description);
      if (description.type === 'offer') await describe(await pc.createAnswer());
    }

    return {
      async connect() {
        if (role === 'caller') {
          start();
          use(pc.createDataChannel('bench'));
          await describe(await pc.createOffer());
        }
        return ready.promise;
      },
      close: () => pc.close(),
    };
  };
}

/** A channel whose `send` returns a promise where the sender has to wait. */
function wrap(channel, low) {
  channel.bufferedAmountLowThreshold = LOW;
  return {
    send(payload) {
      channel.send(payload);
      if (channel.bufferedAmount > HIGH) return low(channel);
    },
  };
}

module.exports = { w3c };
