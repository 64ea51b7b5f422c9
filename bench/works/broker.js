'use strict';
// The server that introduces peers: figures of its own process, while servers/load.js keeps it busy.

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { Child } = require('../lib/child');
const { cpuOf, residentOf } = require('../lib/proc');
const { startServer } = require('../lib/servers');

const LOAD = path.join(__dirname, '../servers/load.js');

// So many sockets come first, and are not counted.
const WARM_UP = 50;

async function run(contender, { limit, sockets, warm, window }) {
  const server = await startServer(contender.server, { limit });
  const load = new Child(process.execPath, [LOAD, contender.protocol, server.url], { limit });
  try {
    const { pid } = server.child;
    await load.ask('open', { count: WARM_UP });
    await sleep(100);
    const [rss, cpu] = [residentOf(pid), cpuOf(pid)];
    await load.ask('open', { count: sockets });
    const accepted = cpuOf(pid) - cpu;
    await sleep(300);
    const grown = residentOf(pid) - rss;

    await load.ask('flood');
    await sleep(warm);
    const [before, used] = [await load.ask('sample'), cpuOf(pid)];
    await sleep(window);
    const [after, usedAfter] = [await load.ask('sample'), cpuOf(pid)];
    const routed = after.routed - before.routed;
    return {
      rss: grown / sockets,
      accept: accepted / sockets,
      signal: (usedAfter - used) / routed,
      rate: (routed / (after.at - before.at)) * 1000,
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
      // No comparison: the load generator is the slower one.
      { id: 'rate', title: 'signals/s (bound by the generator)', digits: 0 },
    ],
    run,
  },
];
