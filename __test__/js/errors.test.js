'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { inspect } = require('node:util');
const { LinkupError, errorOf } = require('../../js/errors');

test('has a code, what it is about, and prints the code', () => {
  const cause = new Error('why');
  const error = new LinkupError('ERR_DENIED', 'go away', { peerId: 'p', details: { n: 1 }, cause });
  assert.ok(error instanceof Error && error instanceof LinkupError);
  assert.equal(error.name, 'LinkupError');
  assert.deepEqual([error.code, error.message, error.peerId], ['ERR_DENIED', 'go away', 'p']);
  assert.deepEqual(error.details, { n: 1 });
  assert.equal(error.cause, cause);
  assert.equal(String(error), 'LinkupError [ERR_DENIED]: go away');
  assert.match(error.stack, /^LinkupError: go away\n/);
  assert.match(inspect(error), /ERR_DENIED/);
});

test('has nothing that was not given', () => {
  const error = new LinkupError('ERR_ABORTED', 'gave up');
  assert.deepEqual(Object.keys(error), ['code']);
  assert.equal('cause' in error, false);
});

test('reads what an engine reports', () => {
  const error = errorOf({ code: 'ERR_CLOSE_TIMEOUT', message: 'm', details: { unconfirmed: 2 } }, 'p');
  assert.ok(error instanceof LinkupError);
  assert.deepEqual({ ...error }, { code: 'ERR_CLOSE_TIMEOUT', peerId: 'p', details: { unconfirmed: 2 } });
});
