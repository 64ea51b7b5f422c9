'use strict';
// Ready-made decisions about callers: who may call, and how often. Makes of them the function that `accept` is otherwise.

const { check, checkNames, checkType, checkWhole, isObject } = require('./check');

/** Callers that are remembered; the one that has not called for longest is forgotten first. */
const MOST_CALLERS = 10000;
/** Calls in `rate`: the time of each is kept. */
const MOST_CALLS = 100;
const MOST_SECONDS = 86400;

/** The option `accept` as a function; undefined where all are accepted. `now`: a clock in ms. */
function readAccept(accept, now = () => performance.now()) {
  const name = 'options.accept';
  if (accept === undefined || typeof accept === 'function') return accept;
  check(isObject(accept), name, 'must be of type function or object');
  checkNames(accept, ['allow', 'rate', 'ask'], name);
  const { allow, rate, ask } = accept;
  check(allow ?? rate ?? ask, name, 'needs allow, rate or ask');
  const list = allow === undefined || (Array.isArray(allow) && allow.every(isPattern));
  check(list, `${name}.allow`, 'must be a list of strings and RegExps');
  checkType(ask, 'function', `${name}.ask`);
  const mayCall = readRate(rate, `${name}.rate`, now);
  return (request) => {
    if (allow && !allow.some((pattern) => matches(pattern, request))) return 'not allowed';
    if (!mayCall(request.from)) return 'too many calls';
    return ask?.(request);
  };
}

const isPattern = (pattern) => typeof (pattern?.test ?? pattern) === (pattern?.test ? 'function' : 'string');

function matches(pattern, { from, identity }) {
  if (typeof pattern === 'string')
    return pattern === from || (identity !== null && pattern === `key:${identity.publicKey}`);
  // With the flags g and y it would go on where it ended.
  pattern.lastIndex = 0;
  return pattern.test(from);
}

/** Whether somebody may call once more. Calls that are denied do not count. */
function readRate(rate, name, now) {
  if (rate === undefined) return () => true;
  checkNames(rate, ['calls', 'seconds'], name);
  const { calls, seconds } = rate;
  checkWhole(calls, MOST_CALLS, `${name}.calls`);
  checkWhole(seconds, MOST_SECONDS, `${name}.seconds`);
  const callers = new Map();
  return (from) => {
    const times = callers.get(from) ?? [];
    callers.delete(from);
    callers.set(from, times);
    if (callers.size > MOST_CALLERS) callers.delete(callers.keys().next().value);
    const time = now();
    while (time - times[0] >= seconds * 1000) times.shift();
    return times.length < calls && times.push(time) > 0;
  };
}

module.exports = { readAccept };
