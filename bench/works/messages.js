'use strict';
// W3: messages of 100 bytes, as many as go. W4: one at a time, there and back.

const { withPair } = require('../lib/pair');
const { SIZES } = require('../lib/payloads');
const { flow } = require('./flow');

const W3 = {
  id: 'W3',
  title: 'messages of 100 bytes',
  kind: 'pair',
  metrics: [
    { id: 'rate', title: 'messages/s', better: 'more', digits: 0 },
    { id: 'cpu', title: 'CPU us/message, both ends', better: 'less', digits: 2 },
  ],
  async run(contender, context) {
    const { rate, cpu, note } = await flow('small', contender, context);
    return { rate: rate / SIZES.small, cpu: cpu * SIZES.small, note };
  },
};

const W4 = {
  id: 'W4',
  title: 'ping-pong of 100 bytes',
  kind: 'pair',
  metrics: [
    { id: 'p50', title: 'p50 us', better: 'less', digits: 0 },
    { id: 'p95', title: 'p95 us', better: 'less', digits: 0 },
  ],
  run: (contender, { network, limit, warm, window }) =>
    withPair(contender, { network, limit }, async (pair) => {
      await pair.connect();
      await pair.called.ask('echo');
      return pair.caller.ask('pingpong', { warm, window });
    }),
};

module.exports = [W3, W4];
