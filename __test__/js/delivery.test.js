'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { deliver } = require('../../js/delivery');
const { connected, turns, uncaught } = require('./helpers');
const { pairEngine } = require('./pair-engine');

const COUNT = 3000;

for (const batch of [1, 7, 256]) {
  test(`whoever awaits one message after the other gets all, in batches of ${batch}`, async () => {
    const { ab, ba } = await connected({ engine: { batch } });
    // Two more layers of async functions: as deep as real programs are.
    const next = async () => (await (async () => once(ba, 'message'))())[0];
    for (let i = 0; i < COUNT; i++) ab.send(i);
    for (let i = 0; i < COUNT; i++) assert.equal(await next(), i);
  });
}

test('a listener that throws does not stop the messages', async () => {
  const { ab, ba, b } = await connected();
  const heard = [];
  ba.on('message', (message) => {
    if (message === 1) throw new Error('on purpose');
    heard.push(message);
  });
  b.on('message', ({ message }) => heard.push(message));
  const errors = await uncaught(async () => {
    for (let i = 0; i < 3; i++) ab.send(i);
    await turns();
  });
  assert.deepEqual(heard, [0, 0, 1, 2, 2]);
  assert.equal(errors.length, 1);
});

test('what is wrong inside does not stop the events', async () => {
  const { engine, put } = pairEngine();
  const heard = [];
  deliver(engine, (_kind, handle) => {
    if (handle === 1) throw new Error('inside');
    heard.push(handle);
    return false;
  });
  const errors = await uncaught(async () => {
    for (let i = 0; i < 3; i++) put(11, i);
    await turns();
  });
  assert.deepEqual(heard, [0, 2]);
  assert.deepEqual(
    errors.map((error) => error.message),
    ['inside'],
  );
});

test('a step that asks for another one gets it after what is due, before the next event', async () => {
  const { engine, put } = pairEngine();
  const heard = [];
  deliver(engine, (_kind, handle) => {
    heard.push(`event ${handle}`);
    if (handle === 2) return true;
    process.nextTick(() => heard.push('tick'));
    Promise.resolve().then(() => heard.push('promise'));
    return () => {
      heard.push('follow-up');
      return true;
    };
  });
  put(1, 1);
  put(1, 2);
  await turns();
  assert.deepEqual(heard.slice(0, 1), ['event 1']);
  assert.deepEqual(heard.slice(1, 3).sort(), ['promise', 'tick']);
  assert.deepEqual(heard.slice(3), ['follow-up', 'event 2']);
});

test('a stream of events leaves timers their turn', async () => {
  const { engine, put } = pairEngine();
  let running = true;
  deliver(engine, () => {
    if (running) put(1, 1);
    return false;
  });
  put(1, 1);
  await new Promise((resolve) => setTimeout(resolve, 5));
  running = false;
});

test('events that reach nobody cost no pause', async () => {
  const { engine, put } = pairEngine();
  let pauses = 0;
  let events = 0;
  const { pause } = engine;
  engine.pause = (next) => {
    const wait = pause(next);
    return () => {
      pauses++;
      wait();
    };
  };
  deliver(engine, () => {
    events++;
    return false;
  });
  for (let i = 0; i < 1000; i++) put(13, i);
  await turns();
  assert.deepEqual([events, pauses], [1000, 0]);
});
