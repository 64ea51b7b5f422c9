'use strict';
// Checks of arguments, each a TypeError that begins with the argument's name.

// Timers of Node.js and pages end here, at 24.8 days.
const MAX_NUMBER = 2 ** 31 - 1;

/** Throws unless `holds`. */
function check(holds, name, rule) {
  if (!holds) throw new TypeError(`${name}: ${rule}`);
}

/** Throws unless `value` is a string that UTF-8 can write: a lone surrogate would arrive as something else. */
function checkText(value, name) {
  check(typeof value === 'string', name, 'must be a string');
  check(!/\p{Surrogate}/u.test(value), name, 'must be well-formed: it has half of a surrogate pair');
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `defaults` with the positive whole numbers that `given` has. */
function checkNumbers(given, defaults, name) {
  if (given === undefined) return defaults;
  check(isObject(given), name, 'must be an object');
  const result = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    check(Object.hasOwn(defaults, key), `${name}.${key}`, `unknown; there are ${Object.keys(defaults).join(', ')}`);
    if (value === undefined) continue;
    const valid = Number.isInteger(value) && value > 0 && value <= MAX_NUMBER;
    check(valid, `${name}.${key}`, `must be a whole number from 1 to ${MAX_NUMBER}`);
    result[key] = value;
  }
  return result;
}

module.exports = { check, checkNumbers, checkText, isObject };
