'use strict';
// W2, W6 and W7: messages of 64 KiB, as fast as they go.

const { flow } = require('./flow');

const rate = { id: 'rate', title: 'MB/s', better: 'more', digits: 1 };
const cost = { id: 'cpu', title: 'CPU s/GB, both ends', better: 'less', digits: 1 };

async function run(contender, context) {
  const { rate, cpu, note } = await flow('bulk', contender, context);
  // Microseconds a byte are 1,000 s a GB.
  return { rate: rate / 1e6, cpu: cpu * 1000, note };
}

const kind = 'pair';

/** Over a network that delays or loses: in a quick run once, but for longer, as windows take a while to open. */
const over = (network) => ({
  kind,
  network,
  once: true,
  metrics: [rate],
  run: (contender, context) => run(contender, { ...context, warm: context.ramp, window: context.long }),
});

module.exports = [
  { id: 'W2', title: 'bulk, 64 KiB binary', kind, metrics: [rate, cost], run },
  { id: 'W6', title: 'bulk at 1 % loss', ...over({ loss: 1 }) },
  { id: 'W7', title: 'bulk at 20 ms each way', ...over({ delay: 20 }) },
];
