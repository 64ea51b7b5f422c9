'use strict';
// No message is lost to a listener that comes as early as a program can.

const { assert, collect, next, pair, registered, test, within } = require('./harness');

const COUNT = 3000;

test('a listener attached after await connect() sees connect and what the remote sent at once', async () => {
  for (let round = 0; round < 10; round++) {
    const [a, b] = await Promise.all([registered('a'), registered('b')]);
    b.on('connection', (connection) => {
      connection.send(1);
      connection.send(2);
    });
    // As deep as real programs are: a promise resolves layer by layer.
    const connect = async () => a.connect(b.id);
    const layered = async () => (await Promise.all([connect()]))[0];
    const connection = await within(layered(), 'connect');
    const events = [];
    connection.on('connect', () => events.push('connect'));
    const messages = collect(connection, 'message');
    connection.on('message', (message) => events.push(message));
    await messages.until(2);
    assert.deepEqual(events, ['connect', 1, 2]);
  }
});

test('a listener attached inside connection sees connect and every message', async () => {
  const [a, b] = await Promise.all([registered('a'), registered('b')]);
  const events = [];
  const done = new Promise((resolve) => {
    b.on('connection', async (connection) => {
      // A listener may look something up first, as long as that takes no turn of the event loop.
      await Promise.resolve().then(() => {});
      connection.on('connect', () => events.push('connect'));
      connection.on('message', (message) => {
        events.push(message);
        if (message === 9) resolve();
      });
    });
  });
  for (let i = 0; i < 10; i++) a.send(b.id, i);
  await within(done, 'messages');
  assert.deepEqual(events, ['connect', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('who awaits one message after the other gets them all', async () => {
  const { ab, ba } = await pair();
  const read = async () => {
    for (let i = 0; i < COUNT; i++) assert.equal(await next(ba, 'message'), i);
  };
  const reading = read();
  for (let i = 0; i < COUNT; i++) ab.send(i);
  await within(reading, 'all messages');
});
