'use strict';
// What the contenders share.

const { setTimeout: sleep } = require('node:timers/promises');

// A bare channel does not say when to wait: as much in flight as linkup has as a rule.
const HIGH = 1024 * 1024;
const LOW = 256 * 1024;

// How often a sender looks where nothing tells it that it may go on.
const POLL = 1;

// 200 connections are those of 10 callers with 20 others.
const CALLERS = 10;

/** Resolves when `isLow()`. */
async function poll(isLow) {
  while (!isLow()) await sleep(POLL);
}

/** Where peers have ids: those of connection `n`, and which one is this side's. */
function idsOf(role, n) {
  const ids = { caller: `caller-${n % CALLERS}`, called: `called-${Math.floor(n / CALLERS)}` };
  return { own: ids[role], ...ids };
}

/** A promise with its functions. */
function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

module.exports = { HIGH, LOW, poll, idsOf, deferred };
