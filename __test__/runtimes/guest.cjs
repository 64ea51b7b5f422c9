'use strict';
// A guest of each runtime, told by its first argument what to do: the program says `ok` where that went well.
// scripts/runtimes.js runs it, in a project where linkup is installed, and looks at how it ends.

const { once } = require('node:events');
const { setTimeout: wait } = require('node:timers/promises');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const linkup = require('linkup');

// Without another runtime beside it, it is 100 ms: ../node/exit.test.js. What keeps a process keeps it for longer than this.
const PROMPT_MS = 1000;
const PATIENCE_MS = 20_000;
const WORKERS = 3;

/** Two peers that send to each other without end; resolves when they are at it. */
function traffic(brokerUrl, name) {
  const [a, b] = ['a', 'b'].map((letter) => linkup.createPeer(letter + name, { brokerUrl }));
  const pump = async (connection) => {
    for (;;) await connection.send({ text: 'x'.repeat(500) });
  };
  let received = 0;
  const busy = new Promise((resolve) => {
    for (const peer of [a, b]) peer.on('message', () => ++received === 200 && resolve());
  });
  // What ends the pumps is the end of everything.
  b.on('connection', (connection) => pump(connection).catch(() => {}));
  b.once('register', async () => pump(await a.connect(b.id)).catch(() => {}));
  return busy;
}

/** Nothing but open peers holds the process, and nothing at all once they are closed. */
async function ends(brokerUrl) {
  const [a, b] = ['a', 'b'].map((name) => linkup.createPeer(name, { brokerUrl }));
  linkup.createPeer('c', { brokerUrl }).unref();
  await once(b, 'register');
  const arrived = once(b, 'message');
  await a.send('b', 'hello');
  await arrived;
  await Promise.all([a.close(), b.close()]);
  const closed = performance.now();
  process.on('exit', () => {
    const ms = performance.now() - closed;
    console.log(ms < PROMPT_MS ? 'ok' : `it took ${ms} ms`);
  });
}

/** Worker threads end at any moment: their ids are free, and the others go on. */
async function workers(brokerUrl) {
  const peer = linkup.createPeer('main', { brokerUrl });
  for (let count = 0; count < WORKERS; count++) {
    const worker = new Worker(__filename, { workerData: { brokerUrl, name: count } });
    await once(worker, 'message');
    if (!(await peer.find(`a${count}`))) throw new Error('the peer of the worker is not there');
    await worker.terminate();
    // Deno's promise does not wait for the thread.
    for (const start = performance.now(); await peer.find(`a${count}`); await wait(10)) {
      if (performance.now() - start > PATIENCE_MS) throw new Error('the peer of the worker is still there');
    }
  }
  await traffic(brokerUrl, 'here');
  console.log('ok');
  process.exit(0);
}

/** `process.exit()` in the middle of traffic. */
async function exits(brokerUrl) {
  await traffic(brokerUrl, 'here');
  console.log('ok');
  process.exit(7);
}

/** An exception that nobody catches, in the middle of traffic. */
async function throws(brokerUrl) {
  await traffic(brokerUrl, 'here');
  console.log('ok');
  setImmediate(() => {
    throw new Error('mine');
  });
}

if (isMainThread) {
  const [what, brokerUrl] = process.argv.slice(2);
  ({ ends, workers, exits, throws })[what](brokerUrl);
} else {
  traffic(workerData.brokerUrl, workerData.name).then(() => parentPort.postMessage('busy'));
}
