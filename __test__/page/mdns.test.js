'use strict';
// Chromium hides its addresses behind names of the local network. A Node.js peer that no stranger's packets reach, as behind
// a firewall, has to resolve them to connect; and where multicast is blocked, the page has to reach Node.js.
// Two network namespaces with a cable between them: Node.js and the broker in one, Chromium in the other.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { Child, root, scriptArgs } = require('../node/helpers');
const { installed, launch } = require('./browser');

const [NODE, PAGE] = ['node', 'page'].map((name) => `linkup-mdns-${name}-${process.pid}`);
const run = (command, ...args) => {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
};
const ip = (...args) => run('ip', ...args);
const iptables = (...args) => run('ip', 'netns', 'exec', NODE, 'iptables', ...args);

let skip = !installed().includes('chromium') && 'Chromium is not installed';
if (process.platform !== 'linux' || process.getuid() !== 0) skip = 'network namespaces take root on Linux';

let browser;
let child;
let files;
before(async () => {
  if (skip) return;
  for (const name of [NODE, PAGE]) ip('netns', 'add', name);
  ip('link', 'add', 'one', 'netns', NODE, 'type', 'veth', 'peer', 'name', 'two', 'netns', PAGE);
  for (const [name, device, address] of [
    [NODE, 'one', '10.99.0.1/24'],
    [PAGE, 'two', '10.99.0.2/24'],
  ]) {
    ip('-n', name, 'addr', 'add', address, 'dev', device);
    for (const up of ['lo', device]) ip('-n', name, 'link', 'set', up, 'up');
    // Where else multicast would go is nobody's to say.
    ip('-n', name, 'route', 'add', 'default', 'dev', device);
  }
  files = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-mdns-'));
  fs.copyFileSync(path.join(root, 'dist/linkup.js'), path.join(files, 'linkup.js'));
  fs.writeFileSync(path.join(files, 'index.html'), '<!doctype html><script src="linkup.js"></script>');
  const code = `
    const broker = linkup.createBroker({ port: 5000, files: ${JSON.stringify(files)} });
    broker.ready.then(() => {
      const peer = linkup.createPeer('node', { brokerUrl: 'ws://localhost:5000' });
      peer.on('message', ({ from, message }) => peer.send(from, message));
      peer.on('register', () => console.log('registered'));
    });`;
  child = new Child('ip', ['netns', 'exec', NODE, process.execPath, ...scriptArgs(code)]);
  await child.line('registered');
  browser = await launch('chromium', { namespace: PAGE });
});
after(async () => {
  if (skip) return;
  await browser?.close();
  await child?.kill();
  for (const name of [NODE, PAGE]) spawnSync('ip', ['netns', 'delete', name]);
  if (files) fs.rmSync(files, { recursive: true });
});

/** From the page: an echo of the Node.js peer. */
async function echo() {
  const page = await browser.page('http://10.99.0.1:5000/');
  const heard = await page.evaluate(async () => {
    const peer = linkup.createPeer(`page-${Math.random()}`, { timeouts: { connect: 8000 } });
    const answered = new Promise((resolve) => peer.on('message', ({ message }) => resolve(message)));
    try {
      await peer.send('node', 'hello');
      return await answered;
    } catch ({ code }) {
      return code;
    } finally {
      await peer.close().catch(() => {});
    }
  });
  await page.close();
  return heard;
}

test('a Node.js peer behind a firewall resolves the names of a page', { skip, timeout: 120_000 }, async () => {
  iptables('-A', 'INPUT', '-p', 'udp', '--dport', '5353', '-j', 'ACCEPT');
  iptables('-A', 'INPUT', '-p', 'udp', '-m', 'conntrack', '--ctstate', 'ESTABLISHED', '-j', 'ACCEPT');
  iptables('-A', 'INPUT', '-p', 'udp', '-j', 'DROP');
  assert.equal(await echo(), 'hello');
  // It was the names: without multicast nobody gets through that firewall.
  iptables('-D', 'INPUT', '-p', 'udp', '--dport', '5353', '-j', 'ACCEPT');
  assert.equal(await echo(), 'ERR_CONNECT_TIMEOUT');
});

test('where multicast is blocked, the page reaches Node.js', { skip, timeout: 120_000 }, async () => {
  iptables('-F', 'INPUT');
  iptables('-A', 'INPUT', '-p', 'udp', '--dport', '5353', '-j', 'DROP');
  assert.equal(await echo(), 'hello');
});
