'use strict';
// Two processes that connect to each other, and for linkup its broker in a third.

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { Child } = require('./child');
const { startServer } = require('./servers');

const END = path.join(__dirname, 'end.js');

/** Runs `work` with the two ends of a contender; ends everything it started. `network` may be undefined: loopback. */
async function withPair(contender, { network, limit }, work) {
  const children = [];
  try {
    let broker = '';
    if (contender.server) {
      const server = await startServer(contender.server, { limit, namespace: network?.called, host: network?.address });
      children.push(server.child);
      broker = server.url;
    }
    const start = (role) => {
      const args = ['--expose-gc', END, contender.script, role, broker];
      const env = { BENCH_ROOT: contender.root };
      const child = new Child(process.execPath, args, { limit, namespace: network?.[role], env });
      children.push(child);
      return child;
    };
    const caller = start('caller');
    const called = start('called');
    relay(caller, called, network?.delay);
    relay(called, caller, network?.delay);
    return await work(new Pair(caller, called));
  } finally {
    await Promise.all(children.map((child) => child.kill()));
  }
}

/** Carries signals, as late as the network would. */
function relay(from, to, delay) {
  from.onSignal = async (signal) => {
    if (delay) await sleep(delay);
    to.signal(signal);
  };
}

class Pair {
  constructor(caller, called) {
    this.caller = caller;
    this.called = called;
  }

  /** Asks both. */
  both(command, args) {
    return Promise.all([this.caller.ask(command, args), this.called.ask(command, args)]);
  }

  /** Connects number `n`; the ms that the caller waited. */
  async connect(n = 0) {
    await this.called.ask('prepare', { n });
    await this.caller.ask('prepare', { n });
    const there = this.called.ask('connect', { n });
    const [ms] = await Promise.all([this.caller.ask('connect', { n }), there]);
    return ms;
  }
}

module.exports = { withPair };
