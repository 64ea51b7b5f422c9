'use strict';
// W1 and W1d: how long until messages can flow.

const { setTimeout: sleep } = require('node:timers/promises');
const { withPair } = require('../lib/pair');
const { quantile } = require('../lib/statistics');

const WARM_UP = 1;

/** Connects again and again, one after the other, until `connects` are done or `connecting` ms gone: the ms of each. */
function connects(contender, { network, limit, connects, connecting }) {
  return withPair(contender, { network, limit }, async (pair) => {
    const times = [];
    let end = Infinity;
    for (let n = 0; times.length < connects && performance.now() < end; n++) {
      if (n === WARM_UP) end = performance.now() + connecting;
      const ms = await pair.connect(n);
      if (n >= WARM_UP) times.push(ms);
      await pair.both('close', { n });
      await sleep(5);
    }
    return times;
  });
}

const title = 'connect';
const p50 = { id: 'p50', title: 'p50 ms', better: 'less', digits: 1 };
const p95 = { id: 'p95', title: 'p95 ms', better: 'less', digits: 1 };

const W1 = {
  id: 'W1',
  title: `${title}, loopback`,
  kind: 'pair',
  metrics: [p50, p95],
  async run(contender, context) {
    const times = await connects(contender, context);
    return { p50: quantile(times, 0.5), p95: quantile(times, 0.95) };
  },
};

const DELAY = 20;

const W1d = {
  id: 'W1d',
  title: `${title} at ${DELAY} ms each way`,
  kind: 'pair',
  network: { delay: DELAY },
  once: true,
  metrics: [p50, { id: 'trips', title: 'round trips', better: 'less', digits: 1 }],
  async run(contender, context) {
    const ms = quantile(await connects(contender, context), 0.5);
    return { p50: ms, trips: ms / (2 * DELAY) };
  },
};

module.exports = [W1, W1d];
