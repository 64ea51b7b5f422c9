// What must hold every time, many times: order, glare, the first message.
'use strict';

const assert = require('node:assert/strict');
const { test, before, after } = require('node:test');
const { linkup, script, startBroker, within } = require('./helpers');

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

const registered = (peer) => new Promise((resolve) => peer.once('register', resolve));
const peerOf = async (id) => {
  const peer = linkup.createPeer(id, { brokerUrl: broker.url });
  await registered(peer);
  return peer;
};

test('100,000 messages each way between two processes: all there, in order', async () => {
  const COUNT = 100_000;
  const code = `
    const peer = linkup.createPeer(process.argv[1], { brokerUrl: process.env.BROKER });
    let next = 0;
    let sent = false;
    const end = () => { if (next === ${COUNT} && sent) { console.log('all'); } };
    peer.on('message', ({ message }) => {
      if (message.n !== next) { console.log('expected ' + next + ', got ' + message.n); process.exit(1); }
      next++;
      end();
    });
    const pump = async (connection) => {
      for (let n = 0; n < ${COUNT}; n++) await connection.send({ n, text: 'some text to make it a hundred bytes, more or less' });
      sent = true;
      end();
    };
    peer.on('connection', pump);
    peer.on('register', () => console.log('registered'));
    process.stdin.once('data', (other) => peer.connect(String(other).trim()).then(pump));
    process.stdin.once('end', () => peer.close());
  `;
  const env = { BROKER: broker.url };
  const one = script(code, { env, args: ['one'] });
  const two = script(code, { env, args: ['two'] });
  await Promise.all([one.line('registered'), two.line('registered')]);
  const start = performance.now();
  one.process.stdin.write('two\n');
  await Promise.all([one.line('all', 120_000), two.line('all', 120_000)]);
  console.log(
    `${Math.round((2 * COUNT) / (performance.now() - start))} thousand messages a second, both ways together`,
  );
  for (const child of [one, two]) {
    child.process.stdin.end();
    assert.equal((await child.exited).code, 0);
  }
});

test('a thousand mutual simultaneous connect(): one connection each time', async () => {
  const [a, b] = await Promise.all([peerOf('glare-a'), peerOf('glare-b')]);
  for (let round = 0; round < 1000; round++) {
    const [ab, ba] = await within(Promise.all([a.connect('glare-b'), b.connect('glare-a')]), 20_000, `round ${round}`);
    assert.equal(a.connections.size, 1);
    assert.equal(b.connections.size, 1);
    assert.equal(a.connections.get('glare-b'), ab);
    assert.equal(b.connections.get('glare-a'), ba);
    const [x, y] = [once(ab, 'message'), once(ba, 'message')];
    await Promise.all([ab.send({ round }), ba.send({ round })]);
    assert.deepEqual(await within(Promise.all([x, y]), 10_000, `messages of round ${round}`), [{ round }, { round }]);
    const gone = Promise.all([once(ab, 'close'), once(ba, 'close')]);
    await (round % 2 ? a.disconnect('glare-b') : b.disconnect('glare-a'));
    await within(gone, 10_000, `close of round ${round}`);
  }
  await Promise.all([a.close(), b.close()]);
});

test('the first message, sent in the remote’s connection handler: a thousand fresh connections', async () => {
  const [a, b] = await Promise.all([peerOf('first-a'), peerOf('first-b')]);
  b.on('connection', (connection) => {
    connection.send('first').then(() => connection.send('second'));
  });
  for (let round = 0; round < 1000; round++) {
    const connection = await within(a.connect('first-b'), 20_000, `round ${round}`);
    const got = [];
    const both = new Promise((resolve) => {
      connection.on('message', (message) => {
        got.push(message);
        if (got.length === 2) resolve();
      });
    });
    let connects = 0;
    connection.on('connect', () => connects++);
    await within(both, 10_000, `messages of round ${round}, got ${got}`);
    assert.deepEqual(got, ['first', 'second']);
    assert.equal(connects, 1);
    await connection.close();
  }
  await Promise.all([a.close(), b.close()]);
});

function once(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}
