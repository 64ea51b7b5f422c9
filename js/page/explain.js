'use strict';
// Why no pair of addresses works, and what to do about it, from what the browser tells. The same in Rust:
// crates/driver/src/transport/negotiate.rs.

/** Of a server that said no; from 700 on it is one that was not reached. */
const UNREACHED = 700;

/** The addresses of a description, with those that came later. */
function addresses(description) {
  const lines = description?.sdp.match(/^a=candidate:.*$/gm) ?? [];
  return lines.map((line) => {
    const [, , protocol, , address, port, , type] = line.split(' ');
    return { type, address, port: Number(port), protocol: protocol.toLowerCase() };
  });
}

/**
 * What the `details` of an ERR_ICE_FAILED are: candidates of both sides, servers and what came of them, advice.
 *
 * @param {RTCPeerConnection} pc
 * @param {RTCIceServer[]} iceServers
 * @param {Map<string, RTCPeerConnectionIceErrorEvent>} errors by the URLs of the servers; not every browser has them
 */
function explain({ localDescription, remoteDescription }, iceServers = [], errors) {
  const [local, remote] = [localDescription, remoteDescription].map(addresses);
  const servers = iceServers
    .flatMap(({ urls }) => urls)
    .map((url) => {
      const { errorCode, errorText } = errors.get(url) ?? {};
      const refuses = errorCode < UNREACHED;
      const wanted = /^turn/.test(url) ? 'relay' : 'srflx';
      const answered = refuses || local.some(({ type }) => type === wanted);
      return { url, answered, error: refuses ? `${errorCode} ${errorText}` : null };
    });
  const refusing = servers.find(({ error }) => error);
  const silent = servers.find(({ answered }) => !answered);
  let advice = 'Where the two are not in one network they need a STUN and a TURN server in iceServers.';
  if (remote.length === 0 && local.length > 0) {
    advice = 'Not one address of the remote arrived: look at its network and at its iceServers.';
  } else if (refusing) advice = `Look at the credentials for ${refusing.url}: it refuses.`;
  else if (silent) advice = `Look at ${silent.url}, and whether this network lets you reach it: it did not answer.`;
  else if (servers.length > 0) {
    advice = 'Add a TURN server that both sides reach to iceServers: at least one network lets nothing else through.';
  }
  return { local, remote, servers, advice };
}

module.exports = { explain };
