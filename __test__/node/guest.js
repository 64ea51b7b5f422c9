'use strict';
// A host of linkup that ends: as a process of its own, or as a worker. `guest.test.js` says which way and what has to come
// of it; this file only does it.
//
//   node guest.js '{"state": …, "end": …}'        brings itself into that state, says so, and ends that way
//   node guest.js '[{"state": …, "end": …}, …]'   the same in workers, and prints how each of them ended

const { isMainThread, parentPort, workerData, Worker } = require('node:worker_threads');
const { once } = require('node:events');
const linkup = require('../../index.js');
const { Room, STATES } = require('./guest-states');

// Workers at the same time: enough to make them meet, few enough for two cores.
const TOGETHER = 6;

/** How a guest ends. The others come from outside: a signal, `worker.terminate()`. */
const ENDS = {
  exit: () => process.exit(7),
  throw: () =>
    setImmediate(() => {
      throw new Error('mine');
    }),
  natural: (room) => room.release(),
};

async function be({ state, end, ...surroundings }) {
  const room = new Room(surroundings);
  await STATES[state](room);
  if (isMainThread) console.log('reached');
  else parentPort.postMessage('reached');
  ENDS[end]?.(room);
}

/** Ends one worker; prints how that went. */
async function endWorker(guest, broker) {
  const worker = new Worker(__filename, { workerData: { broker, ...guest } });
  const what = `${guest.state} / ${guest.end}`;
  console.log(`begins: ${what}`);
  let error;
  worker.on('error', ({ message }) => {
    error = message;
  });
  const heard = (name) => new Promise((resolve) => worker.once(name, resolve));
  const exited = heard('exit');
  const reached = await Promise.race([heard('message'), exited.then(() => undefined)]);
  const start = performance.now();
  if (reached && guest.end === 'terminate') await worker.terminate();
  const code = await exited;
  const ms = Math.round(performance.now() - start);
  console.log(`ended: ${JSON.stringify({ ...guest, reached: reached !== undefined, code, error, ms })}`);
}

/** Ends workers, while two peers of the main thread talk: each message has to be answered. */
async function endWorkers(guests) {
  const broker = linkup.createBroker({ port: 0, host: 'localhost' });
  await broker.ready;
  const [asks, answers] = ['asks', 'answers'].map((name) => linkup.createPeer(name, { brokerUrl: broker.url }));
  answers.on('message', ({ from, message }) => answers.send(from, message));
  await once(answers, 'register');
  const waiting = [...guests];
  await Promise.all(
    Array.from({ length: TOGETHER }, async () => {
      for (let guest = waiting.shift(); guest; guest = waiting.shift()) {
        await endWorker(guest, broker.url);
        const echo = new Promise((resolve) => {
          asks.on('message', function listen({ message }) {
            if (message.state !== guest.state || message.end !== guest.end) return;
            asks.off('message', listen);
            resolve();
          });
        });
        await asks.send(answers.id, guest);
        await echo;
      }
    }),
  );
  await Promise.all([asks.close(), answers.close()]);
  await broker.close();
  console.log('all ended');
}

const task = isMainThread ? JSON.parse(process.argv[2]) : workerData;
if (Array.isArray(task)) endWorkers(task);
else be(task);
