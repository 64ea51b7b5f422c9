// createBroker's option `turn`, and the flags of `linkup broker`. What TURN itself does is tested in crates/broker.
'use strict';

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const { test } = require('node:test');
const WebSocket = require('ws');
const { linkup, node, within } = require('./helpers');

/** What a peer that registers is told by a broker. */
async function ice(brokerUrl) {
  const socket = new WebSocket(brokerUrl);
  const ask = async (message) => {
    socket.send(JSON.stringify({ id: '1', message }));
    return JSON.parse(await new Promise((resolve) => socket.once('message', resolve)));
  };
  await new Promise((resolve) => socket.once('open', resolve));
  await ask({ type: 'register', id: 'alice' });
  const { message, error } = await ask({ type: 'ice' });
  socket.terminate();
  assert.equal(error, null);
  return message;
}

/** Sends a STUN Binding request; resolves with the type of the answer. */
async function binding(port) {
  const socket = dgram.createSocket('udp4');
  const answer = new Promise((resolve) => socket.once('message', resolve));
  socket.send(Buffer.from(`000100002112a442${'07'.repeat(12)}`, 'hex'), port, '127.0.0.1');
  const message = await within(answer, 10_000, 'the answer to Binding');
  socket.close();
  return message.readUInt16BE(0);
}

test('createBroker with turn tells its peers and answers', async () => {
  const turn = { port: 0, ttl: 60, secret: 'north', urls: ['stun:s.example'], allow: ['127.0.0.0/8'] };
  const broker = linkup.createBroker({ port: 0, host: '127.0.0.1', turn });
  await broker.ready;
  const port = Number(broker.turnAddresses[0].split(':')[1]);
  assert.equal(await binding(port), 0x0101);
  const { iceServers, ttl } = await ice(broker.url);
  assert.equal(ttl, 60);
  assert.deepEqual(iceServers[0].urls, [
    `stun:127.0.0.1:${port}`,
    `turn:127.0.0.1:${port}?transport=udp`,
    `turn:127.0.0.1:${port}?transport=tcp`,
    'stun:s.example',
  ]);
  assert.match(iceServers[0].username, /^\d+:alice$/);
  await broker.close();
});

test('createBroker without turn tells of none', async () => {
  const broker = linkup.createBroker({ port: 0, host: '127.0.0.1' });
  await broker.ready;
  assert.deepEqual(broker.turnAddresses, []);
  assert.deepEqual((await ice(broker.url)).iceServers, []);
  await broker.close();
});

test('createBroker says which option of turn is wrong', async () => {
  for (const [turn, name] of [
    [5, 'options.turn'],
    [{ prot: 1 }, 'options.turn.prot'],
    [{ port: 70_000 }, 'options.turn.port'],
    [{ address: 'a.example' }, 'options.turn.address'],
    [{ cert: 'cert.pem' }, 'options.turn.cert'],
    [{ allow: '10.0.0.0/8' }, 'options.turn.allow'],
    [{ relayPorts: [2, 1] }, 'options.turn.relayPorts'],
    [{ ttl: -1 }, 'options.turn.ttl'],
  ]) {
    assert.throws(() => linkup.createBroker({ turn }), { name: 'TypeError', message: new RegExp(`^${name}`) });
  }
  for (const [turn, part] of [
    [{ port: 0, allow: ['10.0.0.0/33'] }, '10.0.0.0/33'],
    [{ port: false, urls: ['turn:t.example'] }, 'turn:t.example'],
    [{ port: 0, cert: '/no/cert.pem', key: '/no/key.pem' }, '/no/cert.pem'],
  ]) {
    const broker = linkup.createBroker({ port: 0, host: '127.0.0.1', turn });
    await assert.rejects(broker.ready, (error) => error.message.includes(part));
  }
});

test('linkup broker: --turn-port, --no-turn, wrong values', async () => {
  const args = ['bin/linkup.js', 'broker', '--port', '0', '--host', '127.0.0.1'];
  const url = (line) => /ws:\/\/\S+/.exec(line)[0];
  const on = node([...args, '--turn-port', '0', '--turn-address', '198.51.100.7']);
  const { iceServers } = await ice(url(await on.line('listening on ws://')));
  assert.match(iceServers[0].urls[0], /^stun:198\.51\.100\.7:\d+$/);
  await on.kill();
  const off = node([...args, '--turn-port', '0', '--no-turn']);
  assert.deepEqual((await ice(url(await off.line('listening on ws://')))).iceServers, []);
  await off.kill();
  for (const wrong of ['--turn-port=x', '--turn-ports=5', '--turn-address=h', '--tls-key=k']) {
    const { code, output } = await node([...args, '--turn-port', '0', wrong]).exited;
    assert.equal(code, 2, `${wrong}: ${output}`);
  }
});

test('peers that name no ICE servers use those of their broker, and know when they are relayed', async () => {
  const turn = { port: 0, allow: ['127.0.0.0/8'] };
  const broker = await linkup.createBroker({ port: 0, host: '127.0.0.1', turn }).ready;
  const peerOf = (id, options) => linkup.createPeer(id, { brokerUrl: broker.url, ...options });
  // Right away: what is asked for before the registration waits for the servers, too.
  const [a, b] = ['a', 'b'].map((id) => peerOf(id, { iceTransportPolicy: 'relay' }));
  await within(new Promise((resolve) => b.once('register', resolve)), 10_000, 'registration');
  const incoming = new Promise((resolve) => b.once('connection', resolve));
  const connection = await within(a.connect('b'), 20_000, 'the relayed connection');
  const other = await incoming;
  assert.deepEqual([connection.path, other.path], ['turn', 'turn']);
  const messages = [];
  other.on('message', (message) => messages.push(message.length));
  for (const size of [10, 100_000, 1_000_000]) {
    await within(connection.send(Buffer.alloc(size), { ack: true }), 10_000, `${size} bytes by the relay`);
  }
  assert.deepEqual(messages, [10, 100_000, 1_000_000]);
  // Who names none at all has none.
  const alone = peerOf('alone', { iceTransportPolicy: 'relay', iceServers: [], timeouts: { connect: 3000 } });
  await assert.rejects(alone.connect('b'), ({ code }) => ['ERR_ICE_FAILED', 'ERR_CONNECT_TIMEOUT'].includes(code));
  const open = peerOf('open');
  assert.equal((await open.connect('b')).path, 'turn', 'the other side allows nothing else');
  await Promise.all([a, b, alone, open].map((peer) => peer.close()));
  await broker.close();
});
