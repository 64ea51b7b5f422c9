'use strict';
// Ends of pairs of peers, wherever they are, and all pairs of runtimes that there are: pages of each browser among each
// other and with Node.js. What an end can do is in end.js.

const { after, before, describe } = require('node:test');
const linkup = require('../../index.js');
const { using } = require('../contract/using');
const { installed, launch } = require('./browser');
const { End } = require('./end');
const { serve } = require('./server');

const NODE = 'Node.js';
const browsers = installed();

/** From whom to whom a call goes. */
const PAIRS = [...browsers, NODE].flatMap((one) =>
  [...browsers, NODE].map((two) => [one, two]).filter((pair) => pair.some((runtime) => runtime !== NODE)),
);

let count = 0;

/** Runs `body(world)` in a `describe`; the world has a broker and the browsers, once for all its tests. */
function inAllRuntimes(title, body) {
  describe(title, { timeout: process.env.LINKUP_LONG ? 3_600_000 : 600_000 }, () => {
    const running = {};
    const open = new Set();
    const world = {
      /** An end that is registered: `run(method, ...args)` calls one of its methods. */
      async end(runtime, { id = `${runtime}-${++count}`, ...options } = {}) {
        const made = runtime === NODE ? await nodeEnd(id, options) : await pageEnd(running[runtime], id, options);
        open.add(made);
        return made;
      },

      /** Two ends, the first of which has called the second. */
      async pair([one, two]) {
        const [a, b] = await Promise.all([world.end(one), world.end(two)]);
        await Promise.all([a.run('connect', b.id), b.run('called')]);
        return [a, b];
      },

      /** Ends what a test has made. */
      async clear() {
        await Promise.allSettled([...open].map((end) => end.close()));
        open.clear();
      },

      /** A page of the test's own. */
      page: (name, script) => running[name].page(`${world.server.url}/?script=${script}`),
    };

    const nodeEnd = async (id, options) => {
      const end = new End({ linkup, brokerUrl: world.server.broker.url, using }, id, options);
      await end.ready();
      return { id, run: (method, ...args) => end[method](...args), close: () => end.close() };
    };

    const pageEnd = async (browser, id, options) => {
      const page = await browser.page(`${world.server.url}/?script=__test__/page/end-page.js`);
      await page.evaluate((id, options) => begin(id, options), id, options);
      const run = (method, ...args) => page.evaluate((method, args) => end[method](...args), method, args);
      return { id, run, close: () => page.close() };
    };

    before(async () => {
      world.server = await serve();
      for (const name of browsers) running[name] = await launch(name);
    });
    after(async () => {
      for (const browser of Object.values(running)) await browser.close();
      await world.server.close();
    });
    body(world);
  });
}

module.exports = { NODE, PAIRS, browsers, inAllRuntimes };
