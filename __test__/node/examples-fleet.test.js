'use strict';
// examples/fleet: every job is done, whatever becomes of the workers.

const assert = require('node:assert/strict');
const { afterEach, beforeEach, test } = require('node:test');
const { commandOf, loopback } = require('./helpers');

const [COORDINATOR] = commandOf('examples/fleet/coordinator.js');
const WORKER = commandOf('examples/fleet/worker.js');

let net;
beforeEach(() => {
  net = loopback();
});
afterEach(() => net.remove());

/** Lines of the coordinator that begin so. */
const lines = ({ output }, pattern) => output.split('\n').filter((line) => pattern.test(line));

test('three workers, one of which is killed with a job: each job is done once', async () => {
  const coordinator = net.run([COORDINATOR, '2000000', ...'100 200 300 400 500 600 700 800'.split(' ')]);
  // First, so that the broker is not in a worker's process.
  await coordinator.line('9 jobs');
  const workers = [1, 2, 3].map(() => net.run(WORKER));
  // That job takes long enough for its worker to be killed in the middle of it.
  const victim = await Promise.any(workers.map(async (worker) => (await worker.line('"below":2000000')) && worker));
  await victim.kill();
  await coordinator.line(/^worker-\S+ has gone, and left \{"below":2000000\}$/);
  const { code, output } = await coordinator.exited;
  assert.equal(code, 0, output);
  const results = lines({ output }, /primes below/).map((line) => line.split(' primes below ').map(Number));
  assert.deepEqual(
    results.toSorted(([, a], [, b]) => a - b),
    [
      [25, 100],
      [46, 200],
      [62, 300],
      [78, 400],
      [95, 500],
      [109, 600],
      [125, 700],
      [139, 800],
      [148933, 2000000],
    ],
  );

  // The others wait for the next coordinator.
  const next = net.run([COORDINATOR, '10', '3.5']);
  await next.line('4 primes below 10');
  await next.line('3.5 is no number to count to');
  assert.equal((await next.exited).code, 1);
  await Promise.all(workers.map((worker) => worker.kill()));
});
