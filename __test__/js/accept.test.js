'use strict';
// The ready-made decisions about callers.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { readAccept } = require('../../js/accept');

const request = (from, publicKey) => ({ from, metadata: undefined, identity: publicKey ? { publicKey } : null });

test('a function stays one, and nothing is nothing', () => {
  const accept = () => {};
  assert.equal(readAccept(accept), accept);
  assert.equal(readAccept(undefined), undefined);
});

test('allow: by id, by pattern, by key', () => {
  const accept = readAccept({ allow: ['alice', /^team-/g, /x$/y, 'key:abc'] });
  for (const from of ['alice', 'team-1', 'team-1', 'x', 'x', 'key:abc'])
    assert.equal(accept(request(from)), undefined, from);
  for (const from of ['Alice', 'alice2', 'a-team-1', 'ax', 'abc', '']) {
    assert.equal(accept(request(from)), 'not allowed', from);
  }
  assert.equal(accept(request('whoever', 'abc')), undefined);
  assert.equal(accept(request('whoever', 'abcd')), 'not allowed');
  // Not the text of what is not there.
  assert.equal(readAccept({ allow: ['key:undefined'] })(request('whoever')), 'not allowed');
  assert.equal(readAccept({ allow: [] })(request('alice')), 'not allowed');
});

test('rate: so many calls of one caller in so many seconds', () => {
  let now = 0;
  const accept = readAccept({ rate: { calls: 2, seconds: 10 } }, () => now);
  const call = (at, from = 'a') => {
    now = at;
    return accept(request(from)) ?? 'yes';
  };
  const many = 'too many calls';
  assert.deepEqual([call(0), call(4000), call(9999), call(9999, 'b')], ['yes', 'yes', many, 'yes']);
  // The first is over; those that were denied do not count.
  assert.deepEqual([call(10_000), call(13_999), call(14_000)], ['yes', many, 'yes']);
});

test('rate: who is not allowed does not count', () => {
  const patterns = ['a'];
  const accept = readAccept({ allow: patterns, rate: { calls: 1, seconds: 10 } }, () => 0);
  assert.equal(accept(request('b')), 'not allowed');
  patterns.push('b');
  assert.deepEqual([accept(request('b')), accept(request('b'))], [undefined, 'too many calls']);
});

test('rate: ten thousand callers are remembered', () => {
  const accept = readAccept({ rate: { calls: 1, seconds: 10 } }, () => 0);
  for (let i = 0; i < 10_000; i++) assert.equal(accept(request(`caller ${i}`)), undefined);
  // The oldest two: one calls again, the other is forgotten for a new one.
  assert.equal(accept(request('caller 0')), 'too many calls');
  assert.equal(accept(request('new')), undefined);
  assert.equal(accept(request('caller 0')), 'too many calls');
  assert.equal(accept(request('caller 1')), undefined);
});

test('ask: last, and only about who has passed', async () => {
  const asked = [];
  const ask = async ({ from }) => {
    asked.push(from);
    return from === 'alice' || 'not you';
  };
  const accept = readAccept({ allow: ['alice', 'bob'], ask });
  assert.deepEqual([await accept(request('alice')), await accept(request('bob'))], [true, 'not you']);
  assert.equal(accept(request('carol')), 'not allowed');
  assert.deepEqual(asked, ['alice', 'bob']);
});

test('what is no policy', () => {
  for (const [accept, start] of [
    [true, 'options.accept: '],
    [null, 'options.accept: '],
    [[], 'options.accept: '],
    [{}, 'options.accept: '],
    [{ deny: [] }, 'options.accept.deny: '],
    [{ allow: 'alice' }, 'options.accept.allow: '],
    [{ allow: [1] }, 'options.accept.allow: '],
    [{ allow: [null] }, 'options.accept.allow: '],
    [{ allow: [{ test: 1 }] }, 'options.accept.allow: '],
    [{ ask: true }, 'options.accept.ask: '],
    [{ rate: 5 }, 'options.accept.rate: '],
    [{ rate: {} }, 'options.accept.rate.calls: '],
    [{ rate: { calls: 1 } }, 'options.accept.rate.seconds: '],
    [{ rate: { calls: 0, seconds: 1 } }, 'options.accept.rate.calls: '],
    [{ rate: { calls: 101, seconds: 1 } }, 'options.accept.rate.calls: '],
    [{ rate: { calls: 1, seconds: 0.5 } }, 'options.accept.rate.seconds: '],
    [{ rate: { calls: 1, minutes: 1 } }, 'options.accept.rate.minutes: '],
  ]) {
    assert.throws(
      () => readAccept(accept),
      (error) => error instanceof TypeError && error.message.startsWith(start),
      JSON.stringify(accept),
    );
  }
});
