'use strict';
// The descriptions of RTCPeerConnections, in SDP: what linkup and the other side need of them.

/** A text without candidates. */
function textOf({ ufrag, pwd, fingerprint, setup, size }) {
  const lines = [
    'v=0',
    `o=- ${ufrag} 2 IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    'a=group:BUNDLE 0',
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    'a=ice-options:trickle',
    `a=fingerprint:sha-256 ${fingerprint}`,
    `a=setup:${setup}`,
    'a=mid:0',
    'a=sctp-port:5000',
    `a=max-message-size:${size}`,
    '',
  ];
  return lines.join('\r\n');
}

/** What a text says; `rest` is it without its candidates. Throws where it is none. */
function read(sdp) {
  const ufrag = /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];
  if (!ufrag) throw new Error('OperationError: this is no description');
  const candidates = [...sdp.matchAll(/^a=(candidate:.*?)\r?\n/gm)].map(([, line]) => line);
  // RFC 8841, section 6.1.
  const size = Number(/^a=max-message-size:(\d+)/m.exec(sdp)?.[1] ?? 65536);
  return { ufrag, size, candidates, rest: sdp.replace(/^a=candidate:.*\n/gm, '') };
}

/** A description to which candidates come later. */
const description = (type, sdp, candidates) => ({
  type,
  get sdp() {
    return sdp + [...candidates].map((line) => `a=${line}\r\n`).join('');
  },
});

module.exports = { description, read, textOf };
