'use strict';
// examples/game for players in Node.js: the host's 60 states a second, the newest only for whoever cannot keep up, and keys
// that move nobody else. Pages play it in ../page/examples.test.js.

const assert = require('node:assert/strict');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { pathToFileURL } = require('node:url');
const { commandOf, loopback, root } = require('./helpers');

const STALL_MS = 1500;

let net;
let host;
before(async () => {
  net = loopback();
  host = net.run(commandOf('examples/game/host.mjs'));
  await host.line('the game runs');
});
after(async () => {
  await host.kill();
  net.remove();
});

/**
 * A player in a process of its own: `body` uses `connection`, `heard`, the snapshots so far, and `until(count)`; what it
 * returns is printed. It answers each snapshot, as a page does each picture.
 */
function play(id, body) {
  const url = (file) => JSON.stringify(pathToFileURL(path.join(root, file)).href);
  const code = `
    import { createPeer } from ${url('index.mjs')};
    import { KEYS, readSnapshot, writeInput } from ${url('examples/game/world.mjs')};
    const peer = createPeer('${id}');
    const heard = [];
    let me, keys = 0, look = () => {};
    const until = (test) => new Promise((resolve) => { look = () => test() && resolve(); });
    const connection = await peer.connect('game');
    connection.on('message', (message) => {
      if (!(message instanceof Uint8Array)) { me = message.number; return; }
      heard.push(readSnapshot(message));
      // Until it closes.
      connection.send(writeInput(keys, heard.at(-1).tick)).catch(() => {});
      look();
    });
    ${body}
    await peer.close();`;
  return net.run(['--input-type=module', '-e', code]);
}

/** What a player has printed. */
async function result(player) {
  const { code, output } = await player.exited;
  assert.equal(code, 0, output);
  return JSON.parse(output);
}

test('who keeps up gets every state, in time; who stalls gets none that is old', async () => {
  const steady = play(
    'steady',
    `
    await until(() => heard.length === 30);
    const start = performance.now();
    await until(() => heard.length === 150);
    const seconds = (performance.now() - start) / 1000;
    console.log(JSON.stringify({ seconds, ticks: heard.slice(30).map(({ tick }) => tick) }));`,
  );
  const stalled = play(
    'stalled',
    `
    await until(() => heard.length === 30);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ${STALL_MS});
    await until(() => heard.length === 90);
    console.log(JSON.stringify(heard.map(({ tick }) => tick)));`,
  );
  const { seconds, ticks } = await result(steady);
  const passed = ticks.at(-1) - ticks[0];
  assert.ok(ticks.length >= 0.8 * passed, `${ticks.length} of ${passed} ticks`);
  assert.ok(passed / seconds > 30 && passed / seconds < 66, `${passed} ticks in ${seconds} s`);

  const steps = (await result(stalled)).map((tick, index, all) => tick - (all[index - 1] ?? tick));
  // The longest gap is the stall; what came between its begin and the gap was old.
  const gap = steps.indexOf(Math.max(...steps));
  assert.ok(steps[gap] > 30, `the longest gap is ${steps[gap]} ticks`);
  assert.ok(gap - 30 <= 16, `${gap - 30} old states after the stall`);
});

test('players see each other move, within the field', async () => {
  const watcher = play(
    'watcher',
    `
    console.log('watching');
    const there = () => [...heard.at(-1).players].find(([number]) => number !== me)?.[1];
    await until(() => there()?.x === 640);
    console.log('seen');
    const { y } = there();
    await until(() => !there());
    console.log(JSON.stringify({ y }));`,
  );
  await watcher.line('watching');
  const mover = play(
    'mover',
    `
    keys = KEYS.ArrowRight | KEYS.ArrowUp | KEYS.ArrowDown;
    // Nonsense moves nobody and ends nothing.
    for (const wrong of ['keys', { keys: 15 }, null, new Uint8Array(4), writeInput(15, 0xffffffff)]) await connection.send(wrong);
    await until(() => heard.at(-1).players.get(me)?.x === 640);
    console.log(me);
    await new Promise((resolve) => process.stdin.once('data', resolve));
    process.stdin.unref();`,
  );
  await watcher.line('seen');
  mover.process.stdin.end('gone');
  assert.equal(await result(mover), 2);
  await watcher.line('{"y":180}');
  await watcher.exited;
});
