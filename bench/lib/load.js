'use strict';
// The program that keeps a server of lib/servers.js busy: ../load/main.rs.

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const tools = require('../../scripts/tools');
const { Child } = require('./child');
const { cpuOf } = require('./proc');

const LOAD = path.join(tools.root, 'target/release/examples/load');

/** Builds it, and with it what else cargo is to build of the broker. */
function buildLoad(...more) {
  tools.must('cargo', ['build', '--release', '--package', 'linkup-broker', '--example', 'load', ...more]);
}

/** Starts one for servers that speak a protocol, `linkup` or `peer`. */
const startLoad = (protocol, urls, { limit }) => new Child(LOAD, [protocol, ...urls], { limit });

/**
 * Floods the servers for `warm` ms, and measures for `window` ms more. Resolves with the signals a second, and for each of
 * the processes the microseconds of CPU of a signal.
 */
async function flood(load, pids, { warm, window }) {
  await load.ask('flood');
  await sleep(warm);
  const [before, used] = [await load.ask('sample'), pids.map(cpuOf)];
  await sleep(window);
  const [after, usedAfter] = [await load.ask('sample'), pids.map(cpuOf)];
  const routed = after.routed - before.routed;
  return {
    rate: (routed / (after.at - before.at)) * 1000,
    cpu: usedAfter.map((now, n) => (now - used[n]) / routed),
  };
}

module.exports = { buildLoad, startLoad, flood };
