// A plain client of the six documented shapes, with simple-peer over @roamhq/wrtc in it, talks with a linkup peer.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const SimplePeer = require('simple-peer');
const wrtc = require('@roamhq/wrtc');
const { linkup, node, startBroker, within } = require('../node/helpers');
const { plainClient } = require('./plain-client');

let broker;
before(async () => {
  broker = await startBroker();
});
after(async () => {
  await broker.close();
  // wrtc keeps threads that hold the process.
  setImmediate(() => process.exit());
});

const once = (emitter, name) => within(new Promise((resolve) => emitter.once(name, resolve)), 15_000, name);

/** simple-peer and a linkup peer exchange JSON both ways, then one of them closes. */
async function converse(simple, connection, closer) {
  const got = once(connection, 'message');
  simple.send(JSON.stringify({ hello: 'from simple-peer', n: null }));
  assert.deepEqual(await got, { hello: 'from simple-peer', n: null });

  const data = once(simple, 'data');
  await connection.send({ hello: 'from linkup', list: [1, '𝄞'] });
  assert.deepEqual(JSON.parse(String(await data)), { hello: 'from linkup', list: [1, '𝄞'] });

  const ended = Promise.all([once(simple, 'close'), once(connection, 'close')]);
  if (closer === 'linkup') await connection.close();
  else simple.destroy();
  await ended;
}

test('registers, finds, pings, and exchanges signals', async () => {
  const client = await plainClient(broker.url, 'plain-1');
  assert.equal(client.registered.message, 'plain-1');
  assert.equal(client.registered.error, null);
  assert.equal((await client.request({ type: 'ping' })).message, 'pong');
  assert.equal((await client.request({ type: 'find', id: 'nobody' })).message, null);
  const peer = linkup.createPeer('linkup-1', { brokerUrl: broker.url });
  await once(peer, 'register');
  assert.equal((await client.request({ type: 'find', id: 'linkup-1' })).message, 'linkup-1');
  assert.equal(await peer.find('plain-1'), true);

  const heard = new Promise((resolve) => {
    client.onsignal = (from, data) => resolve({ from, data });
  });
  const attempt = peer.connect('plain-1').catch((error) => error);
  const { from, data } = await within(heard, 5000, 'an offer');
  assert.equal(from, 'linkup-1');
  assert.equal(data.type, 'offer');
  assert.match(data.sdp, /^v=0/);
  await peer.close();
  assert.equal((await attempt).code, 'ERR_PEER_CLOSED');
  client.socket.close();
});

test('a plain client that is killed is gone within timeouts.idle', async () => {
  const code = `
    const SimplePeer = require('simple-peer');
    const { plainClient } = require('./__test__/interop/plain-client');
    plainClient(process.argv.at(-1), 'plain-victim').then((client) => {
      const simple = new SimplePeer({ initiator: true, wrtc: require('@roamhq/wrtc') });
      simple.on('signal', (data) => client.signal('linkup-witness', data));
      client.onsignal = (_, data) => simple.signal(data);
      simple.on('connect', () => simple.send('"hello"'));
    });`;
  const peer = linkup.createPeer('linkup-witness', { brokerUrl: broker.url, timeouts: { idle: 4000 } });
  await once(peer, 'register');
  const incoming = once(peer, 'connection');
  const child = node(['-e', code, broker.url]);
  const connection = await incoming;
  assert.equal(await once(connection, 'message'), 'hello');
  await child.kill();
  const start = performance.now();
  assert.equal((await once(connection, 'close')).code, 'ERR_CONNECTION_LOST');
  const ms = performance.now() - start;
  assert.ok(ms < 4500, `${ms} ms`);
  await peer.close();
});

for (const closer of ['linkup', 'simple-peer']) {
  for (const trickle of [true, false]) {
    const name = `trickle ${trickle}, ${closer} closes`;

    test(`simple-peer calls, ${name}`, async () => {
      const id = `${closer}-${trickle}-called`;
      const peer = linkup.createPeer(`l-${id}`, { brokerUrl: broker.url });
      await once(peer, 'register');
      const client = await plainClient(broker.url, `p-${id}`);
      const simple = new SimplePeer({ initiator: true, trickle, wrtc });
      simple.on('error', () => {}); // wrtc reports a close by the remote as an error, too
      simple.on('signal', (data) => client.signal(`l-${id}`, data));
      client.onsignal = (_, data) => simple.destroyed || simple.signal(data);
      const [connection] = await Promise.all([once(peer, 'connection'), once(simple, 'connect')]);
      assert.equal(connection.id, `p-${id}`);
      await converse(simple, connection, closer);
      await peer.close();
      client.socket.close();
    });

    test(`linkup calls simple-peer, ${name}`, async () => {
      const id = `${closer}-${trickle}-calling`;
      const client = await plainClient(broker.url, `p-${id}`);
      const simple = new SimplePeer({ initiator: false, trickle, wrtc });
      simple.on('error', () => {});
      simple.on('signal', (data) => client.signal(`l-${id}`, data));
      client.onsignal = (_, data) => simple.destroyed || simple.signal(data);
      const peer = linkup.createPeer(`l-${id}`, { brokerUrl: broker.url, simplePeer: { trickle } });
      const [connection] = await Promise.all([
        within(peer.connect(`p-${id}`), 15_000, 'connect'),
        once(simple, 'connect'),
      ]);
      await converse(simple, connection, closer);
      await peer.close();
      client.socket.close();
    });
  }
}
