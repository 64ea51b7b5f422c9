'use strict';
// What a router really does, in the terms of RFC 4787.
//
//   node probe.js serve ONE OTHER         in `pub`: two addresses, on two ports each
//   node probe.js ask ONE OTHER BROKER6   behind the router: prints as JSON {udp, mapping, filtering}, and whether TCP
//                                         reaches the ports 3478 and 443 of ONE, and 443 of BROKER6: {tcp, https, v6}

const dgram = require('node:dgram');
const { once } = require('node:events');
const net = require('node:net');

const PORTS = [6001, 6002];

/** Milliseconds after which something does not come any more. Longer than any answer takes on a busy machine. */
const NEVER = 1500;

async function bound(address, port) {
  const socket = dgram.createSocket(address?.includes(':') ? 'udp6' : 'udp4');
  socket.bind(port, address);
  await once(socket, 'listening');
  return socket;
}

/** Says to who asks at which address and port it is seen, from each socket that it names, in that order. */
async function serve(addresses) {
  const sockets = new Map();
  for (const address of addresses) {
    for (const port of PORTS) sockets.set(`${address} ${port}`, await bound(address, port));
  }
  for (const socket of sockets.values()) {
    socket.on('message', (message, { address, port }) => {
      for (const from of JSON.parse(message)) {
        sockets.get(from)?.send(JSON.stringify({ from, seen: `${address} ${port}` }), port, address);
      }
    });
  }
  console.log('serving');
}

/**
 * Asks one socket for answers of several; the last is the asked one's own. By then the others have come, if they come at
 * all. Resolves with what was seen, by who answered; undefined where nothing comes.
 */
async function ask(socket, to, others = []) {
  const heard = {};
  const [address, port] = to.split(' ');
  const answered = new Promise((resolve) => {
    socket.on('message', (message) => {
      const { from, seen } = JSON.parse(message);
      heard[from] = seen;
      if (from === to) resolve(heard);
    });
  });
  socket.send(JSON.stringify([...others, to]), Number(port), address);
  const result = await Promise.race([answered, new Promise((resolve) => setTimeout(resolve, NEVER))]);
  socket.removeAllListeners('message');
  return result;
}

async function passes(address, port) {
  const socket = net.connect(port, address);
  const timer = setTimeout(() => socket.destroy(), NEVER);
  const connected = await new Promise((resolve) => {
    socket
      .on('connect', () => resolve(true))
      .on('error', () => {})
      .on('close', () => resolve(false));
  });
  clearTimeout(timer);
  socket.destroy();
  return connected;
}

async function udp(one, other) {
  const [first, second, third, fourth] = [one, other].flatMap((address) => PORTS.map((port) => `${address} ${port}`));
  const socket = await bound(undefined, 0);
  const dependence = (address, any) =>
    address ? 'endpoint-independent' : any ? 'address-dependent' : 'port-dependent';
  const seen = [(await ask(socket, first))?.[first]];
  if (!seen[0]) return { udp: false };
  for (const to of [second, third]) seen.push((await ask(socket, to))?.[to]);
  socket.close();
  const mapping = dependence(new Set(seen).size === 1, seen[0] === seen[1]);
  // A fresh one: the first has been everywhere.
  const fresh = await bound(undefined, 0);
  const heard = await ask(fresh, first, [fourth, second]);
  fresh.close();
  return { udp: true, mapping, filtering: dependence(heard[fourth], heard[second]) };
}

async function main(what, one, other, broker6) {
  if (what === 'serve') return serve([one, other]);
  const streams = [passes(one, 3478), passes(one, 443), passes(broker6, 443)];
  const [found, tcp, https, v6] = await Promise.all([udp(one, other), ...streams]);
  console.log(JSON.stringify({ ...found, tcp, https, v6 }));
  process.exit();
}

main(...process.argv.slice(2));
