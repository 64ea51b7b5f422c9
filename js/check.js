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

/** Throws where `value` is there and not of that type, of which 'object' is a plain one. */
function checkType(value, type, name) {
  const holds = type === 'object' ? isObject(value) : typeof value === type;
  check(value === undefined || holds, name, `must be ${type === 'object' ? 'an' : 'a'} ${type}`);
}

/** Throws unless `options` is an object with these names and no others. */
function checkNames(options, names, prefix = 'options') {
  check(isObject(options), prefix, 'must be an object');
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    const start = name.slice(0, 4).toLowerCase();
    const meant = names.find((known) => known.toLowerCase().startsWith(start));
    check(
      false,
      `${prefix}.${name}`,
      `unknown option; ${meant ? `did you mean ${meant}?` : `there are ${names.join(', ')}`}`,
    );
  }
}

/** `defaults` with the positive whole numbers that `given` has. */
function checkNumbers(given, defaults, name) {
  if (given === undefined) return defaults;
  checkNames(given, Object.keys(defaults), name);
  const result = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const valid = Number.isInteger(value) && value > 0 && value <= MAX_NUMBER;
    check(valid, `${name}.${key}`, `must be a whole number from 1 to ${MAX_NUMBER}`);
    result[key] = value;
  }
  return result;
}

module.exports = { check, checkNames, checkNumbers, checkText, checkType, isObject };
