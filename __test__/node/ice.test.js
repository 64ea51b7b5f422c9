// STUN and TURN servers from options, with a real coturn.
'use strict';

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const { spawnSync } = require('node:child_process');
const { test, before, after } = require('node:test');
const { Child, linkup, startBroker, within } = require('./helpers');

const missing = spawnSync('turnserver', ['--version']).error && 'coturn is not installed';
if (missing && process.env.CI) throw new Error(missing);

let broker;
let coturn;
let port;
before(async () => {
  if (missing) return;
  broker = await startBroker();
  port = await freePort();
  coturn = new Child('turnserver', [
    ...['-n', '--no-cli', '--no-tls', '--no-dtls', '--log-file=stdout', '--simple-log', '--pidfile=/dev/null'],
    ...['--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', `--listening-port=${port}`, '--allow-loopback-peers'],
    ...['--lt-cred-mech', '--realm=linkup', '--user=someone:secret', '--min-port=49160', '--max-port=49200'],
  ]);
  await within(answers(port), 10_000, `coturn\n${coturn.output}`);
});
after(async () => {
  await coturn?.kill();
  await broker?.close();
});

/** Resolves when a STUN server answers a binding request (RFC 8489). */
async function answers(port) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = dgram.createSocket('udp4');
  const ask = () => socket.send(request, port, '127.0.0.1');
  // Until it listens, what we send is refused or lost.
  socket.on('error', () => {});
  const timer = setInterval(ask, 50);
  await new Promise((resolve) => socket.once('message', resolve));
  clearInterval(timer);
  socket.close();
}

async function freePort() {
  const socket = dgram.createSocket('udp4');
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  socket.close();
  return port;
}

const turn = (more) => [
  { urls: `turn:127.0.0.1:${port}?transport=udp`, username: 'someone', credential: 'secret', ...more },
];

async function connected(options) {
  const a = linkup.createPeer('ice-a', { brokerUrl: broker.url, ...options });
  const b = linkup.createPeer('ice-b', { brokerUrl: broker.url });
  await new Promise((resolve) => b.once('register', resolve));
  const connection = await within(a.connect('ice-b'), 20_000, 'the connection').catch(async (error) => {
    await Promise.all([a.close(), b.close()]);
    throw error;
  });
  const got = new Promise((resolve) => b.once('message', resolve));
  await connection.send('through');
  assert.equal((await within(got, 10_000, 'the message')).message, 'through');
  const stats = await connection.stats();
  await Promise.all([a.close(), b.close()]);
  return stats;
}

test('with iceTransportPolicy relay everything goes through the TURN server', { skip: missing }, async () => {
  const stats = await connected({ iceServers: turn(), iceTransportPolicy: 'relay' });
  assert.equal(stats.path, 'turn');
  assert.equal(stats.localCandidate.type, 'relay');
});

test('the same in simplePeer.config', { skip: missing }, async () => {
  const config = { iceServers: turn(), iceTransportPolicy: 'relay' };
  assert.equal((await connected({ simplePeer: { config } })).path, 'turn');
});

test('without need of it, the path is direct', { skip: missing }, async () => {
  assert.equal((await connected({ iceServers: turn() })).path, 'direct');
});

test('servers that nobody has do not keep anybody from connecting', { skip: missing }, async () => {
  const iceServers = [{ urls: ['stun:127.0.0.1:9', 'turn:127.0.0.1:9?transport=tcp'], username: 'x', credential: 'y' }];
  assert.equal((await connected({ iceServers })).path, 'direct');
});

test('a wrong TURN password fails with ERR_ICE_FAILED and advice', { skip: missing }, async () => {
  const iceServers = turn({ credential: 'wrong' });
  const options = { iceServers, iceTransportPolicy: 'relay', timeouts: { connect: 20_000, idle: 4000 } };
  await assert.rejects(connected(options), (error) => {
    assert.equal(error.code, 'ERR_ICE_FAILED', error.message);
    assert.equal(error.peerId, 'ice-b');
    assert.equal(error.details.local, 0);
    assert.match(error.message, /iceServers/);
    return true;
  });
});
