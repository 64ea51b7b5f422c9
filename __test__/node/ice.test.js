// STUN and TURN servers from options, with a real coturn.
'use strict';

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { test, before, after } = require('node:test');
const { Child, freePort, linkup, scriptArgs, selfSigned, startBroker, within } = require('./helpers');

const missing = spawnSync('turnserver', ['--version']).error && 'coturn is not installed';
if (missing && process.env.CI) throw new Error(missing);

let broker;
let coturn;
let port;
/** A coturn for networks that let no UDP through, with a certificate that nobody trusts by itself. */
let streams;
let folder;
let [tcpPort, tlsPort] = [];

function turnServer(port, ports, more) {
  return new Child('turnserver', [
    ...['-n', '--no-cli', '--no-dtls', '--log-file=stdout', '--simple-log', '--pidfile=/dev/null'],
    ...['--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', `--listening-port=${port}`, '--allow-loopback-peers'],
    ...[
      '--lt-cred-mech',
      '--realm=linkup',
      '--user=someone:secret',
      `--min-port=${ports[0]}`,
      `--max-port=${ports[1]}`,
    ],
    ...more,
  ]);
}

before(async () => {
  if (missing) return;
  broker = await startBroker();
  port = await freePort();
  coturn = turnServer(port, [49160, 49200], ['--no-tls']);
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-turn-'));
  const { key, certificate } = selfSigned(folder, '127.0.0.1');
  [tcpPort, tlsPort] = [await freePort(), await freePort()];
  const tls = [`--tls-listening-port=${tlsPort}`, `--cert=${certificate}`, `--pkey=${key}`];
  streams = turnServer(tcpPort, [49210, 49250], ['--no-udp', ...tls]);
  await answers(port, coturn);
  for (const port of [tcpPort, tlsPort]) await listens(port, streams);
});
after(async () => {
  await coturn?.kill();
  await streams?.kill();
  await broker?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

/** Resolves when `server` listens there. */
async function listens(port, server) {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    const socket = net.connect(port, '127.0.0.1');
    const connected = await new Promise((resolve) => {
      socket.on('connect', () => resolve(true)).on('error', () => setTimeout(resolve, 50, false));
    });
    socket.destroy();
    if (connected) return;
  }
  throw new Error(`it does not listen\n${server.output}`);
}

/** Resolves when `server` answers a binding request (RFC 8489). */
async function answers(port, server) {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(1, 0);
  request.writeUInt32BE(0x2112a442, 4);
  const socket = dgram.createSocket('udp4');
  const ask = () => socket.send(request, port, '127.0.0.1');
  // Until it listens, what we send is refused or lost.
  socket.on('error', () => {});
  const timer = setInterval(ask, 50);
  const answer = new Promise((resolve) => socket.once('message', resolve));
  try {
    await within(answer, 10_000, () => `coturn\n${server.output}`);
  } finally {
    clearInterval(timer);
    socket.close();
  }
}

const turn = (more) => [
  { urls: `turn:127.0.0.1:${port}?transport=udp`, username: 'someone', credential: 'secret', ...more },
];

async function connected(options, message = 'through') {
  const a = linkup.createPeer('ice-a', { brokerUrl: broker.url, ...options });
  const b = linkup.createPeer('ice-b', { brokerUrl: broker.url });
  await new Promise((resolve) => b.once('register', resolve));
  const connection = await within(a.connect('ice-b'), 20_000, 'the connection').catch(async (error) => {
    await Promise.all([a.close(), b.close()]);
    throw error;
  });
  const got = new Promise((resolve) => b.once('message', resolve));
  await connection.send(message);
  assert.equal((await within(got, 10_000, 'the message')).message, message);
  const stats = await connection.stats();
  await Promise.all([a.close(), b.close()]);
  return stats;
}

test('with iceTransportPolicy relay everything goes through the TURN server', { skip: missing }, async () => {
  const stats = await connected({ iceServers: turn(), iceTransportPolicy: 'relay' });
  assert.equal(stats.path, 'turn');
  assert.equal(stats.localCandidate.type, 'relay');
});

const overStream = (url) => ({
  iceServers: [{ urls: url, username: 'someone', credential: 'secret' }],
  iceTransportPolicy: 'relay',
});

test('a TURN server that takes no UDP is reached over TCP', { skip: missing }, async () => {
  const stats = await connected(overStream(`turn:127.0.0.1:${tcpPort}?transport=tcp`));
  assert.deepEqual([stats.path, stats.localCandidate.type], ['turn', 'relay']);
});

test('large messages go through TCP whole', { skip: missing }, async () => {
  const text = 'x'.repeat(3_000_000);
  await connected(overStream(`turn:127.0.0.1:${tcpPort}?transport=tcp`), text);
});

test('a TURN server is reached over TLS, if its certificate is good', { skip: missing }, async () => {
  const options = { ...overStream(`turns:127.0.0.1:${tlsPort}?transport=tcp`), timeouts: { idle: 4000 } };
  await assert.rejects(connected(options), { code: 'ERR_ICE_FAILED' });
  process.env.SSL_CERT_FILE = path.join(folder, 'certificate.pem');
  try {
    assert.equal((await connected(options)).path, 'turn');
  } finally {
    delete process.env.SSL_CERT_FILE;
  }
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
    const { local, servers, advice } = error.details;
    assert.deepEqual(local, []);
    assert.deepEqual([servers.length, servers[0].url, servers[0].answered], [1, iceServers[0].urls, true]);
    assert.match(servers[0].error, /401/);
    assert.match(advice, /credentials for "turn:/);
    assert.ok(error.message.endsWith(advice));
    return true;
  });
});

test('a server that does not answer is named', { skip: missing }, async () => {
  const nobody = await freePort();
  const iceServers = [{ urls: `turn:127.0.0.1:${nobody}?transport=tcp`, username: 'x', credential: 'y' }];
  await assert.rejects(connected({ iceServers, iceTransportPolicy: 'relay' }), ({ code, details }) => {
    assert.equal(code, 'ERR_ICE_FAILED');
    assert.deepEqual(details.servers, [{ url: iceServers[0].urls, answered: false, error: null }]);
    assert.match(details.advice, new RegExp(`${nobody}.*did not answer`));
    return true;
  });
});

test('where no path works, the addresses of both sides are named', { skip: missing }, async () => {
  // Relays of loopback only, that nobody reaches from another address.
  const options = { iceServers: turn(), iceTransportPolicy: 'relay', timeouts: { idle: 2000 } };
  const child = new Child(
    process.execPath,
    scriptArgs(`
    const peer = linkup.createPeer('ice-far', { brokerUrl: ${JSON.stringify(broker.url)}, timeouts: { idle: 2000 },
      simplePeer: { sdpTransform: (sdp) => sdp.replace(/(a=candidate:.* udp \\d+ )\\S+/g, '$1192.0.2.99') } });
    peer.on('register', () => console.log('registered'));`),
  );
  await child.line('registered');
  const peer = linkup.createPeer('ice-a', { brokerUrl: broker.url, ...options });
  try {
    await assert.rejects(peer.connect('ice-far'), ({ code, details }) => {
      assert.equal(code, 'ERR_ICE_FAILED');
      assert.deepEqual([details.local[0].type, details.local[0].protocol], ['relay', 'udp']);
      assert.deepEqual([details.remote[0].type, details.remote[0].address], ['host', '192.0.2.99']);
      assert.deepEqual(details.servers, [{ url: turn()[0].urls, answered: true, error: null }]);
      return true;
    });
  } finally {
    await peer.close();
    await child.kill();
  }
});
