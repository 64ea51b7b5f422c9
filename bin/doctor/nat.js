'use strict';
// What is between this machine and the internet, in the terms of RFC 4787, for UDP over IPv4 or IPv6: whether anything
// leaves, which address others see, whether it is the same one for all, and who may answer. Asks STUN and TURN servers.

const { BlockList } = require('node:net');
const os = require('node:os');
const { Allocation } = require('./allocation');
const { TYPES, ATTRIBUTES, addressIn } = require('./stun');
const { UdpSocket } = require('./udp');

/** Milliseconds that a server has for its answers, and how long something takes at most that may never come. */
const ANSWER = 3000;
const LATE = 600;

/** Addresses that mean something in one machine or network only. */
const inside = new BlockList();
for (const [net, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
]) {
  inside.addSubnet(net, prefix, 'ipv4');
}
for (const [net, prefix] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
]) {
  inside.addSubnet(net, prefix, 'ipv6');
}

const isInside = (address, family) => inside.check(address, `ipv${family}`);

const isOwn = (address) =>
  Object.values(os.networkInterfaces())
    .flat()
    .some((own) => own.address === address);

const text = ({ address, port }) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

/** Asks each server how it sees us. They get {ms, mapped, refused}; nothing, where they do not answer. */
async function askAll(socket, servers, ms) {
  const answers = servers.map(async (server) => {
    const answer = await socket.ask(server, ms, TYPES.BINDING);
    return answer && { server, ms: answer.ms, mapped: addressIn(answer, ATTRIBUTES.MAPPED) };
  });
  return (await Promise.all(answers)).filter((answer) => answer?.mapped);
}

/** Does what only a relayed address can: {mapped, reachable, filtering}, as far as the server helps. */
async function askRelay(socket, family, { server, mapped }, isCone) {
  const allocation = await Allocation.open(socket, server, family, LATE * 2);
  if (!allocation) return {};
  try {
    // A server in the same network does not relay into it.
    if (!(await allocation.permit(mapped))) return {};
    const again = await allocation.seen('linkup doctor: mapping', LATE * 2);
    if (!again) return { relayed: text(allocation.relayed), reachable: false };
    const found = { mapped: again, reachable: true };
    if (!isCone(again)) return found;
    // From a socket that has not written there: and after the mapping is known, since some routers change it when
    // something unexpected comes in.
    const fresh = await UdpSocket.open(family);
    try {
      const [seen] = await askAll(fresh, [server], LATE * 2);
      if (!seen) return found;
      const reached = await allocation.reaches(seen.mapped, fresh, 'linkup doctor: filtering', LATE + seen.ms);
      return { ...found, filtering: reached ? 'by address at most' : 'by port' };
    } finally {
      fresh.close();
    }
  } finally {
    await allocation.close();
  }
}

/**
 * Looks at the network over IPv4 or IPv6.
 *
 * @param {4 | 6} family
 * @param {{address: string, port: number, username?: string, credential?: string}[]} servers STUN and TURN, at different
 *   addresses; those with credentials may be asked to relay
 * @returns {Promise<{kind: 'none' | 'cone' | 'symmetric' | 'blocked' | 'unknown', answers: object[], mapped?: string,
 *   filtering?: string, inside?: boolean, relayed?: string}>} `answers`: of the servers, with their milliseconds; `inside`:
 *   they are in this network themselves; `relayed`: an address that a server relays from, but not to
 */
async function lookAt(family, servers) {
  const socket = await UdpSocket.open(family);
  if (!socket) return { kind: 'blocked', answers: [] };
  try {
    const answers = await askAll(socket, servers, ANSWER);
    if (answers.length === 0) return { kind: 'blocked', answers };
    // Who is in the same network sees what is before the NAT.
    const outside = answers.filter(({ mapped }) => !isInside(mapped.address, family));
    if (outside.length === 0) return { kind: 'unknown', inside: true, answers, mapped: text(answers[0].mapped) };
    const { mapped } = outside[0];
    const isSame = (other) => text(other) === text(mapped);
    const relaying = outside.find(({ server }) => server.username && server.credential);
    const relay = relaying ? await askRelay(socket, family, relaying, isSame) : {};
    const seen = [...outside.map((answer) => answer.mapped), ...(relay.mapped ? [relay.mapped] : [])];
    const is = (kind) => ({
      kind,
      answers,
      mapped: text(mapped),
      ...(relay.filtering && { filtering: relay.filtering }),
      ...(relay.reachable === false && { relayed: relay.relayed }),
    });
    if (isOwn(mapped.address) && mapped.port === socket.port) return is('none');
    if (!seen.every(isSame)) return is('symmetric');
    return is(seen.length > 1 ? 'cone' : 'unknown');
  } finally {
    socket.close();
  }
}

module.exports = { lookAt };
