// `linkup doctor`. What it says behind the different kinds of routers is tested in __test__/nat.
'use strict';

const assert = require('node:assert/strict');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { WebSocketServer } = require('ws');
const { freePort, linkup, node, selfSigned, within } = require('./helpers');

/** Runs it: its code, what it prints, and the lines about something. */
async function doctor(args, env = {}) {
  const ended = node(['bin/linkup.js', 'doctor', ...args, '--json'], { env }).exited;
  const { code, output } = await within(ended, 30_000, 'the end of the doctor');
  const report = JSON.parse(output);
  assert.equal(report.ok, code === 0, output);
  return { code, output, report, of: (name) => report.checks.filter(({ check }) => check === name) };
}

/** Limits of a broker: no connections over itself. */
const NO_RELAY = { relay: 0 };

/** A broker on loopback, whose TURN relays there. */
async function brokerWith(turn, limits) {
  const allow = ['127.0.0.0/8'];
  return linkup.createBroker({ port: 0, host: '127.0.0.1', turn: { port: 0, allow, ...turn }, limits }).ready;
}

const turnPort = (broker) => Number(broker.turnAddresses[0].split(':')[1]);

test('a broker with STUN and TURN is all right', async () => {
  const broker = await brokerWith();
  const { code, output, report, of } = await doctor([broker.url]);
  assert.equal(code, 0, output);
  assert.equal(report.broker, broker.url);
  assert.deepEqual([of('broker')[0].status, of('stun')[0].status], ['ok', 'ok'], output);
  assert.deepEqual(
    of('turn').map(({ url, status }) => [url.split('=')[1], status]),
    [
      ['udp', 'ok'],
      ['tcp', 'ok'],
    ],
    output,
  );
  // Whoever asks on the same machine sees no NAT, and must not say that there is none.
  assert.deepEqual([of('nat')[0].status, of('nat')[0].nat], ['note', 'unknown'], output);
  for (const { status, found, means, advice } of report.checks) {
    for (const sentence of [found, means]) assert.match(sentence, /^[^\n]+[.]$/);
    if (status === 'problem') assert.ok(advice);
  }
  assert.doesNotMatch(output, /credential|username/);
  // The same for people, and by default for the broker that peers use by default.
  const people = await node(['bin/linkup.js', 'doctor'], { env: { LINKUP_BROKER_URL: broker.url } }).exited;
  assert.equal(people.code, 0, people.output);
  assert.match(people.output, /^ok +broker +ws:.+registers a peer in \d+ ms/);
  assert.match(people.output, /^ok +turn +turn:.+transport=tcp relays: /m);
  assert.match(people.output, /Peers on this network will reach everybody who uses this broker\.\n$/);
  await broker.close();
});

test('without a broker it says how to run one', async () => {
  const url = `ws://127.0.0.1:${await freePort()}`;
  const { code, output, report } = await doctor([], { LINKUP_BROKER_URL: url });
  assert.equal(code, 1);
  const [broker, ...rest] = report.checks;
  assert.deepEqual([broker.status, broker.code, rest], ['problem', 'ERR_BROKER_UNREACHABLE', []], output);
  assert.ok(broker.found.includes(url), output);
  assert.match(broker.advice, /npx linkup broker/);
});

test('what is no broker is said not to be one', async () => {
  const web = http.createServer((_, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
  await once(web, 'listening');
  const { code, output } = await doctor([`ws://127.0.0.1:${web.address().port}`]);
  assert.equal(code, 1);
  assert.match(output, /is no broker: .*404/);
  web.close();
  // One that takes connections, and says nothing.
  const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const answer = await doctor([`ws://127.0.0.1:${silent.address().port}`]);
  assert.equal(answer.code, 1);
  assert.match(answer.of('broker')[0].found, /does not answer/);
  silent.close();
});

test('a broker that registers a peer and then says nothing', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  server.on('connection', (socket) =>
    socket.on('message', (text) => {
      const { id, message } = JSON.parse(text);
      if (message.type === 'register') socket.send(JSON.stringify({ id, message: message.id, error: null }));
    }),
  );
  const { code, output, of } = await doctor([`ws://127.0.0.1:${server.address().port}`]);
  assert.equal(code, 1);
  assert.match(of('broker')[0].found, /does not find it afterwards/, output);
  assert.match(of('turn')[0].found, /does not say which STUN and TURN servers/, output);
  for (const socket of server.clients) socket.terminate();
  server.close();
});

test('a broker that names no servers', async () => {
  for (const [limits, code, status] of [
    [{}, 0, 'note'],
    [NO_RELAY, 1, 'problem'],
  ]) {
    const broker = await linkup.createBroker({ port: 0, host: '127.0.0.1', limits }).ready;
    const answer = await doctor([broker.url]);
    assert.equal(answer.code, code, answer.output);
    const [turn] = answer.of('turn');
    assert.deepEqual([turn.status, turn.found], [status, 'The broker names no STUN and no TURN server.']);
    assert.match(turn.advice, /npx linkup broker has it on by default/);
    assert.equal(answer.of('relay').length, code === 0 ? 1 : 0, answer.output);
    await broker.close();
  }
});

test('a TURN server that refuses the credentials', async () => {
  const theirs = await brokerWith({ secret: 'north' });
  const urls = [`turn:127.0.0.1:${turnPort(theirs)}?transport=udp`];
  const broker = await brokerWith({ secret: 'south', urls });
  const { code, output, of } = await doctor([broker.url]);
  assert.equal(code, 1, 'whatever else relays');
  const [line] = of('turn').filter(({ url }) => url === urls[0]);
  assert.equal(line.status, 'problem', output);
  assert.match(line.found, /refuses to relay: .*401/);
  assert.match(line.advice, /credentials/);
  await Promise.all([broker.close(), theirs.close()]);
});

test('a STUN server that does not answer', async () => {
  const silent = dgram.createSocket('udp4');
  await new Promise((resolve) => silent.bind(0, '127.0.0.1', resolve));
  const urls = [`stun:127.0.0.1:${silent.address().port}`];
  for (const [turn, code, status] of [
    [{ port: false, secret: 'north', urls }, 1, 'problem'],
    [{ urls }, 0, 'note'],
  ]) {
    const broker = await brokerWith(turn, NO_RELAY);
    const answer = await doctor([broker.url]);
    assert.equal(answer.code, code, answer.output);
    const [line] = answer.of('stun').filter(({ url }) => url === urls[0]);
    assert.equal(line.status, status, answer.output);
    assert.match(line.found, /does not answer/);
    assert.match(line.advice, /port \d+/);
    assert.equal(answer.of('udp')[0].status, status === 'note' ? 'ok' : status, answer.output);
    await broker.close();
  }
  silent.close();
});

test('a TURN server whose certificate nobody trusts', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-doctor-'));
  const { key, certificate } = selfSigned(folder, '127.0.0.1');
  const broker = await brokerWith({ cert: certificate, key });
  const secure = ({ url }) => url?.startsWith('turns:');
  const untrusted = await doctor([broker.url]);
  const [line] = untrusted.of('turn').filter(secure);
  assert.deepEqual([untrusted.code, line.status], [1, 'problem'], untrusted.output);
  assert.match(line.found, /certificate .*SELF_SIGNED/);
  const trusted = await doctor([broker.url], { SSL_CERT_FILE: certificate });
  assert.deepEqual([trusted.code, trusted.of('turn').filter(secure)[0].status], [0, 'ok'], trusted.output);
  await broker.close();
  fs.rmSync(folder, { recursive: true });
});

test('servers that cannot be asked', async () => {
  const urls = ['turn:127.0.0.1:1?transport=tcp', 'stun:nowhere.invalid', 'stuns:127.0.0.1'];
  const broker = await brokerWith({ secret: 'north', urls });
  const { code, output, report } = await doctor([broker.url]);
  assert.equal(code, 1);
  const [refused, unknown, useless] = urls.map((url) => report.checks.find((line) => line.url === url));
  assert.equal(refused.status, 'note', output);
  assert.match(refused.found, /Nothing listens there/);
  assert.match(unknown.found, /nowhere\.invalid .*has no address/);
  assert.match(useless.found, /of no use to linkup/);
  await broker.close();
});

test('wrong arguments, and help', async () => {
  for (const [args, part] of [
    [['http://localhost'], 'http://localhost'],
    [['localhost:5000'], 'localhost:5000'],
    [['ws://a', 'ws://b'], 'one broker'],
    [['--jsn'], '--jsn'],
  ]) {
    const { code, output } = await node(['bin/linkup.js', 'doctor', ...args]).exited;
    assert.equal(code, 2, output);
    assert.ok(output.includes(part) && output.includes('linkup doctor --help'), output);
    assert.doesNotMatch(output, /^ +at /m);
  }
  const { code, output } = await node(['bin/linkup.js', 'doctor', '--help']).exited;
  assert.equal(code, 0);
  for (const word of ['LINKUP_BROKER_URL', '--json', 'symmetric', 'Exit code']) assert.ok(output.includes(word), word);
});
