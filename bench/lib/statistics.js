'use strict';
// Numbers about numbers.

const sorted = (values) => [...values].sort((a, b) => a - b);

/** The value below which `share` of them are, from the nearest one. */
function quantile(values, share) {
  const all = sorted(values);
  return all[Math.min(all.length - 1, Math.max(0, Math.ceil(all.length * share) - 1))];
}

/** The middle one; of an even number the mean of the two in the middle. */
function median(values) {
  const all = sorted(values);
  const half = all.length >> 1;
  return all.length % 2 ? all[half] : (all[half - 1] + all[half]) / 2;
}

/** Median, smallest and largest of what the rounds gave; undefined where no round gave anything. */
function summary(rounds) {
  const numbers = rounds.filter(Number.isFinite);
  if (numbers.length === 0) return undefined;
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers), rounds: numbers };
}

/** By how much `own` is better than `other`: 2 is twice as good, whichever direction is good. */
function advantage(own, other, better) {
  return better === 'more' ? own / other : other / own;
}

module.exports = { quantile, median, summary, advantage };
