'use strict';
// The broker goes and comes back.

const { assert, collect, next, ownBroker, peer, test, took, within } = require('./harness');

async function pairAt(brokerUrl) {
  const [a, b] = [peer('a', { brokerUrl }), peer('b', { brokerUrl })];
  await Promise.all([next(a, 'register'), next(b, 'register')]);
  const incoming = next(b, 'connection');
  const ab = await within(a.connect(b.id), 'connect');
  return { a, b, ab, ba: await incoming };
}

test('open connections go on without the broker', async () => {
  const broker = await ownBroker();
  const { a, b, ab, ba } = await pairAt(broker.url);
  const offline = collect(a, 'offline');
  await broker.stop();
  const [{ reason, retryIn }] = await offline.until(1);
  assert.equal(typeof reason, 'string');
  assert.ok(Number.isFinite(retryIn) && retryIn >= 0);
  assert.equal(a.state, 'offline');
  const message = next(b, 'message');
  await ab.send('still here');
  assert.deepEqual(await message, { from: a.id, message: 'still here' });
  assert.deepEqual([ab.state, ba.state], ['open', 'open']);
  await within(ab.close(), 'close without a broker');
  assert.equal(ba.state === 'closed' || (await next(ba, 'close')).code === null, true);
});

test('offline once, then register again within a second of the return', async () => {
  const broker = await ownBroker();
  const { a, b, ab } = await pairAt(broker.url);
  for (let round = 0; round < 2; round++) {
    const offline = [collect(a, 'offline'), collect(b, 'offline')];
    await broker.stop();
    await Promise.all(offline.map(({ until }) => until(1)));
    const register = [collect(a, 'register'), collect(b, 'register')];
    await broker.start();
    const ms = await took(Promise.all(register.map(({ until }) => until(1))));
    assert.ok(ms < 1000, `${ms} ms`);
    assert.deepEqual(
      register.map(({ list }) => list),
      [[a.id], [b.id]],
    );
    assert.deepEqual(
      offline.map(({ list }) => list.length),
      [1, 1],
    );
    assert.deepEqual([a.state, b.state], ['registered', 'registered']);
    a.removeAllListeners();
    b.removeAllListeners();
  }
  assert.equal(ab.state, 'open');
  const c = peer('c', { brokerUrl: broker.url });
  await within(c.send(a.id, 1), 'send to a peer that has come back');
});

test('what is asked for while the broker is away happens when it is back', async () => {
  const broker = await ownBroker();
  const [a, b] = [peer('a', { brokerUrl: broker.url }), peer('b', { brokerUrl: broker.url })];
  await Promise.all([next(a, 'register'), next(b, 'register')]);
  const offline = [next(a, 'offline'), next(b, 'offline')];
  await broker.stop();
  await Promise.all(offline);
  const backAtB = next(b, 'register');
  await broker.start();
  // b must be there before a asks for it.
  await backAtB;
  const message = next(b, 'message');
  await within(a.send(b.id, 'welcome back'), 'send');
  assert.equal((await message).message, 'welcome back');
});

test('a broker that comes up late is found', async () => {
  const broker = await ownBroker();
  await broker.stop();
  const a = peer('a', { brokerUrl: broker.url });
  await next(a, 'offline');
  const register = next(a, 'register');
  await broker.start();
  assert.equal(await register, a.id);
});
