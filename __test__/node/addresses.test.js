// Host candidates: on every interface, IPv4 and IPv6, and on loopback where it is the only one.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { loopback, scriptArgs } = require('./helpers');

/** The addresses that a peer in that network offers, and whether two peers in it connect. */
async function offered(interfaces, t) {
  const net = loopback(interfaces);
  if (!net.own) return t.skip('takes network namespaces: Linux and root');
  const child = net.run(
    scriptArgs(`
      const WebSocket = require('ws');
      (async () => {
        const broker = linkup.createBroker({ port: 0, host: 'localhost' });
        await broker.ready;
        const socket = new WebSocket(broker.url);
        await new Promise((resolve) => socket.on('open', resolve));
        socket.send(JSON.stringify({ id: 'r', message: { type: 'register', id: 'plain' } }));
        const a = linkup.createPeer('a', { brokerUrl: broker.url, simplePeer: { trickle: false } });
        const b = linkup.createPeer('b', { brokerUrl: broker.url });
        const sdp = new Promise((resolve) => socket.on('message', (text) => {
          const { message } = JSON.parse(text);
          if (message.type === 'signal') resolve(JSON.parse(message.signal).sdp);
        }));
        a.connect('plain').catch(() => {});
        const found = [...(await sdp).matchAll(/^a=candidate:\\S+ 1 udp \\d+ (\\S+) \\d+ typ host/gm)].map((m) => m[1]);
        const connection = await a.connect('b');
        const { localCandidate } = await connection.stats();
        console.log(JSON.stringify({ found, used: localCandidate.address }));
        process.exit();
      })();
    `),
  );
  const line = await child.line('{').finally(() => net.remove());
  return JSON.parse(line);
}

const sorted = (list) => [...new Set(list)].sort();

test('every interface, IPv4 and IPv6', async (t) => {
  const result = await offered({ one: ['192.0.2.2/24', 'fd00::2/64'], two: ['198.51.100.2/24', '2001:db8::2/64'] }, t);
  if (result) assert.deepEqual(sorted(result.found), ['192.0.2.2', '198.51.100.2', '2001:db8::2', 'fd00::2']);
});

test('IPv6 only', async (t) => {
  const result = await offered({ one: ['fd00::2/64'] }, t);
  if (result) assert.ok(result.found.includes('fd00::2'), String(result.found));
});

test('loopback where it is the only one', async (t) => {
  const result = await offered({}, t);
  if (result) assert.deepEqual(sorted(result.found), ['127.0.0.1', '::1']);
});
