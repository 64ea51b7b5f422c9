'use strict';

const assert = require('node:assert/strict');
const events = require('node:events');
const { test } = require('node:test');
const { Emitter } = require('../../js/emitter');
const { uncaught } = require('./helpers');

test('calls listeners in order, with the arguments and the emitter as this', () => {
  const emitter = new Emitter();
  const heard = [];
  emitter.on('a', function (...args) {
    heard.push([1, this === emitter, ...args]);
  });
  emitter.addListener('a', (...args) => heard.push([2, ...args]));
  assert.equal(emitter.emit('a', 'x', 'y'), true);
  assert.equal(emitter.emit('b'), false);
  assert.deepEqual(heard, [
    [1, true, 'x', 'y'],
    [2, 'x', 'y'],
  ]);
});

test('once calls once and can be taken back by the function given', () => {
  const emitter = new Emitter();
  let count = 0;
  const listener = () => count++;
  emitter.once('a', listener);
  emitter.emit('a');
  emitter.emit('a');
  assert.equal(count, 1);
  emitter.once('a', listener).off('a', listener);
  emitter.emit('a');
  assert.equal(count, 1);
  assert.equal(emitter.listenerCount('a'), 0);
});

test('once with the same function twice is two calls', () => {
  const emitter = new Emitter();
  let count = 0;
  const listener = () => count++;
  emitter.once('a', listener).once('a', listener);
  emitter.emit('a');
  emitter.emit('a');
  assert.equal(count, 2);
});

test('off takes one registration back, the latest', () => {
  const emitter = new Emitter();
  const heard = [];
  const twice = () => heard.push('twice');
  emitter.on('a', twice);
  emitter.on('a', () => heard.push('other'));
  emitter.on('a', twice);
  emitter.removeListener('a', twice);
  emitter.emit('a');
  assert.deepEqual(heard, ['twice', 'other']);
  emitter
    .off('a', () => {})
    .off('unheard', twice)
    .off('a', undefined);
  assert.equal(emitter.listenerCount('a'), 2);
  assert.equal(emitter.removeAllListeners('a').emit('a'), false);
  emitter.on('b', twice).removeAllListeners();
  assert.equal(emitter.listenerCount('b'), 0);
});

test('a listener added or removed during an event does not change who gets that event', () => {
  const emitter = new Emitter();
  const heard = [];
  const late = () => heard.push('late');
  const gone = () => heard.push('gone');
  emitter.on('a', () => emitter.on('a', late).off('a', gone));
  emitter.on('a', gone);
  emitter.emit('a');
  assert.deepEqual(heard, ['gone']);
});

test('a listener that throws keeps nobody from the event; its exception is uncaught', async () => {
  const emitter = new Emitter();
  const heard = [];
  emitter.on('a', () => {
    throw new Error('thrown by a listener');
  });
  emitter.on('a', () => heard.push(1));
  const errors = await uncaught(() => {
    assert.equal(emitter.emit('a'), true);
    assert.deepEqual(heard, [1]);
  });
  assert.deepEqual(
    errors.map((error) => error.message),
    ['thrown by a listener'],
  );
});

test('error without a listener does not throw', () => {
  assert.equal(new Emitter().emit('error', new Error('nobody listens')), false);
});

test('a listener must be a function', () => {
  assert.throws(() => new Emitter().on('a', 'b'), { name: 'TypeError', message: /^listener/ });
});

test('works with once of node:events', async () => {
  const emitter = new Emitter();
  const first = events.once(emitter, 'a');
  emitter.emit('a', 1, 2);
  assert.deepEqual(await first, [1, 2]);
  assert.equal(emitter.listenerCount('a') + emitter.listenerCount('error'), 0);
  const failing = events.once(emitter, 'a');
  emitter.emit('error', new Error('no'));
  await assert.rejects(failing, { message: 'no' });
  assert.equal(emitter.listenerCount('a') + emitter.listenerCount('error'), 0);
});

test('works with on of node:events, and an abort takes its listeners back', async () => {
  const emitter = new Emitter();
  const abort = new AbortController();
  const heard = [];
  setImmediate(() => {
    emitter.emit('a', 1);
    emitter.emit('a', 2);
  });
  await assert.rejects(
    async () => {
      for await (const [value] of events.on(emitter, 'a', { signal: abort.signal })) {
        heard.push(value);
        if (value === 2) abort.abort();
      }
    },
    { name: 'AbortError' },
  );
  assert.deepEqual(heard, [1, 2]);
  assert.equal(emitter.listenerCount('a') + emitter.listenerCount('error'), 0);
});
