'use strict';
// linkup/test: time that passes when it is told to, the same story for the same seed, and peers that are those of linkup.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { before, describe, test } = require('node:test');
const timersPromises = require('node:timers/promises');
const linkup = require('linkup');
const { buildTest } = require('../../scripts/build-test');
const { rejects } = require('./helpers');

let createNetwork;
before(async () => {
  await buildTest();
  ({ createNetwork } = require('linkup/test'));
});

/** A network that is closed after the test. */
function network(t, options) {
  const net = createNetwork(options);
  t.after(() => net.close());
  return net;
}

/** Two peers and both ends of a connection. */
async function pair(net, options = {}) {
  const [alice, bob] = ['alice', 'bob'].map((id) => net.createPeer(id, options[id]));
  const incoming = once(bob, 'connection');
  const ab = await net.run(alice.connect('bob'));
  const [ba] = await net.run(incoming);
  return { alice, bob, ab, ba };
}

/** Names the events of peers and connections, with the time at which they come. */
function logOf(net, ...peers) {
  const log = [];
  const note = (who, names) => {
    for (const name of names) who.on(name, (about) => log.push([net.now, who.id, name, textOf(about)]));
  };
  const watch = (connection) => note(connection, ['message', 'reconnecting', 'reconnected', 'close']);
  for (const peer of peers) {
    note(peer, ['register', 'offline', 'error', 'message']);
    peer.on('connection', (connection) => {
      log.push([net.now, peer.id, 'connection', connection.identity.publicKey]);
      watch(connection);
    });
  }
  return log;
}

const textOf = (about) => (about instanceof Error ? about.code : JSON.stringify(about));

/** Calls from both sides at once, losses, a partition, a broker that ends, a stream, and an end. */
async function story(options, noise = () => {}) {
  const net = createNetwork({ latency: 40, jitter: 15, loss: 0.05, ...options });
  const [alice, bob, carl] = ['alice', 'bob', 'carl'].map((id) => net.createPeer(id));
  const log = logOf(net, alice, bob, carl);
  await net.run(Promise.all([alice, bob, carl].map((peer) => once(peer, 'register'))));
  noise();
  await net.run(Promise.all([alice.send('bob', 1), bob.send('alice', 2), carl.send('bob', 'a'.repeat(300_000))]));
  bob.connections.get('alice').on('stream', (stream) => {
    stream.on('data', (bytes) => log.push([net.now, 'bob', 'bytes', bytes.length]));
    stream.end();
  });
  alice.connections.get('bob').createStream('file').end(Buffer.alloc(200_000));
  net.partition('alice', 'bob');
  for (let n = 0; n < 20; n++) alice.send('bob', n);
  await net.advance(12_000);
  net.broker.stop();
  net.heal();
  await net.advance(3000);
  net.broker.start();
  await net.advance(10_000);
  noise();
  await net.run(carl.send('dora', 1).catch((error) => log.push([net.now, error.code])));
  await net.close();
  log.push([net.now, 'end']);
  return log;
}

test('the same seed tells the same story, however long things take in reality; another seed another one', async () => {
  const busy = () => {
    const until = performance.now() + 3;
    while (performance.now() < until);
  };
  const told = await story({ seed: 5 });
  assert.ok(told.length > 40, `${told.length} events`);
  const timer = setInterval(busy, 15);
  try {
    assert.deepEqual(await story({ seed: 5 }, busy), told);
  } finally {
    clearInterval(timer);
  }
  const other = await story({ seed: 6 });
  assert.notDeepEqual(other, told);
  const messages = (log) => log.filter(([, , name]) => name === 'message').map(([, id, , text]) => [id, text]);
  const heard = (log, who) => messages(log).filter(([id]) => id === who);
  for (const who of ['alice', 'bob']) assert.deepEqual(heard(other, who).toSorted(), heard(told, who).toSorted());
});

test('ten minutes of two connected peers take a moment', async (t) => {
  const net = network(t);
  const { ab } = await pair(net);
  const start = process.cpuUsage();
  await net.advance(600_000);
  const { user, system } = process.cpuUsage(start);
  // A tenth of a second where nothing else runs in this process.
  assert.ok(user + system < 3_000_000, `${(user + system) / 1000} ms`);
  assert.equal(ab.state, 'open');
});

test('what the peers do is linkup: its classes, its errors, its messages', async (t) => {
  const net = network(t);
  const { alice, ab, ba } = await pair(net, { alice: { metadata: { name: 'Alice' } } });
  assert.ok(alice instanceof linkup.Peer && ab instanceof linkup.Connection);
  assert.deepEqual(ba.metadata, { name: 'Alice' });
  const heard = [];
  ba.on('message', (message) => heard.push(message));
  await net.run(Promise.all([ab.send({ hi: 1 }), ab.send(Buffer.from('abc')), ab.send(null, { ack: true })]));
  assert.deepEqual(heard, [{ hi: 1 }, Buffer.from('abc'), null]);
  const error = await net.run(alice.send('nobody', 1)).catch((error) => error);
  assert.ok(error instanceof linkup.LinkupError);
  assert.deepEqual([error.code, error.peerId], ['ERR_PEER_NOT_FOUND', 'nobody']);
  await rejects(net.run(alice.send('alice', 1)), 'ERR_CONNECT_SELF');
});

test('an id that is a key belongs to its owner', async (t) => {
  const net = network(t, { seed: 3 });
  const [own, other] = [await net.linkup.createIdentity(), await net.linkup.createIdentity()];
  assert.deepEqual(await createNetwork({ seed: 3 }).linkup.createIdentity(), own);
  const owner = net.createPeer(`key:${own.publicKey}`, { identity: own });
  const caller = net.createPeer('caller', { identity: other });
  const connection = await net.run(caller.connect(owner.id));
  assert.equal(connection.identity.publicKey, own.publicKey);
  assert.throws(() => net.createPeer(owner.id, { identity: other }), { name: 'TypeError' });
  const wrong = { publicKey: own.publicKey, privateKey: other.privateKey };
  assert.throws(() => net.createPeer(owner.id, { identity: wrong }), { name: 'TypeError' });
});

test('each peer decides about its callers', async (t) => {
  const net = network(t);
  const [alice, carl] = [net.createPeer('alice', { metadata: 7 }), net.createPeer('carl')];
  const asked = [];
  const accept = ({ from, metadata }) => {
    asked.push([from, metadata]);
    return from === 'alice' || 'only for alice';
  };
  net.createPeer('bob', { accept });
  net.createPeer('desk', { accept: { rate: { calls: 1, seconds: 60 } } });
  await net.run(alice.send('bob', 1));
  await rejects(net.run(carl.send('bob', 1)), 'ERR_DENIED', { message: /only for alice/ });
  assert.deepEqual(asked.toSorted(), [
    ['alice', 7],
    ['carl', undefined],
  ]);
  const call = async () => {
    await carl.connect('desk');
    await carl.disconnect('desk');
  };
  await net.run(call);
  await rejects(net.run(call), 'ERR_DENIED', { message: /too many calls/ });
  await net.advance(61_000);
  await net.run(call);
});

test('both call at once: one connection', async (t) => {
  const net = network(t, { jitter: 10 });
  const [alice, bob] = [net.createPeer('alice'), net.createPeer('bob')];
  await net.run(Promise.all([alice, bob].map((peer) => once(peer, 'register'))));
  const [ab, ba] = await net.run(Promise.all([alice.connect('bob'), bob.connect('alice')]));
  await net.advance(5000);
  assert.deepEqual([ab.state, ba.state, alice.connections.size, bob.connections.size], ['open', 'open', 1, 1]);
  assert.deepEqual([alice.connections.get('bob'), bob.connections.get('alice')], [ab, ba]);
});

test('an id is one peer’s; the broker may refuse others', async (t) => {
  const asked = [];
  const authorize = ({ id, token }) => asked.push([id, token]) && (token === 'let me in' || 'no entry');
  const net = network(t, { broker: { authorize } });
  const alice = net.createPeer('alice', { token: 'let me in' });
  await net.run(once(alice, 'register'));
  assert.deepEqual(net.broker.ids, ['alice']);
  const [taken] = await net.run(once(net.createPeer('alice', { token: 'let me in' }), 'error'));
  assert.equal(taken.code, 'ERR_ID_TAKEN');
  const [refused] = await net.run(once(net.createPeer('bob'), 'error'));
  assert.deepEqual([refused.code, refused.message], ['ERR_NOT_AUTHORIZED', 'no entry']);
  assert.deepEqual(asked.at(-1), ['bob', undefined]);
  await net.run(alice.close());
  await net.advance(1000);
  assert.deepEqual(net.broker.ids, ['alice'], 'who waited for the id has it now');
});

describe('time', () => {
  test('passes as far as it is told to, with all that happens until then', async (t) => {
    const net = network(t);
    const times = [];
    for (const ms of [100, 50, 100, 101]) net.timers.setTimeout(() => times.push(ms), ms);
    await net.advance(100);
    assert.deepEqual([net.now, times], [100, [50, 100, 100]]);
    assert.equal(net.timers.performance.now(), 100);
    await net.run(async () => {
      await Promise.all([net.advance(5), net.advance(7)]);
      times.push(net.now);
    });
    assert.deepEqual(times, [50, 100, 100, 101, 107]);
  });

  test('nothing to wait for is an error, and so is too long a wait', async (t) => {
    const net = network(t);
    const never = new Promise(() => {});
    await assert.rejects(net.run(never), /nothing is left that could happen/);
    net.createPeer('alice');
    await assert.rejects(net.run(never, { within: 30_000 }), /within 30000 ms/);
    assert.equal(net.now, 30_000);
    await assert.rejects(net.run(never), /within 600000 ms/);
    const failing = async () => {
      throw new Error('own');
    };
    await assert.rejects(net.run(failing), /own/);
    assert.equal(await net.run(() => 5), 5);
    const busy = (left) => left && Promise.resolve().then(() => setImmediate(busy, left - 1));
    busy(1000);
    await net.advance(10);
  });

  test('stands still for what is outside', async (t) => {
    const net = network(t);
    const accept = ({ from }) => net.hold(timersPromises.setTimeout(50, from === 'alice'));
    const bob = net.createPeer('bob', { accept });
    await net.run(once(bob, 'register'));
    const alice = net.createPeer('alice');
    await net.run(alice.send('bob', 1));
    assert.ok(net.now < 1000, `${net.now} ms`);
    await assert.rejects(net.hold(Promise.reject(new Error('own'))), /own/);
    await net.advance(10);
  });

  test('is the application’s, too, where it wants that', async () => {
    const own = { setTimeout, Date, performance };
    const net = createNetwork({ timers: 'all', start: Date.UTC(2040, 1, 1) });
    try {
      assert.equal(new Date().toISOString(), '2040-02-01T00:00:00.000Z');
      const before = Date.now();
      await net.run(
        async () => {
          await new Promise((resolve) => setTimeout(resolve, 3_600_000));
          await timersPromises.setTimeout(1000);
        },
        { within: 4_000_000 },
      );
      assert.equal(Date.now() - before, 3_601_000);
      const alice = net.createPeer('alice');
      await net.run(once(alice, 'register'));
    } finally {
      await net.close();
    }
    assert.deepEqual({ setTimeout, Date, performance }, own);
  });

  test('ends with the network', async () => {
    const net = createNetwork();
    const { alice, bob, ba } = await pair(net);
    const closed = once(ba, 'close');
    await net.close();
    assert.deepEqual(await closed, [{ code: null, reason: '' }]);
    assert.deepEqual([alice.state, bob.state, net.broker.ids], ['closed', 'closed', []]);
    await net.close();
    assert.throws(() => net.createPeer('carl'), /closed/);
    await assert.rejects(net.advance(1), /closed/);
    await assert.rejects(net.run(new Promise(() => {})), /closed/);
  });
});

test('wrong options are TypeErrors with their names', (t) => {
  const net = network(t);
  const cases = [
    ['options.seed', () => createNetwork({ seed: 0.5 })],
    ['options.timers', () => createNetwork({ timers: 'none' })],
    ['options.start', () => createNetwork({ start: 'today' })],
    ['options.loss', () => createNetwork({ loss: 1 })],
    ['options.latency', () => createNetwork({ latency: -1 })],
    ['options.delay', () => createNetwork({ delay: 1 })],
    ['options.broker.relay', () => createNetwork({ broker: { relay: -1 } })],
    ['options.broker.urls', () => createNetwork({ broker: { urls: ['http://x'] } })],
    ['way.jitter', () => net.link('a', 'b', { jitter: '5' })],
    ['way.bandwidth', () => net.broker.link('a', { bandwidth: 0 })],
    ['a', () => net.partition('')],
    ['b', () => net.partition('a', [1])],
    ['ids', () => net.broker.partition(1)],
    ['ms', () => net.advance(-1)],
    ['options.within', () => net.run(null, { within: Number.NaN })],
    ['options.brokerURL', () => net.createPeer('a', { brokerURL: '' })],
    ['id', () => net.createPeer('')],
  ];
  for (const [name, call] of cases) {
    assert.throws(call, (error) => error instanceof TypeError && error.message.startsWith(`${name}: `), name);
  }
});
