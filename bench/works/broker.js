'use strict';
// The server that introduces peers: figures of its own process, while bench/load keeps it busy.

const { setTimeout: sleep } = require('node:timers/promises');
const { flood, startLoad } = require('../lib/load');
const { cpuOf, residentOf } = require('../lib/proc');
const { startServer } = require('../lib/servers');

// So many sockets come first, and are not counted.
const WARM_UP = 50;
// Signals a second of which it is asked how long they take.
const RATE = 2000;

async function run(contender, { limit, sockets, warm, window }) {
  const server = await startServer(contender.server, { limit });
  const load = startLoad(contender.protocol, [server.url], { limit });
  try {
    const { pid } = server.child;
    await load.ask('open', { count: WARM_UP });
    await sleep(100);
    const [rss, cpu] = [residentOf(pid), cpuOf(pid)];
    await load.ask('open', { count: sockets });
    const accepted = cpuOf(pid) - cpu;
    await sleep(300);
    const grown = residentOf(pid) - rss;

    const { rate, cpu: perSignal } = await flood(load, [pid], { warm, window });
    const { p50, p99 } = await load.ask('pace', { rate: RATE, ms: window });
    return {
      rss: grown / sockets,
      accept: accepted / sockets,
      signal: perSignal[0],
      rate,
      p50,
      p99,
      note: `${sockets} sockets`,
    };
  } finally {
    await Promise.all([load.kill(), server.child.kill()]);
  }
}

module.exports = [
  {
    id: 'broker',
    title: 'broker, signals of 600 bytes',
    kind: 'server',
    once: true,
    metrics: [
      { id: 'rss', title: 'bytes of RSS per idle socket', better: 'less', digits: 0 },
      { id: 'signal', title: 'CPU us per routed signal', better: 'less', digits: 1 },
      { id: 'accept', title: 'CPU us per accept + register', better: 'less', digits: 0 },
      { id: 'rate', title: 'signals/s', better: 'more', digits: 0 },
      { id: 'p50', title: `ms that one of ${RATE}/s takes, p50`, better: 'less', digits: 2 },
      { id: 'p99', title: `ms that one of ${RATE}/s takes, p99`, better: 'less', digits: 2 },
    ],
    run,
  },
];
