// createBroker's option `redis`: two brokers that are one. What happens when something fails is tested in crates/broker.
'use strict';

const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');
const { freePort, linkup, within } = require('./helpers');

/** A redis-server, or undefined where there is none, which CI does not forgive. */
async function startRedis(t) {
  if (spawnSync('redis-server', ['--version']).error) {
    assert.ok(!process.env.CI, 'redis-server is not installed');
    t.skip('SKIPPED: redis-server is not installed');
    return undefined;
  }
  const port = await freePort();
  const server = spawn('redis-server', ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']);
  t.after(() => server.kill('SIGKILL'));
  const ready = new Promise((resolve) => {
    server.stdout.on('data', (data) => /ready to accept connections/i.test(data) && resolve());
  });
  await within(ready, 20_000, 'redis-server');
  return `redis://127.0.0.1:${port}`;
}

test('peers of two brokers meet', async (t) => {
  const url = await startRedis(t);
  if (!url) return;
  // The lease is also how long a new Redis gives no ids.
  const options = { port: 0, host: '127.0.0.1', redis: { url, prefix: 'test', lease: 1 } };
  const brokers = [
    linkup.createBroker(options),
    linkup.createBroker({ ...options, redis: { ...options.redis, url: [url] } }),
  ];
  await Promise.all(brokers.map((broker) => broker.ready));
  const [alice, bob] = brokers.map((broker, n) => linkup.createPeer(`peer-${n}`, { brokerUrl: broker.url }));
  t.after(() => Promise.all([alice, bob, ...brokers].map((one) => one.close())));
  // While they cannot register yet they say so, and try again.
  const registered = (peer) => {
    peer.on('error', (error) => assert.equal(error.code, 'ERR_BROKER_UNREACHABLE'));
    return new Promise((resolve) => peer.once('register', resolve));
  };
  await within(Promise.all([alice, bob].map(registered)), 20_000, 'the registrations');
  const message = once(bob, 'message');
  await within(alice.send('peer-1', 'hello'), 20_000, 'the connection');
  assert.deepEqual(await within(message, 20_000, 'the message'), [{ from: 'peer-0', message: 'hello' }]);
  await assert.rejects(alice.connect('nobody'), { code: 'ERR_PEER_NOT_FOUND' });
});

test('createBroker says which option of redis is wrong', async () => {
  for (const [redis, name] of [
    [[], 'options.redis.url'],
    [[5], 'options.redis.url'],
    [{}, 'options.redis.url'],
    [5, 'options.redis'],
    [{ url: 'redis://a', lease: 0 }, 'options.redis.lease'],
    [{ url: 'redis://a', prefix: 1 }, 'options.redis.prefix'],
    [{ url: 'redis://a', urls: [] }, 'options.redis.urls'],
  ]) {
    const wrong = (error) => error instanceof TypeError && error.message.startsWith(`${name}:`);
    assert.throws(() => linkup.createBroker({ port: 0, redis }), wrong, name);
  }
  const broker = linkup.createBroker({ port: 0, host: '127.0.0.1', redis: 'http://a' });
  await assert.rejects(broker.ready, /URL of Redis/);
});
