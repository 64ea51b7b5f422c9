'use strict';
// createPeer: ids, options, which broker.

const {
  assert,
  brokerUrl,
  collect,
  linkup,
  next,
  peer,
  peerWithId,
  registered,
  rejects,
  test,
  within,
} = require('./harness');

// Nothing listens on the discard port of loopback.
const NOBODY = 'ws://localhost:9';

test('createPeer returns at once and registers', async () => {
  const a = peer('a');
  assert.ok(a instanceof linkup.Peer);
  assert.equal(a.state, 'connecting');
  assert.equal(await next(a, 'register'), a.id);
  assert.equal(a.state, 'registered');
});

test('a bad id or option is a TypeError that names the argument', async () => {
  const bad = [
    ['', {}, /^id: /],
    [undefined, {}, /^id: /],
    ['x'.repeat(257), {}, /^id: /],
    ['\ud800', {}, /^id: /],
    ['a', null, /^options: /],
    ['a', { brokerUrl: 'http://localhost' }, /^options\.brokerUrl: /],
    ['a', { brokerUrl: [] }, /^options\.brokerUrl: /],
    ['a', { browserUrl: 1 }, /^options\.browserUrl: /],
    ['a', { brokerUrl: 'ws://localhost:1', browserUrl: 'ws://localhost:2' }, /^options\.browserUrl: /],
    ['a', { timeouts: { connect: -1 } }, /^options\.timeouts\.connect: /],
    ['a', { limits: { messageBytes: 'much' } }, /^options\.limits\.messageBytes: /],
    ['a', { accept: true }, /^options\.accept: /],
    ['a', { identity: { publicKey: 'short' } }, /^options\.identity\.publicKey: /],
    ['a', { simplePeer: { trickle: 1 } }, /^options\.simplePeer\.trickle: /],
    ['a', { brokerURL: 'ws://localhost' }, /^options\.brokerURL: .*brokerUrl/],
  ];
  for (const [name, options, message] of bad) {
    assert.throws(() => linkup.createPeer(name, options), { name: 'TypeError', message });
  }
});

test('any string of up to 256 bytes is an id, byte for byte', async () => {
  const a = await registered('a');
  for (const id of [' ', 'é'.repeat(128), 'e\u0301', '😀', '/../?a=b#c', '"\\\n\0', '__proto__', 'constructor']) {
    const b = peerWithId(id);
    assert.equal(await next(b, 'register'), id);
    const message = next(b, 'message');
    await within(a.send(id, id), `send to ${JSON.stringify(id)}`);
    assert.deepEqual(await message, { from: a.id, message: id });
    await b.close();
  }
  // Composed and decomposed: equal to a reader, two ids to linkup.
  peerWithId('\u00e9');
  await rejects(a.connect('e\u0301'), 'ERR_PEER_NOT_FOUND');
});

test('browserUrl is brokerUrl as the specification spells it', async () => {
  const a = await registered('a');
  const b = peer('b', { browserUrl: brokerUrl() });
  await next(b, 'register');
  assert.equal(await a.find(b.id), true);
});

test('of a list of brokers the first that works is used', async () => {
  const a = await registered('a');
  const b = peer('b', { brokerUrl: [NOBODY, brokerUrl()] });
  assert.equal(await next(b, 'register'), b.id);
  assert.equal(await a.find(b.id), true);
});

test('no broker: no exception, an event, and connect rejects in time', async () => {
  const a = peer('a', { brokerUrl: NOBODY, timeouts: { broker: 500, connect: 1000 } });
  const offline = collect(a, 'offline');
  await rejects(a.connect('b'), 'ERR_BROKER_UNREACHABLE', { peerId: 'b' });
  await rejects(a.find('b'), 'ERR_BROKER_UNREACHABLE', { peerId: 'b' });
  const [{ reason, retryIn }] = await offline.until(1);
  assert.equal(typeof reason, 'string');
  assert.ok(retryIn > 0, `retryIn ${retryIn}`);
  assert.equal(a.state, 'offline');
  await within(a.close(), 'close without a broker', 1000);
});

test('an id that is taken: an error event, and the owner keeps it', async () => {
  const owner = await registered('owner');
  const stranger = peerWithId(owner.id);
  const error = await next(stranger, 'error');
  assert.equal(error.code, 'ERR_ID_TAKEN');
  assert.ok(error instanceof linkup.LinkupError);
  const b = await registered('b');
  const calls = [stranger.connect(b.id), stranger.send(b.id, 1), stranger.find(b.id)];
  await Promise.all(calls.map((call) => rejects(call, 'ERR_ID_TAKEN', { peerId: b.id })));
  const message = next(owner, 'message');
  await b.send(owner.id, 'hi');
  assert.deepEqual(await message, { from: b.id, message: 'hi' });
});

test('an id is free again as soon as its peer is closed', async () => {
  const a = await registered('a');
  for (let i = 0; i < 3; i++) {
    const b = peerWithId('again');
    await next(b, 'register');
    await a.send('again', i);
    await b.close();
  }
});
