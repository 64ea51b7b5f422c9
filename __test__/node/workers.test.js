// Worker threads by the dozen: whatever becomes of them, the others go on, and nothing of them is left.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const { test, before, after } = require('node:test');
const { node, startBroker, within } = require('./helpers');

const HOST = path.join(__dirname, 'workers-host.js');
const linux = process.platform === 'linux';
const MIB = 2 ** 20;

let broker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

/** What the host prints. */
async function run(...args) {
  const child = node([HOST, ...args.map(String)], { env: { BROKER: broker.url } });
  const { code, signal, output } = await within(child.exited, 120_000, () => `the workers\n${child.output}`);
  assert.deepEqual([code, signal], [0, null], output);
  return JSON.parse(output);
}

test('24 workers at once, terminated by chance with traffic', { skip: !linux && 'reads /proc' }, async () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  console.log(`seed ${seed}`);
  const { before, most, after } = await run('crowd', seed);
  console.log(JSON.stringify({ before, most, after }));
  assert.ok(most.threads >= before.threads + 24, 'they were not there at once');
  assert.ok(after.threads <= before.threads, `${after.threads} threads instead of ${before.threads}`);
  assert.ok(after.files <= before.files, `${after.files} files instead of ${before.files}`);
});

test('100 workers one after another', { skip: !linux && 'reads /proc' }, async () => {
  const [first, ...later] = await run('row', 100);
  console.log([first, ...later].map((m) => `${m.threads} threads, ${m.files} files, ${m.rss / MIB} MiB`).join('\n'));
  for (const { threads, files } of later) {
    assert.ok(threads <= first.threads, `${threads} threads instead of ${first.threads}`);
    assert.ok(files <= first.files, `${files} files instead of ${first.files}`);
  }
  // Allocators keep something; a worker that is not let go is some MiB.
  const grown = later.at(-1).rss - first.rss;
  assert.ok(grown < 16 * MIB, `memory grew by ${grown / MIB} MiB`);
});

test('workers of a process whose main thread has never loaded linkup', async () => {
  // Node.js lets go of an addon when the last environment that has loaded it ends; its threads still run.
  const code = `
    const { Worker } = require('node:worker_threads');
    (async () => {
      for (let round = 0; round < 3; round++) {
        const worker = new Worker(${JSON.stringify(HOST)}, { workerData: { what: 'busy' } });
        await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
        await worker.terminate();
      }
      console.log('all ended');
    })();`;
  const child = node(['-e', code], { env: { BROKER: broker.url } });
  const { code: exitCode, signal, output } = await within(child.exited, 60_000, () => `the workers\n${child.output}`);
  assert.deepEqual([exitCode, signal, output], [0, null, 'all ended\n']);
});
