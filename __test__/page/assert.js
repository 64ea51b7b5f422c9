'use strict';
// The part of node:assert/strict that the contract tests use, for a page.

class AssertionError extends Error {
  name = 'AssertionError';
}

function show(value) {
  if (value instanceof Error) return value.stack ?? String(value);
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 500);
  } catch {
    return String(value);
  }
}

function fail(message) {
  throw message instanceof Error ? message : new AssertionError(message ?? 'failed');
}

function same(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Reflect.ownKeys(a);
  if (keys.length !== Reflect.ownKeys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

/** Whether an error is as `expected` says: a class, a function, or an object of properties. */
function checkError(error, expected) {
  if (expected === undefined) return;
  if (typeof expected === 'function') {
    if (expected.prototype instanceof Error || expected === Error) {
      if (!(error instanceof expected)) fail(`not a ${expected.name}: ${show(error)}`);
    } else if (expected(error) !== true) fail(`the wrong error: ${show(error)}`);
    return;
  }
  for (const [name, value] of Object.entries(expected)) {
    if (value instanceof RegExp) assert.match(String(error[name]), value);
    else assert.deepEqual(error[name], value, name);
  }
}

function assert(value, message) {
  if (!value) fail(message ?? `${show(value)} is not truthy`);
}

Object.assign(assert, {
  ok: assert,
  fail,
  equal: (a, b, message) => Object.is(a, b) || fail(message ?? `${show(a)} is not ${show(b)}`),
  notEqual: (a, b, message) => !Object.is(a, b) || fail(message ?? `both are ${show(a)}`),
  deepEqual: (a, b, message) => same(a, b) || fail(`${message ?? ''} ${show(a)} does not equal ${show(b)}`),
  match: (text, pattern, message) => pattern.test(text) || fail(message ?? `${show(text)} does not match ${pattern}`),
  throws(call, expected) {
    try {
      call();
    } catch (error) {
      return checkError(error, expected);
    }
    return fail('nothing was thrown');
  },
  async rejects(promise, expected) {
    const [thrown, error] = await (typeof promise === 'function' ? promise() : promise).then(
      () => [false],
      (error) => [true, error],
    );
    if (!thrown) fail('nothing was rejected');
    checkError(error, expected);
  },
});

module.exports = assert;
