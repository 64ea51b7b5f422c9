// A remote process that freezes, dies, or comes back.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test, before, after } = require('node:test');
const { linkup, script, startBroker, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

const once = (emitter, name, ms) => within(new Promise((resolve) => emitter.once(name, resolve)), ms, name);

/** A process with a peer of that id, which prints what it hears. */
async function remote(id) {
  const child = script(
    `const peer = linkup.createPeer(${JSON.stringify(id)}, { brokerUrl: process.env.BROKER });
     peer.on('register', () => console.log('registered'));
     peer.on('message', ({ message }) => console.log('got', JSON.stringify(message)));`,
    { env: { BROKER: broker.url } },
  );
  await child.line('registered');
  return child;
}

/** Stops a process, and returns when the kernel has really stopped it. */
async function freeze(child) {
  child.process.kill('SIGSTOP');
  const stopped = () => / T /.test(fs.readFileSync(`/proc/${child.process.pid}/stat`, 'utf8').replace(/\(.*\)/, ''));
  while (!stopped()) await new Promise(setImmediate);
}

test('kill -9 of the remote is noticed within timeouts.idle', async () => {
  const child = await remote('killed');
  const peer = linkup.createPeer('witness', { brokerUrl: broker.url, timeouts: { idle: 4000 } });
  const connection = await peer.connect('killed');
  await connection.send('hello');
  await child.line('got "hello"');
  await child.kill();
  const start = performance.now();
  const { code } = await once(connection, 'close', 15_000);
  const ms = performance.now() - start;
  console.log(`noticed after ${(ms / 1000).toFixed(1)} s of 4`);
  assert.equal(code, 'ERR_CONNECTION_LOST');
  assert.ok(ms < 4500, `it took ${ms} ms`);
  await assert.rejects(connection.send('x'), { code: 'ERR_CONNECTION_CLOSED', peerId: 'killed' });

  // Its successor has the id at once, and is reached over a new connection.
  const again = await remote('killed');
  await peer.send('killed', 'again');
  await again.line('got "again"');
  await peer.close();
  await again.kill();
});

test('a remote that stays away for longer than timeouts.resume is lost, and with it what it has not got', async () => {
  const child = await remote('away');
  const timeouts = { idle: 2000, resume: 1000 };
  const peer = linkup.createPeer('waiter', { brokerUrl: broker.url, timeouts });
  const connection = await peer.connect('away');
  await connection.send('hello');
  await child.line('got "hello"');
  await freeze(child);
  const lost = { code: 'ERR_CONNECTION_LOST', peerId: 'away' };
  const acknowledged = assert.rejects(connection.send('never there', { ack: true }), lost);
  const reconnecting = once(connection, 'reconnecting', 10_000);
  const closed = once(connection, 'close', 10_000);
  await reconnecting;
  const start = performance.now();
  assert.equal((await closed).code, 'ERR_CONNECTION_LOST');
  const ms = performance.now() - start;
  assert.ok(ms >= timeouts.resume * 0.9 && ms < timeouts.resume + 1000, `${ms} ms`);
  await acknowledged;
  await peer.close();
  await child.kill();
});

test('close() towards a frozen remote rejects ERR_CLOSE_TIMEOUT with the number of messages, and closes', async () => {
  const child = await remote('frozen');
  const peer = linkup.createPeer('closer', { brokerUrl: broker.url, timeouts: { close: 1000 } });
  const connection = await peer.connect('frozen');
  await connection.send('hello');
  await child.line('got "hello"');
  await freeze(child);
  for (let n = 0; n < 3; n++) connection.send({ n });
  const closed = once(connection, 'close', 10_000);
  await assert.rejects(within(connection.close(), 10_000, 'the rejection'), (error) => {
    assert.equal(error.code, 'ERR_CLOSE_TIMEOUT');
    assert.equal(error.peerId, 'frozen');
    assert.ok(error.details.unconfirmed >= 3 && error.details.unconfirmed <= 4, JSON.stringify(error.details));
    return true;
  });
  assert.equal((await closed).code, 'ERR_CLOSE_TIMEOUT');
  assert.equal(connection.state, 'closed');
  assert.equal(peer.connections.size, 0);
  await peer.close();
  await child.kill();
});

test('an answer that never comes ends with ERR_CONNECT_TIMEOUT', async () => {
  const child = await remote('silent');
  await freeze(child);
  const peer = linkup.createPeer('impatient', { brokerUrl: broker.url, timeouts: { connect: 500 } });
  await assert.rejects(within(peer.connect('silent'), 5000, 'the rejection'), {
    code: 'ERR_CONNECT_TIMEOUT',
    peerId: 'silent',
  });
  await peer.close();
  await child.kill();
});
