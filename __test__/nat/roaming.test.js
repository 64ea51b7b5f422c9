'use strict';
// Connections that go on over another transport: whatever becomes of the network, each message arrives once, in order.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { installed } = require('../page/browser');
const { Lab, obstacle } = require('./lab');

const skip = obstacle();

/** How many numbers each side sends at least, and the ms between two. */
const [COUNT, PACE] = [10_000, 1];

/**
 * Ms from the moment that a network is there again until both sides are connected. 5 s is the aim, which the diagnostics
 * show; a machine that does other work, too, may take twice as long.
 */
const BACK = 10_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * What happens: the routers of both sides, the path that there is; `happens(lab)` resolves when there is a network again.
 */
const CASES = [
  {
    name: 'the cable is pulled for 5 s',
    networks: ['portrestricted', 'portrestricted', 'direct'],
    happens: (lab) => unplug(lab, 5000),
  },
  {
    name: 'the cable is pulled for 20 s, and the broker dies meanwhile',
    networks: ['portrestricted', 'portrestricted', 'direct'],
    async happens(lab) {
      const plugged = unplug(lab, 20_000);
      await sleep(3000);
      await lab.killBroker();
      await sleep(1000);
      await lab.startBroker();
      await plugged;
    },
  },
  {
    name: 'the cable is pulled for 20 s, where only TCP leaves',
    networks: ['noudp', 'portrestricted', 'turn'],
    happens: (lab) => unplug(lab, 20_000),
  },
  {
    name: 'the caller gets another address',
    networks: ['portrestricted', 'portrestricted', 'direct'],
    happens: (lab) => lab.move('A'),
  },
  {
    name: 'the called side gets another address',
    networks: ['portrestricted', 'portrestricted', 'direct'],
    happens: (lab) => lab.move('B'),
  },
  {
    name: 'the router of the caller gets another address',
    networks: ['symmetric', 'symmetric', 'turn'],
    happens: (lab) => lab.renumber('A'),
  },
  {
    name: 'the router of the called side gets another address',
    networks: ['portrestricted', 'portrestricted', 'direct'],
    happens: (lab) => lab.renumber('B'),
  },
];

/** The same with a page on one side or on both: it calls, or it is called. */
const PAGES = installed().flatMap((browser) => [
  { browsers: [browser, undefined], ...CASES[0] },
  { browsers: [undefined, browser], ...CASES[1] },
  { browsers: [browser, browser], ...CASES[3] },
]);

async function unplug(lab, ms) {
  lab.blackhole('A', true);
  // Not a wait for something: it is how long there is no network.
  await sleep(ms);
  lab.blackhole('A', false);
}

// Each has a laboratory of its own, and waits most of the time.
describe('roaming', { skip, concurrency: 2 }, () => {
  for (const { name, networks, happens, browsers = [] } of [...CASES, ...PAGES]) {
    const ends = [0, 1].map((at) => browsers[at] ?? 'Node.js').join(' calls ');
    test(`${ends}, ${name}: nothing is lost, and nothing comes twice`, { timeout: 120_000 }, async (t) => {
      const lab = await Lab.open();
      t.after(() => lab.close());
      const [one, other, path] = networks;
      lab.route('A', one);
      lab.route('B', other);
      const [a, b] = await Promise.all(
        ['A', 'B'].map((side, at) => lab.peer(side, side.toLowerCase(), { browser: browsers[at] })),
      );
      await a.ask('connect b', 'answered');
      // A browser may begin with another one.
      await Promise.all([a.ask(`path b ${path}`, 'path'), b.ask(`path a ${path}`, 'path')]);
      await Promise.all([a.ask(`flood b ${PACE}`, 'flooding'), b.ask(`flood a ${PACE}`, 'flooding')]);
      await Promise.all([a.said('flooded'), b.said('flooded')]);
      const start = Date.now();
      await happens(lab);
      const there = Date.now();
      // A side that has noticed nothing may move over without a word.
      const alive = await Promise.all([a.ask('alive b', 'alive', 30_000), b.ask('alive a', 'alive', 30_000)]);
      const took = Math.max(...alive.map(({ at }) => at)) - there;
      t.diagnostic(`${there - start} ms without a network, connected ${took} ms later`);
      const reconnecting = [a, b].filter(({ child }) => child.lines.some((line) => line.startsWith('reconnecting ')));
      // Two Chromiums may find the new address before we have noticed anything.
      if (!(browsers[0] && browsers[1])) assert.ok(reconnecting.length > 0);
      await Promise.all(reconnecting.map((peer) => peer.said('reconnected')));
      assert.ok(took <= BACK, `${took} ms`);
      await sleep(Math.max(0, start + COUNT * PACE - Date.now()));
      const [toB, toA, atB, atA] = await Promise.all([
        a.ask('stop b', 'stopped'),
        b.ask('stop a', 'stopped'),
        b.said('complete'),
        a.said('complete'),
      ]);
      assert.deepEqual([atB.count, atA.count], [toB.count, toA.count]);
      const unwanted = [a, b].flatMap(({ child }) =>
        child.lines.filter((line) => /^(ended|disorder|refused) /.test(line)),
      );
      assert.deepEqual(unwanted, []);
    });
  }
});
