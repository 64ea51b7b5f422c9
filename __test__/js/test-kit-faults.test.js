'use strict';
// linkup/test: what becomes of connections when the network, the broker or a peer fails.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { before, test } = require('node:test');
const { buildTest } = require('../../scripts/build-test');
const { rejects } = require('./helpers');

let createNetwork;
before(async () => {
  await buildTest();
  ({ createNetwork } = require('linkup/test'));
});

/** Two peers and both ends of a connection; `heard` is what bob gets, `events` what happens to the connection. */
async function pair(t, options, peers = {}) {
  const net = createNetwork(options);
  t.after(() => net.close());
  const [alice, bob] = ['alice', 'bob'].map((id) => net.createPeer(id, peers[id]));
  const heard = [];
  bob.on('message', ({ message }) => heard.push(message));
  const incoming = once(bob, 'connection');
  const ab = await net.run(alice.connect('bob'));
  const [ba] = await net.run(incoming);
  const events = [];
  for (const connection of [ab, ba]) {
    for (const name of ['reconnecting', 'reconnected', 'close']) {
      connection.on(name, (about) => events.push([name, connection === ab ? 'alice' : 'bob', about?.code]));
    }
  }
  return { net, alice, bob, ab, ba, heard, events };
}

const numbers = (count) => [...Array(count).keys()];
const named = (events, name) => events.filter((event) => event[0] === name).map(([, who]) => who);

test('a partition of 20 s: both sides reconnect, and each message arrives once, in order', async (t) => {
  const { net, ab, ba, heard, events } = await pair(t, { latency: 40, jitter: 10, loss: 0.02 });
  const back = [];
  ab.on('message', (message) => back.push(message));
  const all = [];
  for (const n of numbers(100)) {
    if (n === 20) net.partition(['alice'], ['bob']);
    all.push(ab.send(n), ba.send(n));
    await net.advance(200);
  }
  assert.deepEqual([ab.state, ba.state], ['reconnecting', 'reconnecting']);
  assert.ok(heard.length < 30, `${heard.length} were heard`);
  await net.advance(4000);
  net.heal();
  await net.run(Promise.all(all));
  await net.advance(10_000);
  assert.deepEqual([heard, back], [numbers(100), numbers(100)]);
  for (const name of ['reconnecting', 'reconnected'])
    assert.deepEqual(named(events, name).toSorted(), ['alice', 'bob']);
  assert.deepEqual([ab.state, ba.state, ab.path], ['open', 'open', 'direct']);
});

test('a partition that lasts: ERR_CONNECTION_LOST after timeouts.resume, on both sides', async (t) => {
  const timeouts = { resume: 12_000 };
  const { net, ab, events } = await pair(t, {}, { alice: { timeouts }, bob: { timeouts } });
  net.partition('alice', 'bob');
  const start = net.now;
  const lost = rejects(ab.send('in vain', { ack: true }), 'ERR_CONNECTION_LOST', { peerId: 'bob' });
  await net.run(lost);
  // A browser notices 5 s after the last packet, and that one may be 2.5 s old.
  assert.ok(net.now - start > 14_000 && net.now - start < 18_000, `${net.now - start} ms`);
  await net.advance(5000);
  assert.deepEqual(
    events.filter(([name]) => name === 'close').toSorted(),
    ['alice', 'bob'].map((who) => ['close', who, 'ERR_CONNECTION_LOST']),
  );
  assert.deepEqual(named(events, 'reconnected'), []);
});

test('the broker ends: connections go on, and its peers register again when it is back', async (t) => {
  const { net, alice, bob, ab, heard, events } = await pair(t);
  const offline = [alice, bob].map((peer) => once(peer, 'offline'));
  net.broker.stop();
  for (const [{ reason, retryIn }] of await net.run(Promise.all(offline))) {
    assert.deepEqual([typeof reason, retryIn >= 0], ['string', true]);
  }
  assert.deepEqual([net.broker.running, net.broker.ids, alice.state], [false, [], 'offline']);
  await net.run(ab.send('still here', { ack: true }));
  await rejects(net.run(alice.connect('carl')), 'ERR_BROKER_UNREACHABLE');
  await net.advance(60_000);
  net.broker.start();
  const start = net.now;
  await net.run(Promise.all([alice, bob].map((peer) => once(peer, 'register'))));
  assert.ok(net.now - start < 1000, `${net.now - start} ms`);
  assert.deepEqual([net.broker.ids.toSorted(), heard, events], [['alice', 'bob'], ['still here'], []]);
});

test('a peer that the broker does not hear is dropped, and comes back', async (t) => {
  const { net, alice, ab, events } = await pair(t);
  net.broker.partition('alice');
  await net.advance(50_000);
  assert.deepEqual([net.broker.ids, alice.state], [['bob'], 'offline']);
  net.broker.heal('alice');
  await net.run(once(alice, 'register'));
  assert.deepEqual([net.broker.ids, ab.state, events], [['bob', 'alice'], 'open', []]);
});

test('cut off from everything, and back', async (t) => {
  const { net, alice, ab, events } = await pair(t);
  net.partition('alice');
  await net.advance(20_000);
  assert.deepEqual([ab.state, alice.state], ['reconnecting', 'offline']);
  net.heal();
  await net.run(once(ab, 'reconnected'));
  await net.advance(5000);
  assert.deepEqual(named(events, 'reconnected').toSorted(), ['alice', 'bob']);
  assert.equal(alice.state, 'registered');
});

test('loss makes messages late, not fewer', async (t) => {
  const arrival = async (loss) => {
    const { net, ab, heard } = await pair(t, { latency: 50 });
    net.link('alice', 'bob', { loss });
    const start = net.now;
    const all = numbers(200).map(async (n) => {
      await net.advance(n * 20);
      await ab.send(n);
    });
    await net.run(Promise.all(all));
    await net.run(ab.send(null, { ack: true }));
    assert.deepEqual(heard, [...numbers(200), null]);
    return net.now - start - 199 * 20;
  };
  const [sure, lossy] = [await arrival(0), await arrival(0.5)];
  assert.ok(sure >= 100 && sure < 250, `${sure} ms`);
  assert.ok(lossy > sure + 100, `${lossy} ms`);
});

test('a way has the latency that it is given, and the bandwidth', async (t) => {
  const { net, ab, ba } = await pair(t, { latency: 10 });
  net.link('bob', 'alice', { latency: 300, bandwidth: 100_000 });
  const start = net.now;
  const message = once(ba, 'message');
  ab.send('x');
  await net.run(message);
  assert.ok(net.now - start >= 300 && net.now - start < 310, `${net.now - start} ms`);
  assert.equal((await net.run(ab.stats())).roundTripTime, 0.6);
  // More than the mark of 1 MiB waits: the promise does so, too.
  const large = once(ba, 'message');
  const before = net.now;
  const sent = net.run(ab.send(Buffer.alloc(3_000_000)));
  assert.ok(ab.bufferedAmount >= 3_000_000, `${ab.bufferedAmount}`);
  await sent;
  assert.ok(net.now - before > 15_000, `${net.now - before} ms`);
  assert.ok(ab.bufferedAmount <= 1024 * 1024, `${ab.bufferedAmount}`);
  const [bytes] = await net.run(large);
  assert.equal(bytes.length, 3_000_000);
  assert.ok(Math.abs(net.now - before - 30_300) < 3000, `${net.now - before} ms`);
});

test('a process that dies is noticed, and its id is free at once', async (t) => {
  const { net, ab, events } = await pair(t);
  net.kill('bob');
  await net.run(once(ab, 'close'));
  assert.ok(net.now < 15_000, `${net.now} ms`);
  assert.deepEqual(events.at(-1), ['close', 'alice', 'ERR_CONNECTION_LOST']);
  const again = net.createPeer('bob');
  await net.run(once(again, 'register'));
});

test('no way at all: ERR_ICE_FAILED or a time-out, with advice', async (t) => {
  const net = createNetwork();
  t.after(() => net.close());
  const [alice] = [net.createPeer('alice'), net.createPeer('bob')];
  net.partition('alice', 'bob');
  const error = await net.run(alice.connect('bob')).catch((error) => error);
  assert.match(error.code, /^ERR_(ICE_FAILED|CONNECT_TIMEOUT)$/);
  assert.deepEqual([error.details.local.length, error.details.remote.length], [1, 1]);
  assert.match(error.details.advice, /TURN/);
});

test('where there is no direct way, TURN; and away from it when there is one', async (t) => {
  const net = createNetwork({ broker: { turn: true } });
  t.after(() => net.close());
  const [alice, bob] = [net.createPeer('alice'), net.createPeer('bob')];
  net.partition('alice', 'bob');
  const ab = await net.run(alice.connect('bob'));
  assert.equal(ab.path, 'turn');
  await net.run(bob.send('alice', 'hello'));
  net.heal();
  await net.advance(20_000);
  assert.deepEqual([ab.path, ab.state], ['direct', 'open']);
});

test('and last over the broker, encrypted', async (t) => {
  const net = createNetwork({ broker: { relay: 65_536 } });
  t.after(() => net.close());
  const [alice, bob] = [net.createPeer('alice'), net.createPeer('bob')];
  net.partition('alice', 'bob');
  const ab = await net.run(alice.connect('bob'));
  assert.deepEqual([ab.path, net.now > 4000], ['broker', true]);
  const message = once(bob, 'message');
  await net.run(ab.send(Buffer.alloc(100_000, 7), { ack: true }));
  assert.deepEqual((await message)[0].message, Buffer.alloc(100_000, 7));
  net.heal();
  await net.advance(60_000);
  assert.deepEqual([ab.path, ab.state], ['direct', 'open']);
});
