'use strict';
// W5: what open connections cost that nobody uses. W8: how large the addon is.

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { withPair } = require('../lib/pair');
const { share } = require('./flow');

// How many connect at a time.
const BATCH = 10;

// How long the connections may settle before they count as idle.
const SETTLE = 1000;

const W5 = {
  id: 'W5',
  title: 'open connections at rest',
  kind: 'pair',
  once: true,
  metrics: [
    { id: 'rss', title: 'KiB of RSS per end', better: 'less', digits: 0 },
    { id: 'threads', title: 'threads, both ends', better: 'less', digits: 0 },
    { id: 'files', title: 'file descriptors, both ends', better: 'less', digits: 0 },
    { id: 'idle', title: 'idle CPU %, both ends', better: 'less', digits: 1 },
  ],
  run: (contender, { limit, pairs, idle }) =>
    withPair(contender, { limit }, async (pair) => {
      // The first one is not counted: what a process has once.
      await pair.connect(0);
      const before = await pair.both('sample', { collect: true });
      for (let n = 1; n <= pairs; n += BATCH) {
        const batch = Array.from({ length: Math.min(BATCH, pairs - n + 1) }, (_, i) => pair.connect(n + i));
        await Promise.all(batch);
      }
      await sleep(SETTLE);
      const settled = await pair.both('sample', { collect: true });
      await sleep(idle);
      const after = await pair.both('sample');
      const sum = (of) => of(0) + of(1);
      return {
        rss: sum((end) => settled[end].rss - before[end].rss) / (2 * pairs) / 1024,
        threads: sum((end) => after[end].threads),
        files: sum((end) => after[end].files),
        idle: sum((end) => share(settled[end], after[end])) * 100,
        note: `${pairs} pairs`,
      };
    }),
};

const W8 = {
  id: 'W8',
  title: 'binary',
  kind: 'pair',
  once: true,
  metrics: [{ id: 'size', title: 'MB unpacked', better: 'less', digits: 1 }],
  async run(contender) {
    const file = contender.binary?.();
    if (!file) return { note: 'has no addon' };
    return { size: fs.statSync(file).size / 1e6 };
  },
};

module.exports = [W5, W8];
