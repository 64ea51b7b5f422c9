'use strict';
// Checks of arguments, each a TypeError that begins with the argument's name.

// Timers of Node.js and pages end here, at 24.8 days.
const MAX_NUMBER = 2 ** 31 - 1;

/** Throws unless `holds`. */
function check(holds, name, rule) {
  if (!holds) throw new TypeError(`${name}: ${rule}`);
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Throws unless `value` is a string that UTF-8 can write: half of a surrogate pair would arrive as something else. */
function checkText(value, name) {
  check(typeof value === 'string' && !/\p{Surrogate}/u.test(value), name, 'must be a well-formed string');
}

/** Throws where `value` is there and not of that type, of which 'object' is a plain one and 'string' well-formed. */
function checkType(value, type, name) {
  if (value === undefined) return;
  if (type === 'string') checkText(value, name);
  check(type === 'object' ? isObject(value) : typeof value === type, name, `must be of type ${type}`);
}

/** The same for each of `types`, by its name. */
function checkTypes(given, types, prefix) {
  for (const [name, type] of Object.entries(types)) checkType(given[name], type, `${prefix}.${name}`);
}

/** Throws unless `options` is an object with these names and no others. */
function checkNames(options, names, prefix = 'options') {
  check(isObject(options), prefix, 'must be of type object');
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    const start = name.slice(0, 4).toLowerCase();
    const meant = names.find((known) => known.toLowerCase().startsWith(start));
    const hint = meant ? `did you mean ${meant}?` : `there are ${names.join(', ')}`;
    check(false, `${prefix}.${name}`, `unknown option; ${hint}`);
  }
}

/** Throws unless `value` is a whole number from `least` to `most`. */
function checkWhole(value, most, name, least = 1) {
  const holds = Number.isInteger(value) && value >= least && value <= most;
  check(holds, name, `must be a whole number from ${least} to ${most}`);
}

/** `defaults` with the positive whole numbers that `given` has. */
function checkNumbers(given, defaults, name) {
  if (given === undefined) return defaults;
  checkNames(given, Object.keys(defaults), name);
  const result = { ...defaults };
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined) continue;
    checkWhole(value, MAX_NUMBER, `${name}.${key}`);
    result[key] = value;
  }
  return result;
}

module.exports = { check, checkNames, checkNumbers, checkText, checkType, checkTypes, checkWhole, isObject };
