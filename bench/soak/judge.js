'use strict';
// What is to be said about a soak: whether the two ends of each connection agree, and whether something grows. Pure.

const { median } = require('../lib/statistics');

const MIB = 2 ** 20;

/**
 * What an hour may add to what a process uses at rest, beside what it has once: threads and files nothing; memory what an
 * allocator keeps for itself. A connection that stays is 50 KiB, three threads' stacks are more.
 */
const LIMITS = { threads: 0, files: 0, rss: 8 * MIB, heap: MIB };

/** Until then an allocator still fills what it will use again. */
const WARM = { ms: 10 * 60_000, rss: 40 * MIB };

/** The fewest values that have three thirds of two. */
const ENOUGH = 6;

/** By how much something has grown after the warm-up: from the middle of the second third to that of the last. */
function growth(values) {
  const third = Math.floor(values.length / 3);
  return median(values.slice(-third)) - median(values.slice(third, 2 * third));
}

/** What grows in the measurements of one process in so many ms; nothing where there are too few of them. */
function growing(name, measured, ms) {
  if (measured.length < ENOUGH) return [];
  const limits = ms < WARM.ms ? { ...LIMITS, rss: WARM.rss } : LIMITS;
  return Object.entries(limits).flatMap(([what, limit]) => {
    const values = measured.map((one) => one[what]).filter((value) => value !== undefined && value !== null);
    const grown = values.length < ENOUGH ? 0 : growth(values);
    return grown > limit ? [`${name}: ${what} grew by ${grown}, to ${values.at(-1)}`] : [];
  });
}

/**
 * What one end has sent that its other end should have got: at least `taken` messages, at most `sent`. `other` is undefined
 * where that end got nothing.
 */
function betweenEnds(one, other, killed) {
  const wrong = [];
  const inOrder = one.code === null && (!other || other.code === null);
  const expected = inOrder ? one.taken : one.acked;
  // An end that was killed could not tell what it had got. One that had given its call up did not look, and has not sent the
  // first message, with which each conversation begins; where the connection was just open, that is a close in order.
  const unmet = !other && one.received === 0 && one.code === null;
  const unknown = killed(one.remote) || one.code === 'ERR_ABORTED' || unmet;
  const received = other?.received ?? (unknown ? expected : 0);
  if (received > one.sent) wrong.push(`${one.sent} messages were sent, ${received} arrived`);
  if (received < one.acked) wrong.push(`${one.acked} messages were confirmed, ${received} arrived`);
  if (received < expected) wrong.push(`${expected} messages were taken, ${received} arrived before the close`);
  return wrong.map((what) => `${one.id} to ${one.remote}: ${what}${traces(one, other)}`);
}

/** What the two ends remember. */
const traces = (...ends) =>
  ends.map((end) => (end ? `\n  ${end.id}:\n    ${end.trace.join('\n    ')}` : '\n  the other end: nothing')).join('');

/** Where the reports of the two ends of connections do not agree; `killed(id)`: that peer's process was. */
function disagreements(reports, killed) {
  const heard = new Map(reports.filter(({ theirs }) => theirs !== undefined).map((report) => [report.theirs, report]));
  return reports.flatMap((report) => betweenEnds(report, heard.get(report.token), killed));
}

module.exports = { disagreements, growing, growth };
