'use strict';
// Options that are functions of the application: iceServers and sdpTransform.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { memory, turns } = require('./helpers');
const { KIND } = require('./pair-engine');

test('iceServers are fetched before the peer starts; calls wait', async () => {
  const { createPeer, called } = memory();
  const b = createPeer('b');
  const a = createPeer('a', { iceServers: async () => [{ urls: 'stun:x' }] });
  assert.equal(called('createPeer').length, 1);
  const [connection, found] = await Promise.all([a.connect('b'), a.find('b'), a.send('b', 1)]);
  assert.deepEqual([connection.id, found], ['b', true]);
  const options = JSON.parse(JSON.stringify(called('createPeer')[1][1][1]));
  assert.deepEqual(options.iceServers, [{ urls: ['stun:x'] }]);
  const closing = createPeer('c', { iceServers: async () => [] }).close();
  await Promise.all([a.close(), b.close(), closing]);
});

test('iceServers that cannot be fetched are an error event; the peer starts without', async () => {
  const { createPeer } = memory();
  createPeer('b');
  for (const iceServers of [() => Promise.reject(new Error('no network')), () => 'nonsense']) {
    const a = createPeer('a', { iceServers });
    const error = new Promise((resolve) => a.once('error', resolve));
    assert.equal((await error).code, 'ERR_ICE_FAILED');
    await a.connect('b');
    await a.close();
  }
});

test('functions that never answer hold up neither a call for longer than it may take, nor close()', async (t) => {
  const { createPeer } = memory();
  // The engine would keep the process.
  const held = setInterval(() => {}, 1000);
  t.after(() => clearInterval(held));
  createPeer('b');
  const never = () => new Promise(() => {});
  for (const options of [{ iceServers: never }, { identity: { oidc: { token: never, verify: never } } }]) {
    const a = createPeer('a', { ...options, timeouts: { connect: 50 } });
    const error = new Promise((resolve) => a.once('error', resolve));
    await a.connect('b');
    assert.match((await error).message, /no answer within 50 ms/);
    await a.close();
    const closed = createPeer('c', options);
    closed.on('error', assert.ifError);
    await closed.close();
  }
});

test('sdpTransform changes descriptions; where it throws nothing is sent', async () => {
  const { createPeer, called, put } = memory({ auto: false });
  const transforms = [(sdp) => `${sdp}!`, async (sdp) => `${sdp}?`, () => 1, () => assert.fail('on purpose')];
  const errors = [];
  for (const sdpTransform of transforms) {
    createPeer('a', { simplePeer: { sdpTransform } }).on('error', ({ code }) => errors.push(code));
  }
  for (const peer of [1, 2, 3, 4]) put(KIND.TRANSFORM, peer, peer * 10, 'sdp');
  await turns();
  assert.deepEqual(
    called('transformed').map(([, args]) => args),
    [
      [1, 10, 'sdp!'],
      [2, 20, 'sdp?'],
    ],
  );
  assert.equal(errors.length, 2);
});
