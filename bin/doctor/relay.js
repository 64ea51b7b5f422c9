'use strict';
// Whether a TURN server can be reached, and whether two peers of this process meet, which are made so that they need it.

const net = require('node:net');
const tls = require('node:tls');
const { TYPES } = require('./stun');
const { UdpSocket, within } = require('./udp');

/** Milliseconds after which nobody answers any more. */
const ANSWER = 3000;

/** Opens a stream to a server; resolves with {reached, error, untrusted}, in words of Node.js. */
async function openStream({ host, secure }, { address, port }) {
  let socket;
  const opened = await within(ANSWER, (finish) => {
    const options = { host: address, port };
    if (secure) {
      const servername = net.isIP(host) ? '' : host;
      // What is wrong with the certificate is of interest where the peers do not like it either.
      const checkServerIdentity = (_, certificate) => tls.checkServerIdentity(host, certificate);
      socket = tls.connect({ ...options, servername, checkServerIdentity, rejectUnauthorized: false });
    } else socket = net.connect(options);
    socket.on(secure ? 'secureConnect' : 'connect', () =>
      finish({ reached: true, untrusted: socket.authorizationError && String(socket.authorizationError) }),
    );
    socket.on('error', ({ code, message }) => finish({ reached: false, error: code ?? message }));
    return () => {};
  });
  socket.destroy();
  return opened ?? { reached: false };
}

/** Whether a TURN server answers over UDP: without credentials it says that it wants some. */
async function askUdp(address) {
  const socket = await UdpSocket.open(net.isIP(address.address));
  const answer = await socket?.ask(address, ANSWER, TYPES.ALLOCATE);
  socket?.close();
  return { reached: answer !== undefined };
}

/** Resolves with the first address at which the server is reached: {reached, error, untrusted}. */
async function reach(server) {
  const ask = server.transport === 'udp' ? askUdp : (address) => openStream(server, address);
  const tried = await Promise.all(server.addresses.map(ask));
  return tried.find(({ reached }) => reached) ?? tried.find(({ error }) => error) ?? { reached: false };
}

/**
 * Two peers connect, and one sends the other a message.
 *
 * @param {() => Promise<Peer>} register makes a registered peer
 * @param {AbortSignal} signal ends it
 * @returns {Promise<{path: string, connect: number, message: number} | {error: Error}>} the way, and milliseconds
 */
async function meet(register, signal) {
  try {
    const [one, other] = await Promise.all([register(), register()]);
    const start = performance.now();
    const connection = await one.connect(other.id, { signal });
    const connected = performance.now();
    await connection.send('linkup doctor', { ack: true, signal });
    const ms = (from, to) => Math.round(to - from);
    return { path: connection.path, connect: ms(start, connected), message: ms(connected, performance.now()) };
  } catch (error) {
    return { error };
  }
}

module.exports = { reach, meet };
