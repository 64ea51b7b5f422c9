'use strict';
// Both sides call at once.

const { assert, collect, next, registered, test, within } = require('./harness');

const ROUNDS = 20;

test('both connect at once: one connection, both promises resolve with it', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  for (let round = 0; round < ROUNDS; round++) {
    const closed = [];
    const [ab, ba] = await within(Promise.all([a.connect(b.id), b.connect(a.id)]), `round ${round}`);
    for (const connection of [ab, ba]) closed.push(next(connection, 'close'));
    assert.deepEqual([...a.connections.values()], [ab]);
    assert.deepEqual([...b.connections.values()], [ba]);
    const [there, back] = [next(ba, 'message'), next(ab, 'message')];
    await Promise.all([ab.send('there'), ba.send('back')]);
    assert.deepEqual([await there, await back], ['there', 'back']);
    await within(round % 2 ? ab.close() : ba.close(), 'close');
    await Promise.all(closed);
  }
});

test('both call, and one changes its mind: the other has a connection all the same', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const [a, b] = await Promise.all([registered('a'), registered('b')]);
    const abort = new AbortController();
    const [kept, given] = round % 2 ? [a, b] : [b, a];
    const mind = given.connect(kept.id, { signal: abort.signal }).catch(() => {});
    const wanted = kept.connect(given.id);
    // Somewhere between the offer and the open connection.
    for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setTimeout(resolve));
    abort.abort();
    const connection = await within(wanted, `round ${round}`);
    assert.equal(connection.id, given.id);
    await mind;
    // Whose connection was open already, when the other gave up, hears that.
    for (const { reason } of await within(Promise.allSettled([a.close(), b.close()]), 'close', 4000))
      assert.ok(reason === undefined || reason.code === 'ERR_ABORTED', reason?.stack);
  }
});

test('both send at once without a connection: everything arrives, in order, once', async () => {
  for (let round = 0; round < 5; round++) {
    const [a, b] = await Promise.all([registered('a'), registered('b')]);
    const [atA, atB] = [collect(a, 'message'), collect(b, 'message')];
    const numbers = Array.from({ length: 10 }, (_, i) => i);
    const sends = numbers.flatMap((i) => [a.send(b.id, i), b.send(a.id, i)]);
    await within(Promise.all(sends), 'send');
    const messages = (list) => list.map(({ message }) => message);
    assert.deepEqual(messages(await atA.until(10)), numbers);
    assert.deepEqual(messages(await atB.until(10)), numbers);
    assert.deepEqual([a.connections.size, b.connections.size], [1, 1]);
  }
});
