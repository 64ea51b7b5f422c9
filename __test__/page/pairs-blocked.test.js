'use strict';
// A page whose main thread is blocked for 3 seconds, while Node.js and another page flood it: they are slowed down, and
// nothing is lost. The same with Node.js blocked: ../node/memory.test.js.

const assert = require('node:assert/strict');
const { afterEach, test } = require('node:test');
const { MIB } = require('../contract/corpus');
const { NODE, browsers, inAllRuntimes } = require('./ends');

const COUNT = 800;
const SIZE = 50_000;
/** What a receiver grants, what a sender keeps before its `send()` waits, and the two messages on their edges. */
const BOUND = 8 * MIB + MIB + 2 * SIZE;

inAllRuntimes('a blocked page', (world) => {
  afterEach(() => world.clear());

  for (const name of browsers) {
    // In a process of its own, if there is another browser.
    const other = browsers.find((each) => each !== name) ?? name;

    test(`${name}, flooded by Node.js and ${other}`, { timeout: 120_000 }, async () => {
      const [page, ...senders] = await Promise.all([name, NODE, other].map((runtime) => world.end(runtime)));
      const ids = senders.map(({ id }) => id);
      const drowning = page.run('drown', ids, COUNT, 3000);
      const floods = await Promise.all(senders.map((sender) => sender.run('flood', page.id, COUNT, SIZE)));
      for (const { most } of floods) assert.ok(most >= MIB && most < 8 * MIB, `at most ${most} bytes waited`);
      for (const [id, { heard, ordered, early }] of Object.entries(await drowning)) {
        assert.deepEqual([heard, ordered], [COUNT, true], id);
        assert.ok(early > MIB && early <= BOUND, `${id} had sent ${early} bytes meanwhile`);
        const { waited } = floods[ids.indexOf(id)];
        const sent = (early / MIB).toFixed(1);
        console.log(`${name}, blocked for 3 s: ${id} had sent ${sent} MiB, and waited up to ${waited.toFixed(0)} ms`);
      }
    });
  }
});
