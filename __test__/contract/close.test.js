'use strict';
// Closing connections and peers: what was accepted arrives first, everybody hears of it once, nothing hangs.

const { assert, collect, next, pair, peer, registered, rejects, test, within } = require('./harness');

const ORDERLY = { code: null, reason: '' };
const COUNT = 50;
const TEXT = 'x'.repeat(64 * 1024);

/** The closes and messages that both ends saw. */
function watch({ ab, ba }) {
  return { messages: collect(ba, 'message'), here: collect(ab, 'close'), there: collect(ba, 'close') };
}

for (const [name, end] of [
  ['Connection.close()', ({ ab }) => ab.close()],
  ['Peer.disconnect()', ({ a, b }) => a.disconnect(b.id)],
  ['Peer.close()', ({ a }) => a.close()],
]) {
  test(`${name} delivers everything first and closes both sides in order`, async () => {
    const ends = await pair();
    const { messages, here, there } = watch(ends);
    const sends = Array.from({ length: COUNT }, () => ends.ab.send(TEXT));
    await within(end(ends), name);
    await Promise.all(sends);
    assert.deepEqual([ends.ab.state, ends.a.connections.size], ['closed', 0]);
    assert.deepEqual(await there.until(1), [ORDERLY]);
    assert.deepEqual(await here.until(1), [ORDERLY]);
    assert.equal(messages.list.length, COUNT);
    assert.equal(ends.ba.state, 'closed');
    assert.equal(ends.b.connections.size, 0);
  });
}

test('both sides close at once', async () => {
  for (let round = 0; round < 5; round++) {
    const ends = await pair();
    const { here, there } = watch(ends);
    await within(Promise.all([ends.ab.close(), ends.ba.close()]), 'close');
    assert.deepEqual([await here.until(1), await there.until(1)], [[ORDERLY], [ORDERLY]]);
  }
});

test('two connected peers close at once: neither rejects, neither waits', async () => {
  for (let round = 0; round < 20; round++) {
    const [a, b] = await Promise.all([registered('a'), registered('b')]);
    await within(a.connect(b.id), 'connect');
    await within(Promise.all([a.close(), b.close()]), 'close', 2000);
  }
});

test('close is idempotent; a closed connection takes nothing', async () => {
  const { a, b, ab } = await pair();
  const closing = ab.close();
  assert.equal(ab.state, 'closing');
  assert.equal(ab.close(), closing);
  await rejects(ab.send(1), 'ERR_CONNECTION_CLOSED', { peerId: b.id });
  await within(closing, 'close');
  await ab.close();
  assert.equal(ab.state, 'closed');
  await rejects(ab.send(1), 'ERR_CONNECTION_CLOSED', { peerId: b.id });
  await rejects(ab.stats(), 'ERR_CONNECTION_CLOSED', { peerId: b.id });
  assert.equal(a.connections.has(b.id), false);
});

test('disconnect resolves at once where there is no connection', async () => {
  const a = await registered('a');
  assert.equal(await within(a.disconnect('nobody'), 'disconnect', 100), undefined);
});

test('disconnect gives an attempt up, and delivers messages that wait for one', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(b, 'message');
  const connecting = rejects(a.connect(b.id), 'ERR_CONNECTION_CLOSED', { peerId: b.id });
  await within(a.disconnect(b.id), 'disconnect');
  await connecting;
  const sends = [a.send(b.id, 1), a.send(b.id, 2)];
  await within(a.disconnect(b.id), 'disconnect');
  await Promise.all(sends);
  const list = await messages.until(2);
  assert.deepEqual(
    list.map(({ message }) => message),
    [1, 2],
  );
  assert.equal(a.connections.size, 0);
});

test('Peer.close() is idempotent, and later calls reject ERR_PEER_CLOSED', async () => {
  const { a, b, ab } = await pair();
  const closing = a.close();
  assert.equal(a.state, 'closed');
  assert.equal(a.close(), closing);
  for (const call of [a.connect(b.id), a.send(b.id, 1), a.disconnect(b.id), a.find(b.id)]) {
    await rejects(call, 'ERR_PEER_CLOSED', { peerId: b.id });
  }
  await rejects(ab.send(1), 'ERR_CONNECTION_CLOSED');
  assert.equal(await within(closing, 'close'), undefined);
  await a.close();
});

test('Peer.close() settles everything that is pending', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const pending = [a.connect(b.id), a.connect('nobody'), a.find(b.id), a.send(b.id, 'last words')];
  const settled = Promise.allSettled(pending);
  const message = next(b, 'message');
  await within(a.close(), 'close');
  const results = await within(settled, 'everything pending');
  assert.equal(results[0].reason?.code, 'ERR_PEER_CLOSED');
  assert.equal(results[1].reason?.code, 'ERR_PEER_CLOSED');
  // It was accepted: it arrives.
  assert.equal(results[3].status, 'fulfilled');
  assert.equal((await message).message, 'last words');
});

test('a peer can be closed before it is registered', async () => {
  const a = peer('a');
  await within(a.close(), 'close', 2000);
  assert.equal(a.state, 'closed');
});

test('a closed peer is not registered any more', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  await b.close();
  await rejects(a.connect(b.id), 'ERR_PEER_NOT_FOUND', { peerId: b.id });
});

test('await using closes the peer', async () => {
  const a = await registered('a');
  if (Symbol.asyncDispose !== undefined) await within(a[Symbol.asyncDispose](), 'dispose');
  else await a.close();
  assert.equal(a.state, 'closed');
});

test('what listeners of close do is allowed: connect again', async () => {
  const { a, b, ab, ba } = await pair();
  const again = new Promise((resolve, reject) => {
    ba.on('close', () => b.connect(a.id).then(resolve, reject));
  });
  await ab.close();
  assert.equal((await within(again, 'connect again')).state, 'open');
});
