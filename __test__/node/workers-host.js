'use strict';
// A process in which workers with peers come and go, while two peers of its main thread talk and must not notice. Prints
// what is left afterwards; workers.test.js judges that.
//
//   node workers-host.js crowd SEED   24 workers at once, ended in an order and at moments by chance
//   node workers-host.js row COUNT    so many workers, one after another

const { once } = require('node:events');
const { isMainThread, parentPort, threadId, workerData, Worker } = require('node:worker_threads');
const linkup = require('../../index.js');
const { countsOfSelf } = require('../../bench/lib/proc');
const { random } = require('../../js/test/random');

const CROWD = 24;
const brokerUrl = process.env.BROKER;
const peerOf = (name) => linkup.createPeer(`${name}-${process.pid}-${threadId}`, { brokerUrl });

/** A worker: two peers that send to each other without end. Says `busy` when both have got something. */
async function busy() {
  const [a, b] = [peerOf('a'), peerOf('b')];
  const got = [a, b].map((peer) => once(peer, 'message'));
  const pump = async (connection) => {
    for (let n = 0; ; n++) await connection.send({ n, text: 'x'.repeat(200) });
  };
  b.on('connection', (connection) => pump(connection).catch(() => {}));
  await once(b, 'register');
  pump(await a.connect(b.id)).catch(() => {});
  await Promise.all(got);
  parentPort.postMessage('busy');
}

/** A worker: says one thing to the peer of the main thread, hears the answer, and is ready to end. */
async function brief() {
  const peer = peerOf('brief');
  const answer = once(peer, 'message');
  await peer.send(workerData.to, 'hello');
  await answer;
  parentPort.postMessage('ready');
  // Else somebody else ends it.
  if (workerData.closes) await peer.close();
}

/** Two peers of the main thread: the one answers whoever writes, the other has a round trip on request. */
async function talkers() {
  const [asks, answers] = [peerOf('asks'), peerOf('answers')];
  answers.on('message', ({ from, message }) => answers.send(from, message).catch(() => {}));
  await once(answers, 'register');
  let next = 0;
  const roundTrip = async () => {
    const n = next++;
    const heard = once(asks, 'message');
    await asks.send(answers.id, n);
    const [{ message }] = await heard;
    if (message !== n) throw new Error(`${message} instead of ${n}`);
  };
  await roundTrip();
  return { roundTrip, id: answers.id, close: () => Promise.all([asks.close(), answers.close()]) };
}

function start(what, data = {}) {
  const worker = new Worker(__filename, { workerData: { what, ...data } });
  worker.exited = new Promise((resolve) => worker.once('exit', resolve));
  worker.failed = new Promise((_, reject) => worker.once('error', reject));
  worker.failed.catch(() => {});
  worker.told = Promise.race([worker.failed, new Promise((resolve) => worker.once('message', resolve))]);
  return worker;
}

/** What the process uses, when that is no more than `bound`; else what it uses in the end. */
async function settled(talk, bound) {
  const end = performance.now() + 15_000;
  for (;;) {
    const counts = countsOfSelf();
    if (counts.threads <= bound.threads && counts.files <= bound.files) return counts;
    if (performance.now() > end) return counts;
    // A turn of everything: this thread, the addon's, the broker.
    await talk.roundTrip();
  }
}

async function crowd(seed) {
  const talk = await talkers();
  // The first one brings what stays.
  const first = start('busy');
  await first.told;
  await first.terminate();
  const before = countsOfSelf();

  const chance = random(seed);
  const workers = Array.from({ length: CROWD }, () => start('busy'));
  await Promise.all(workers.map((worker) => worker.told));
  const most = countsOfSelf();
  while (workers.length > 0) {
    for (let rounds = Math.floor(chance() * 3); rounds > 0; rounds--) await talk.roundTrip();
    // Often several at once.
    const going = Array.from({ length: 1 + Math.floor(chance() * 3) }, () =>
      workers.splice(Math.floor(chance() * workers.length), 1),
    ).flat();
    await Promise.all(going.map((worker) => worker.terminate()));
  }
  const after = await settled(talk, before);
  await talk.close();
  console.log(JSON.stringify({ before, most, after }));
}

async function row(count) {
  const talk = await talkers();
  const measured = [];
  for (let n = 0; n < count; n++) {
    const closes = n % 2 === 0;
    const worker = start('brief', { to: talk.id, closes });
    await worker.told;
    if (closes) await Promise.race([worker.exited, worker.failed]);
    else await worker.terminate();
    if (n % 50 === 49) {
      const bound = measured[0] ?? { threads: 0, files: 0 };
      const counts = await (measured.length > 0 ? settled(talk, bound) : countsOfSelf());
      measured.push({ ...counts, rss: process.memoryUsage.rss() });
    }
  }
  await talk.close();
  console.log(JSON.stringify(measured));
}

const [task, number] = isMainThread ? process.argv.slice(2) : [workerData.what];
({ busy, brief, crowd, row })[task](Number(number));
