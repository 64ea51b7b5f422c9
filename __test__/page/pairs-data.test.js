'use strict';
// What goes between any two runtimes, in both directions: JSON of all shapes, bytes, streams, and what is told about them.

const assert = require('node:assert/strict');
const { afterEach, test } = require('node:test');
const { MIB } = require('../contract/corpus');
const { PAIRS, inAllRuntimes } = require('./ends');

/** What a stream takes that is not read. */
const WINDOW = MIB;

inAllRuntimes('data', (world) => {
  afterEach(() => world.clear());

  for (const pair of PAIRS) {
    const name = pair.join(' calls ');
    const options = { timeout: 60_000 };

    test(`${name}: JSON of all shapes and binary messages, both ways`, options, async () => {
      const ends = await world.pair(pair);
      const heard = ends.map((end) => end.run('hearCorpus'));
      await Promise.all(ends.map((end) => end.run('sendCorpus')));
      assert.deepEqual(await Promise.all(heard), [[], []]);
    });

    test(`${name}: 5 MiB with ack and progress, both ways`, options, async () => {
      const ends = await world.pair(pair);
      for (const [from, to] of [ends, ends.toReversed()]) {
        for (const binary of [false, true]) {
          const hearing = to.run('hearLong');
          const out = await from.run('sendLong', binary);
          const { length, progress } = await hearing;
          assert.equal(length, binary ? 5 * MIB : 5 * MIB - 2);
          for (const [events, direction] of [
            [out, 'send'],
            [progress, 'receive'],
          ]) {
            assert.ok(events.length > 3 && events.length < 100, `${events.length} events`);
            assert.ok(events.every((event) => event.direction === direction && event.total === 5 * MIB));
            assert.ok(events.every(({ bytes }, i) => bytes > (events[i - 1]?.bytes ?? 0)));
            assert.equal(events.at(-1).bytes, 5 * MIB);
          }
        }
      }
    });

    test(`${name}: a stream of 5 MiB each way beside messages; streams that nobody reads stop`, options, async () => {
      const [a, b] = await world.pair(pair);
      for (const { wrong, written, waits } of await Promise.all([a.run('stream', true), b.run('stream', false)])) {
        assert.deepEqual(wrong, []);
        assert.ok(written > 0 && written <= WINDOW, `${written} bytes written to who does not read`);
        assert.ok(waits > 0);
      }
      assert.deepEqual(await Promise.all([a.run('readWall'), b.run('readWall')]), [true, true]);
    });
  }
});
