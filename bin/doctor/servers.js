'use strict';
// The URLs of STUN and TURN servers (RFC 7064, RFC 7065): what they say, and the addresses behind their names.

const { isIP } = require('node:net');

/** Milliseconds for a name server. */
const LOOKUP = 3000;

/**
 * What a URL says: {url, scheme, host, port, transport: 'udp' | 'tcp', secure, usable}; undefined where it is none. `usable`:
 * linkup can use it in Node.js.
 */
function parse(url) {
  const parts = /^(stuns?|turns?):(\[[\da-fA-F:.]+\]|[^\s:?/[\]@]+)(?::(\d{1,5}))?(?:\?transport=(udp|tcp))?$/.exec(
    url,
  );
  if (!parts) return undefined;
  const [, scheme, name, given, query] = parts;
  const secure = scheme.endsWith('s');
  const port = Number(given ?? (secure ? 5349 : 3478));
  const transport = scheme === 'stun' ? 'udp' : (query ?? (secure ? 'tcp' : 'udp'));
  const usable = scheme !== 'stuns' && !(secure && transport === 'udp') && port > 0 && port < 65536;
  return { url, scheme, host: name.replace(/^\[|\]$/g, ''), port, transport, secure, usable };
}

/** The servers in the list of a broker, a URL each, with `addresses`: [{address, port}]. `lookup(name)` asks a name server. */
async function serversOf(list, lookup) {
  const servers = list.flatMap(({ urls, username, credential }) =>
    urls.map((url) => ({ url, ...parse(url), username, credential })),
  );
  const names = new Map();
  const find = (host) => {
    if (isIP(host)) return [host];
    if (!names.has(host)) names.set(host, lookup(host, LOOKUP));
    return names.get(host);
  };
  const found = servers.map(async (server) => {
    const hosts = server.usable ? await find(server.host) : [];
    return { ...server, addresses: hosts.map((address) => ({ address, port: server.port })) };
  });
  return Promise.all(found);
}

/** The addresses to ask over UDP by IPv4 or IPv6, each once: with credentials where one is of TURN. */
function udpAddresses(servers, family) {
  const addresses = new Map();
  for (const { transport, username, credential, scheme, addresses: found } of servers) {
    if (transport !== 'udp') continue;
    for (const { address, port } of found) {
      if (isIP(address) !== family) continue;
      const login = scheme === 'turn' ? { username, credential } : addresses.get(`${address} ${port}`);
      addresses.set(`${address} ${port}`, { ...login, address, port });
    }
  }
  return [...addresses.values()];
}

module.exports = { parse, serversOf, udpAddresses };
