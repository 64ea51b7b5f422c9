// The bench works: one short round of two works with linkup alone gives numbers.
'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const bench = path.join(__dirname, '../../bench/run.js');

/** Runs the bench with the addon as it is; its results and what it printed. */
function run(t, ...args) {
  const out = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-bench-test-'));
  t.after(() => fs.rmSync(out, { recursive: true, force: true }));
  const all = [bench, '--no-build', '--quick', '--rounds', '1', '--out', out, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, all, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stdout + stderr);
  const read = (name) => fs.readFileSync(path.join(out, name), 'utf8');
  return { results: JSON.parse(read('latest.json')), picture: read('latest.svg'), stdout };
}

test('a round of messages and of ping-pong', (t) => {
  const { results, picture, stdout } = run(t, '--only', 'W3,W4', '--contenders', 'linkup');
  assert.deepEqual(
    results.works.map(({ id }) => id),
    ['W3', 'W4'],
  );
  for (const { metrics, figures } of results.works) {
    assert.deepEqual(figures.linkup.failures, []);
    for (const { id } of metrics) {
      const { median, min, max, rounds } = figures.linkup[id];
      assert.ok(median > 0 && Number.isFinite(median), `${id} is ${median}`);
      assert.deepEqual([min, max, rounds], [median, median, [median]]);
    }
  }
  assert.match(results.machine.node, /^v\d+/);
  assert.match(stdout, /W3 messages of 100 bytes: messages\/s/);
  assert.match(picture, /^<svg [\s\S]*W4 ping-pong[\s\S]*<\/svg>\n$/);
});

test('what is not known is refused', () => {
  for (const args of [['--only', 'W99'], ['--contenders', 'carrier-pigeon'], ['--rounds', '0'], ['--nonsense']]) {
    const { status, stderr } = spawnSync(process.execPath, [bench, ...args], { encoding: 'utf8', timeout: 60_000 });
    assert.equal(status, 2, stderr);
    assert.ok(stderr.includes(args[1] ?? args[0]), stderr);
  }
});

test('medians, quantiles and advantages', () => {
  const { advantage, median, quantile, summary } = require('../../bench/lib/statistics');
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2);
  assert.equal(quantile([1, 2, 3, 4], 0.95), 4);
  assert.equal(advantage(10, 5, 'more'), 2);
  assert.equal(advantage(5, 10, 'less'), 2);
  assert.deepEqual(summary([2, Number.NaN, 1]), { median: 1.5, min: 1, max: 2, rounds: [2, 1] });
  assert.equal(summary([undefined]), undefined);
});

test('a soak sees what is lost, doubled or grows', () => {
  const { disagreements, growing } = require('../../bench/soak/judge');
  const end = (id, remote, about) => ({
    id,
    remote,
    sent: 0,
    taken: 0,
    acked: 0,
    received: 0,
    code: null,
    trace: [],
    ...about,
  });
  const a = { token: 'A', theirs: 'B', sent: 3, taken: 2, acked: 1, received: 1 };
  const b = { token: 'B', theirs: 'A', sent: 1, taken: 1, received: 2 };
  const judged = (ofA, ofB, killed = () => false) => {
    const ends = [end('a', 'b', { ...a, ...ofA })];
    if (ofB) ends.push(end('b', 'a', { ...b, ...ofB }));
    return disagreements(ends, killed).map((what) => what.split('\n')[0]);
  };
  assert.deepEqual(judged({}, {}), []);
  // One that the connection may have taken may arrive or not; one more may not.
  assert.deepEqual(judged({}, { received: 3 }), []);
  assert.deepEqual(judged({}, { received: 4 }), ['a to b: 3 messages were sent, 4 arrived']);
  const lost = 'a to b: 2 messages were taken, 1 arrived before the close';
  assert.deepEqual(judged({}, { received: 1 }), [lost]);
  assert.deepEqual(judged({}, { received: 1, code: 'ERR_CONNECTION_LOST' }), []);
  const unconfirmed = 'a to b: 1 messages were confirmed, 0 arrived';
  assert.deepEqual(judged({}, { received: 0, code: 'ERR_CONNECTION_LOST' })[0], unconfirmed);
  // The other end has not told.
  assert.deepEqual(judged({}, undefined)[0], unconfirmed);
  assert.deepEqual(judged({ acked: 0, code: 'ERR_CONNECTION_LOST' }, undefined), []);
  assert.deepEqual(
    judged({}, undefined, (id) => id === 'b'),
    [],
  );
  assert.deepEqual(judged({ code: 'ERR_ABORTED' }, undefined), []);
  // It had given its call up when the connection opened, and closed it in order.
  assert.deepEqual(judged({ acked: 0, received: 0 }, undefined), []);
  assert.deepEqual(judged({ acked: 0 }, undefined), ['a to b: 2 messages were taken, 0 arrived before the close']);

  const rests = (rss) => rss.map((mib) => ({ rss: mib * 2 ** 20, threads: 8, files: 30, heap: null }));
  const hour = 3_600_000;
  assert.deepEqual(growing('x', rests([50, 90, 100, 101, 102, 103]), hour), []);
  assert.match(growing('x', rests([50, 60, 70, 80, 90, 100]), hour)[0], /^x: rss grew by 20971520, /);
  // In a minute an allocator is not yet full.
  assert.deepEqual(growing('x', rests([50, 60, 70, 80, 90, 100]), 60_000), []);
  assert.deepEqual(growing('x', rests([50, 60, 70, 80]), hour), []);
  const files = [30, 30, 30, 30, 31, 31].map((n) => ({ rss: 0, threads: 8, files: n, heap: 0 }));
  assert.deepEqual(growing('x', files, 60_000), ['x: files grew by 1, to 31']);
});
