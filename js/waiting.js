'use strict';
// Promises that are settled from elsewhere, and those who wait for them. Knows nothing of connections.

/** Calls `each` with everybody who waits, once: none of them waits any more, nor for an abort. */
function settle(all, each) {
  const entries = [...all];
  all.clear();
  for (const entry of entries) {
    entry.off();
    each(entry);
  }
}

/** A promise and the functions that settle it. */
function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => {
    result.resolve = resolve;
    result.reject = reject;
  });
  // Whoever was given the promise hears of its rejection; nobody else has to.
  result.promise.catch(() => {});
  return result;
}

/** What `promise` comes to, unless that takes longer than `ms`. `holds`: so long it keeps Node.js running. */
function inTime(promise, ms, holds) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    if (!holds) timer.unref?.();
  });
  return Promise.race([late, promise]).finally(() => clearTimeout(timer));
}

module.exports = { deferred, inTime, settle };
