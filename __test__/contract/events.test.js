'use strict';
// Which events come, how often, in which order.

const { assert, collect, linkup, next, pair, peerWithId, registered, test, warnings, within } = require('./harness');

test('connection only for connections that the remote made, once', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const [atA, atB] = [collect(a, 'connection'), collect(b, 'connection')];
  await within(a.send(b.id, 1), 'send');
  const [ba] = await atB.until(1);
  assert.ok(ba instanceof linkup.Connection);
  assert.deepEqual([ba.id, ba.state], [a.id, 'open']);
  assert.equal(await b.connect(a.id), ba);
  const message = next(a, 'message');
  await b.send(a.id, 2);
  await message;
  assert.deepEqual([atA.list.length, atB.list.length], [0, 1]);
});

test('connect once on both sides, before the first message', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const events = [];
  const watch = (side) => (connection) => {
    connection.on('connect', () => events.push(`${side} connect`));
    connection.on('message', (message) => events.push(`${side} ${message}`));
  };
  b.on('connection', watch('b'));
  const incoming = next(b, 'connection');
  const connection = await within(a.connect(b.id), 'connect');
  watch('a')(connection);
  // Where b calls before it has heard of the connection, it is its own, too, and no event.
  await incoming;
  const last = [next(a, 'message'), next(b, 'message')];
  connection.send('1');
  b.send(a.id, '2');
  await Promise.all(last);
  assert.deepEqual(
    events.filter((event) => event.startsWith('a')),
    ['a connect', 'a 2'],
  );
  assert.deepEqual(
    events.filter((event) => event.startsWith('b')),
    ['b connect', 'b 1'],
  );
});

test('message comes on the Connection and then on the Peer', async () => {
  const { a, b, ab, ba } = await pair();
  const events = [];
  b.on('message', (envelope) => events.push(envelope));
  ba.on('message', (message) => events.push(message));
  const messages = collect(b, 'message');
  for (const message of [1, [2], null]) await ab.send(message);
  await messages.until(3);
  const envelope = (message) => ({ from: a.id, message });
  assert.deepEqual(events, [1, envelope(1), [2], envelope([2]), null, envelope(null)]);
});

test('each message is an object of its own', async () => {
  const { b, ab, ba } = await pair();
  ba.on('message', (message) => {
    message.changed = true;
  });
  const messages = collect(b, 'message');
  await ab.send({});
  await ab.send({});
  const [one, two] = await messages.until(2);
  assert.notEqual(one.message, two.message);
});

test('once, off and removeAllListeners', async () => {
  const { b, ab } = await pair();
  const heard = [];
  const listener = () => heard.push('off');
  b.once('message', () => heard.push('once'));
  b.on('message', listener).off('message', listener);
  const messages = collect(b, 'message');
  await ab.send(1);
  await ab.send(2);
  await messages.until(2);
  assert.deepEqual(heard, ['once']);
  assert.equal(b.listenerCount('message'), 1);
  assert.equal(b.removeAllListeners('message').listenerCount('message'), 0);
});

test('an error that nobody listens for is one process warning, not an exception', async () => {
  const owner = await registered('owner');
  const list = await warnings(1, async () => {
    const stranger = peerWithId(owner.id);
    assert.equal(stranger.listenerCount('error'), 0);
  });
  assert.equal(list.length, 1);
  assert.equal(list[0].code, 'ERR_ID_TAKEN');
  assert.ok(list[0].message.includes(owner.id));
});
