'use strict';
// What was sent before a close arrives, between any two runtimes, whoever calls and whoever sends: 50 x 64 KiB, JSON and
// binary by turns. In Node.js: ../node/delivery.test.js.

const assert = require('node:assert/strict');
const { afterEach, test } = require('node:test');
const { PAIRS, inAllRuntimes } = require('./ends');

const ROUNDS = Number(process.env.LINKUP_LONG ? 100 : 20);

inAllRuntimes('close', (world) => {
  afterEach(() => world.clear());

  for (const pair of PAIRS) {
    for (const calledSends of [false, true]) {
      const who = calledSends ? 'the called' : 'the caller';
      test(`${pair.join(' calls ')}, ${who} sends: 50 of 50, ${ROUNDS} times`, { timeout: 300_000 }, async () => {
        const [a, b] = await Promise.all(pair.map((runtime) => world.end(runtime)));
        await b.run('takeBursts', calledSends);
        const problems = await a.run('callBursts', b.id, ROUNDS, !calledSends);
        assert.deepEqual([problems, await b.run('bursts')], [[], []]);
      });
    }
  }
});
