// The commands: `linkup broker`, `node dist/broker/server`, `linkup-broker`, `npm start`.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { Child, linkup, loopback, node, root, within } = require('./helpers');

const url = (line) => /ws:\/\/[^\s)]+/.exec(line)[0];

/** Two peers meet at that broker, and it is alive. */
async function works(brokerUrl) {
  const health = await fetch(`${brokerUrl.replace('ws:', 'http:')}/healthz`);
  assert.deepEqual([health.status, (await health.text()).trim()], [200, 'ok']);
  const a = linkup.createPeer('a', { brokerUrl });
  const b = linkup.createPeer('b', { brokerUrl });
  const got = new Promise((resolve) => b.once('message', resolve));
  await new Promise((resolve) => b.once('register', resolve));
  await a.send('b', 'hello');
  assert.deepEqual(await within(got, 10_000, 'the message'), { from: 'a', message: 'hello' });
  await Promise.all([a.close(), b.close()]);
}

/** Runs a broker's program, uses it, tells it to stop. */
async function check(child) {
  const line = await child.line('listening on ws://');
  await works(url(line));
  child.process.kill('SIGTERM');
  const { code, signal, output } = await within(child.exited, 10_000, 'the end after SIGTERM');
  assert.deepEqual([code, signal], [0, null], output);
}

test('linkup broker --port', () => check(node(['bin/linkup.js', 'broker', '--port', '0', '--host', 'localhost'])));
test('linkup broker, PORT', () => check(node(['bin/linkup.js', 'broker'], { env: { PORT: '0' } })));

test('linkup broker with wrong arguments', async () => {
  for (const args of [
    ['--prot', '1'],
    ['--port', 'x'],
    ['--port', '70000'],
  ]) {
    const { code, output } = await node(['bin/linkup.js', 'broker', ...args]).exited;
    assert.equal(code, 2, output);
    assert.match(output, /--po|--prot/);
  }
});

test('linkup broker on a port in use', async () => {
  const first = node(['bin/linkup.js', 'broker', '--port', '0', '--host', 'localhost']);
  const port = new URL(url(await first.line('listening on ws://'))).port;
  const { code, output } = await node(['bin/linkup.js', 'broker', '--port', port, '--host', 'localhost']).exited;
  assert.equal(code, 1, output);
  assert.match(output, new RegExp(`port ${port}`));
  await first.kill();
});

test('linkup --help and --version', async () => {
  const help = await node(['bin/linkup.js', '--help']).exited;
  assert.equal(help.code, 0);
  assert.match(help.output, /linkup broker/);
  const version = await node(['bin/linkup.js', '--version']).exited;
  assert.equal(version.output.trim(), require('../../package.json').version);
  assert.equal((await node(['bin/linkup.js', 'brooker']).exited).code, 2);
});

test('node dist/broker/server after npm run build', async () => {
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const build = await new Child('npm', ['run', 'build']).exited;
  assert.equal(build.code, 0, build.output);
  await check(node(['dist/broker/server'], { env: { PORT: '0' } }));
});

test('linkup-broker, the program without Node.js', async () => {
  const built = await new Child('cargo', ['test', '--quiet', '--no-run', '--workspace']).exited;
  assert.equal(built.code, 0, built.output);
  await check(new Child('target/debug/linkup-broker', ['--port', '0', '--host', 'localhost']));
});

test('npm start', async () => {
  const net = loopback();
  try {
    const start = net.run(['scripts/start.js']);
    await start.line('node examples/chat.js', 300_000);
    const chat = net.run(['examples/chat.js', 'carol', 'echo']);
    await chat.line('You are carol');
    chat.process.stdin.write('anybody?\n');
    await chat.line('echo: anybody?');
    await chat.kill();
    start.process.kill('SIGINT');
    assert.equal((await within(start.exited, 10_000, 'the end after SIGINT')).code, 0);
  } finally {
    net.remove();
  }
});
