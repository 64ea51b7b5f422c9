'use strict';
// Peer.connect: one connection, shared attempts, refusals.

const { assert, collect, linkup, next, pair, peer, registered, rejects, test, took, within } = require('./harness');

test('connect resolves with an open connection', async () => {
  const { a, b, ab, ba } = await pair({ metadata: { side: 'a' } }, { metadata: [1, null] });
  assert.ok(ab instanceof linkup.Connection && ba instanceof linkup.Connection);
  assert.deepEqual([ab.id, ab.state, ab.path], [b.id, 'open', 'direct']);
  assert.deepEqual([ba.id, ba.state, ba.path], [a.id, 'open', 'direct']);
  assert.deepEqual([ab.metadata, ba.metadata], [[1, null], { side: 'a' }]);
  assert.equal(ab.bufferedAmount, 0);
  assert.deepEqual([...a.connections], [[b.id, ab]]);
  assert.deepEqual([...b.connections], [[a.id, ba]]);
  assert.throws(() => a.connections.delete(b.id), TypeError);
  const stats = await within(ab.stats(), 'stats');
  assert.equal(typeof stats, 'object');
});

test('stats say what has passed, as far as it is known', async () => {
  const { ab, ba } = await pair();
  const heard = collect(ba, 'message');
  for (const text of ['x'.repeat(10_000), 'y'.repeat(10_000)]) await ab.send(text, { ack: true });
  await heard.until(2);
  // Chromium says for a while what it said before.
  const measured = async (connection, name) => {
    for (;;) {
      const stats = await connection.stats();
      if (!(stats[name] < 20_000)) return stats;
    }
  };
  const sent = await within(measured(ab, 'bytesSent'), 'what was sent');
  const received = await within(measured(ba, 'bytesReceived'), 'what was received');
  for (const bytes of [sent.bytesSent, received.bytesReceived]) assert.ok(!(bytes > 25_000), `${bytes} bytes`);
  for (const messages of [sent.messagesSent, received.messagesReceived])
    assert.ok(!(messages < 2 || messages > 10), `${messages} messages`);
  const { roundTripTime = 0 } = sent;
  assert.ok(roundTripTime >= 0 && roundTripTime < 10, `${roundTripTime} s`);
  assert.equal(sent.path, 'direct');
});

test('limits.connections: no more of its own, and none of others', async () => {
  const limits = { connections: 1 };
  const [a, b, c] = await Promise.all([registered('a', { limits }), registered('b'), registered('c')]);
  const connection = await within(a.connect(b.id), 'connect');
  await rejects(a.connect(c.id), 'ERR_DENIED', { peerId: c.id });
  await rejects(c.connect(a.id), 'ERR_DENIED', { peerId: a.id });
  assert.equal(connection.state, 'open');
  await a.disconnect(b.id);
  assert.equal((await within(c.connect(a.id), 'the next one')).state, 'open');
});

test('a peer without metadata has none', async () => {
  const { ab, ba } = await pair();
  assert.deepEqual([ab.metadata, ba.metadata], [undefined, undefined]);
});

test('messages can flow both ways as soon as connect resolves', async () => {
  const { ab, ba } = await pair();
  const [there, back] = [next(ba, 'message'), next(ab, 'message')];
  await Promise.all([ab.send('there'), ba.send('back')]);
  assert.deepEqual([await there, await back], ['there', 'back']);
});

test('calls at the same time share one attempt, later ones get the connection that is there', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const incoming = collect(b, 'connection');
  const connections = await within(Promise.all([1, 2, 3].map(() => a.connect(b.id))), 'connect');
  assert.equal(new Set(connections).size, 1);
  assert.equal(await a.connect(b.id), connections[0]);
  const [connection] = await incoming.until(1);
  assert.equal(await b.connect(a.id), connection);
  assert.equal(incoming.list.length, 1);
});

test('connect may come before the own registration', async () => {
  const b = await registered('b');
  const a = peer('a');
  assert.equal((await within(a.connect(b.id), 'connect')).id, b.id);
});

test('its own id: ERR_CONNECT_SELF', async () => {
  const a = peer('a');
  await rejects(a.connect(a.id), 'ERR_CONNECT_SELF', { peerId: a.id });
  await rejects(a.send(a.id, 1), 'ERR_CONNECT_SELF', { peerId: a.id });
});

test('a bad id: TypeError', async () => {
  const a = peer('a');
  for (const id of [undefined, null, 1, '', 'x'.repeat(257)]) {
    for (const call of [a.connect(id), a.send(id, 1), a.disconnect(id), a.find(id)]) {
      await assert.rejects(call, { name: 'TypeError', message: /^(peerId|id): / });
    }
  }
});

test('an unknown id is refused in one round trip to the broker', async () => {
  const a = await registered('a');
  const times = [];
  for (let i = 0; i < 5; i++) {
    times.push(await took(rejects(a.connect('nobody'), 'ERR_PEER_NOT_FOUND', { peerId: 'nobody' })));
  }
  await rejects(a.send('nobody', 1), 'ERR_PEER_NOT_FOUND', { peerId: 'nobody' });
  // The median: a busy machine may hold one of them up.
  const median = times.sort((x, y) => x - y)[2];
  assert.ok(median < 50, `${median} ms`);
});

test('a peer can be connected again after a close, by either side', async () => {
  const { a, b, ab } = await pair();
  await ab.close();
  for (let i = 0; i < 5; i++) {
    const [one, two] = i % 2 ? [a, b] : [b, a];
    const message = next(two, 'message');
    await within(one.send(two.id, i), 'send');
    assert.deepEqual(await message, { from: one.id, message: i });
    await within(one.disconnect(two.id), 'disconnect');
  }
});

test('connect right after close waits for the old connection to end', async () => {
  const { a, b, ab } = await pair();
  const closing = ab.close();
  const again = await within(a.connect(b.id), 'connect');
  assert.notEqual(again, ab);
  assert.equal(again.state, 'open');
  await closing;
  const message = next(b, 'message');
  await again.send('hello again');
  assert.equal((await message).message, 'hello again');
});

test('one peer, many connections', async () => {
  const b = await registered('b');
  const messages = collect(b, 'message');
  const others = await Promise.all(Array.from({ length: 10 }, () => registered('many')));
  await Promise.all(others.map((other) => within(other.send(b.id, other.id), 'send')));
  for (const { from, message } of await messages.until(10)) assert.equal(from, message);
  assert.equal(b.connections.size, 10);
});
