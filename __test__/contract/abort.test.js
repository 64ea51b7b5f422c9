'use strict';
// AbortSignal in connect and send.

const { assert, collect, next, pair, registered, rejects, test, within } = require('./harness');

test('a signal that has fired already: ERR_ABORTED, and nothing begins', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const reason = new Error('too late');
  const options = { signal: AbortSignal.abort(reason) };
  const incoming = collect(b, 'connection');
  await rejects(a.connect(b.id, options), 'ERR_ABORTED', { peerId: b.id, cause: reason });
  await rejects(a.send(b.id, 1, options), 'ERR_ABORTED', { peerId: b.id, cause: reason });
  await a.send(b.id, 2);
  await incoming.until(1);
  assert.equal(incoming.list.length, 1);
});

test('an abort gives the attempt up; the next one works', async () => {
  // A called side that never answers holds the attempt open.
  const [a, b] = await Promise.all([registered('a'), registered('b', { accept: () => new Promise(() => {}) })]);
  for (const call of [(options) => a.connect(b.id, options), (options) => a.send(b.id, 1, options)]) {
    const abort = new AbortController();
    const waiting = call({ signal: abort.signal });
    abort.abort('changed my mind');
    await rejects(waiting, 'ERR_ABORTED', { peerId: b.id, cause: 'changed my mind' });
  }
  assert.equal(a.connections.size, 0);
  const c = await registered('c');
  await within(a.send(c.id, 1), 'send');
});

test('an abort takes only its own call out', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const messages = collect(b, 'message');
  const abort = new AbortController();
  const options = { signal: abort.signal };
  const kept = [a.send(b.id, 1), a.connect(b.id)];
  const given = [a.send(b.id, 2, options), a.connect(b.id, options)];
  kept.push(a.send(b.id, 3));
  abort.abort();
  for (const call of given) await rejects(call, 'ERR_ABORTED', { peerId: b.id });
  await within(Promise.all(kept), 'the others');
  const list = await messages.until(2);
  assert.deepEqual(
    list.map(({ message }) => message),
    [1, 3],
  );
});

test('an abort after the message was handed over does nothing', async () => {
  const { a, b } = await pair();
  const abort = new AbortController();
  const message = next(b, 'message');
  await a.send(b.id, 1, { signal: abort.signal });
  abort.abort();
  assert.equal((await message).message, 1);
  assert.equal((await a.connect(b.id, { signal: new AbortController().signal })).state, 'open');
});

test('what is not a signal is a TypeError', async () => {
  const a = await registered('a');
  for (const options of [{ signal: {} }, { signal: null }, { timeout: 1 }, 1, null]) {
    await assert.rejects(a.connect('b', options), { name: 'TypeError', message: /^options/ });
    await assert.rejects(a.send('b', 1, options), { name: 'TypeError', message: /^options/ });
  }
});
