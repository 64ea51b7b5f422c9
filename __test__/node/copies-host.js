'use strict';
// A process with two copies of linkup. Each command puts them to a test of its own and prints `done`; copies.test.js lays
// the copies out.
//
//   node copies-host.js COMMAND FOLDER FOLDER

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { isMainThread, parentPort, workerData, Worker } = require('node:worker_threads');

const [command, ...folders] = isMainThread ? process.argv.slice(2) : [workerData.command, ...workerData.folders];
const copies = folders.map((folder) => require(folder));
const brokerUrl = process.env.BROKER;

/** A registered peer of a copy. */
async function peerOf(copy, name, options = { brokerUrl }) {
  const peer = copy.createPeer(`${name}-${process.pid}`, options);
  await once(peer, 'register');
  return peer;
}

/** Messages, and a stream, each way. */
async function talk(a, b) {
  const came = once(b, 'connection');
  const here = await a.connect(b.id);
  const [there] = await came;
  for (const [from, to] of [
    [here, there],
    [there, here],
  ]) {
    const got = [];
    const all = new Promise((resolve) => to.on('message', (n) => got.push(n) === 200 && resolve()));
    const heard = once(to, 'stream');
    from.createStream('bytes').end(Buffer.alloc(100_000, 1));
    for (let n = 0; n < 200; n++) await from.send(n);
    await all;
    assert.deepEqual(
      got,
      Array.from({ length: 200 }, (_, n) => n),
    );
    let bytes = 0;
    const [stream] = await heard;
    for await (const chunk of stream) bytes += chunk.length;
    assert.equal(bytes, 100_000);
  }
  return [here, there];
}

const failure = (promise) => promise.then(assert.fail, (error) => error);

const COMMANDS = {
  /** Peers of both talk, also with the broker of one of them, and their errors tell each other's. */
  async together() {
    const [one, two] = copies;
    assert.notEqual(one, two);
    const [a, b] = [await peerOf(one, 'a'), await peerOf(two, 'b')];
    const [here] = await talk(a, b);
    for (const [copy, other, peer] of [
      [one, two, a],
      [two, one, b],
    ]) {
      const error = await failure(peer.connect('nobody'));
      assert.equal(error.code, 'ERR_PEER_NOT_FOUND');
      assert.ok(error instanceof copy.LinkupError && error instanceof Error);
      // A class is that of its copy; the code is what both agree about.
      assert.equal(error instanceof other.LinkupError, false);
      assert.equal(error.name, new other.LinkupError('ERR_ABORTED', 'x').name);
    }
    assert.ok(here instanceof one.Connection && !(here instanceof two.Connection));
    const broker = two.createBroker({ port: 0, host: 'localhost' });
    await broker.ready;
    const guests = [
      await peerOf(one, 'c', { brokerUrl: broker.url }),
      await peerOf(two, 'd', { brokerUrl: broker.url }),
    ];
    await talk(...guests);
    for (const peer of [...guests, a, b]) await peer.close();
    await broker.close();
  },

  /** A worker with peers of both is terminated, again and again; peers of both in the main thread go on. */
  async workers() {
    const [one, two] = copies;
    const [a, b] = [await peerOf(one, 'a'), await peerOf(two, 'b')];
    const connections = await talk(a, b);
    for (let round = 0; round < 6; round++) {
      const worker = new Worker(__filename, { workerData: { command: 'busy', folders } });
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await worker.terminate();
      for (const [from, to] of [connections, [...connections].reverse()]) {
        const heard = once(to, 'message');
        await from.send(round);
        assert.deepEqual(await heard, [round]);
      }
    }
    await Promise.all([a.close(), b.close()]);
  },

  /** In a worker: peers of both, with messages without end; says when they go. */
  async busy() {
    const [a, b] = [await peerOf(copies[0], 'wa'), await peerOf(copies[1], 'wb')];
    const pump = async (connection) => {
      for (;;) await connection.send('x'.repeat(500));
    };
    const got = [a, b].map((peer) => once(peer, 'message'));
    for (const connection of await talk(a, b)) pump(connection).catch(() => {});
    await Promise.all(got);
    parentPort.postMessage('busy');
    return new Promise(() => {});
  },

  /** Without a broker: one of them serves, the other one uses that, and takes over when the first lets go. */
  async embedded() {
    const [one, two] = copies;
    const a = await peerOf(one, 'a', {});
    const b = await peerOf(two, 'b', {});
    const [here, there] = await talk(a, b);
    const c = await peerOf(two, 'c', {});
    const again = once(b, 'register');
    await a.close();
    await again;
    while (!(await b.find(c.id))) await sleep(10);
    await talk(c, b);
    assert.deepEqual([here.state, there.state], ['closed', 'closed']);
    await Promise.all([b.close(), c.close()]);
  },

  /** The process ends with live peers of both. */
  async exit() {
    const [a, b] = [await peerOf(copies[0], 'a'), await peerOf(copies[1], 'b')];
    await talk(a, b);
    console.log('done');
    process.exit(0);
  },
};

COMMANDS[command]().then(
  () => console.log('done'),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
