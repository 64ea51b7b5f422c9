// What the process tests share: child processes that run a script with linkup, and what they print.
'use strict';

const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const dgram = require('node:dgram');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { after } = require('node:test');
const linkup = require('../../index.js');

const root = path.join(__dirname, '../..');

/** Fails instead of hanging. `what` it waits for: a function is asked when that has taken too long. */
function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${typeof what === 'function' ? what() : what}: nothing within ${ms} ms`)),
      ms,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * A port of loopback that is free for UDP and for TCP, for a server that cannot choose one itself. It is none that the system
 * gives to sockets by itself (Linux: from 32,768 on), so that nobody has it before the server.
 */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const udp = dgram.createSocket('udp4').bind(port, '127.0.0.1');
    const tcp = net.createServer().listen(port, '127.0.0.1');
    const free = await Promise.all([once(udp, 'listening'), once(tcp, 'listening')]).then(
      () => true,
      () => false,
    );
    udp.close();
    tcp.close();
    if (free) return port;
  }
}

/** A broker on a free port of loopback. */
async function startBroker() {
  const broker = linkup.createBroker({ port: 0, host: 'localhost' });
  await broker.ready;
  return broker;
}

// A test that fails leaves its children behind; they must not hold up the others.
const children = new Set();
after(() => {
  for (const child of children) child.kill();
});

/**
 * A child process. `line(test)` resolves with the first line, past or to come, that matches. `group`: it is killed with all that it
 * has started.
 */
class Child {
  constructor(command, args, { env, cwd = root, group = false } = {}) {
    const stdio = ['pipe', 'pipe', 'pipe'];
    this.process = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio, detached: group });
    this.group = group;
    children.add(this);
    this.process.once('close', () => children.delete(this));
    this.lines = [];
    this.output = '';
    this.waiting = new Set();
    for (const stream of [this.process.stdout, this.process.stderr]) {
      let rest = '';
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        this.output += chunk;
        const parts = (rest + chunk).split('\n');
        rest = parts.pop();
        for (const line of parts) {
          this.lines.push(line);
          for (const check of this.waiting) check(line);
        }
      });
    }
    this.exited = new Promise((resolve) => {
      this.process.on('close', (code, signal) => resolve({ code, signal, output: this.output }));
    });
  }

  line(test, ms = 20_000) {
    const matches = (line) => (typeof test === 'string' ? line.includes(test) : test.test(line));
    const old = this.lines.find(matches);
    if (old !== undefined) return Promise.resolve(old);
    let check;
    const found = new Promise((resolve) => {
      check = (line) => matches(line) && resolve(line);
      this.waiting.add(check);
    });
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`ended with ${signal ?? code} before ${test}:\n${this.output}`);
    });
    return within(Promise.race([found, ended]), ms, () => `line ${test}\n${this.output}`).finally(() =>
      this.waiting.delete(check),
    );
  }

  kill(signal = 'SIGKILL') {
    if (!this.group) this.process.kill(signal);
    else if (children.has(this)) process.kill(-this.process.pid, signal);
    return this.exited;
  }
}

/**
 * A network with nothing but loopback, where port 5000 is free whatever else runs on this machine: a network
 * namespace where we may make one, by its `name`, otherwise the machine's own loopback. `interfaces` adds some: name to
 * addresses.
 */
function loopback(interfaces = {}) {
  const name = `linkup-${process.pid}-${++namespaces}`;
  const ip = (...args) => spawnSync('ip', args, { stdio: 'ignore' }).status === 0;
  if (process.getuid?.() !== 0 || !ip('netns', 'add', name)) {
    return { own: false, name: undefined, run: node, shell, remove() {} };
  }
  ip('-n', name, 'link', 'set', 'lo', 'up');
  for (const [device, addresses] of Object.entries(interfaces)) {
    ip('-n', name, 'link', 'add', device, 'type', 'veth', 'peer', 'name', `${device}x`);
    for (const address of addresses)
      ip('-n', name, 'addr', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
    for (const end of [device, `${device}x`]) ip('-n', name, 'link', 'set', end, 'up');
  }
  return {
    own: true,
    name,
    shell: (command, options) => new Child('ip', ['netns', 'exec', name, 'sh', '-c', command], options),
    run: (args, options) => new Child('ip', ['netns', 'exec', name, process.execPath, ...args], options),
    remove: () => ip('netns', 'delete', name),
  };
}
let namespaces = 0;

/** Makes a key and a certificate of its own for an IP address in `folder`, good for two days; their files. */
function selfSigned(folder, address) {
  const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => path.join(folder, name));
  // Not one of an authority: who trusts it trusts it as the server's.
  const names = ['-addext', `subjectAltName=IP:${address}`, '-addext', 'basicConstraints=CA:FALSE'];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key, '-out', certificate];
  const args = ['req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=linkup', ...made, ...names];
  const { status, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`openssl: ${error?.message ?? stderr}`);
  return { key, certificate };
}

/** The arguments of the command on the first line of an example. */
function commandOf(file) {
  const [first] = fs.readFileSync(path.join(root, file), 'utf8').split('\n');
  const found = /^\/\/ node (\S+)((?: [\w.-]+)*) - /.exec(first);
  assert.ok(found, `${file} starts with: // node FILE ARGS - what it does`);
  assert.equal(found[1], file);
  return [found[1], ...found[2].split(' ').filter(Boolean)];
}

/** Runs a command of the shell. */
const shell = (command, options) => new Child('sh', ['-c', command], options);

/** Runs a file of Node.js. */
const node = (args, options) => new Child(process.execPath, args, options);

/** Runs a script given as text; `linkup` is the package, `args` follow in process.argv. */
const scriptArgs = (code) => ['-e', `const linkup = require(${JSON.stringify(root)});\n${code}`];
const script = (code, { args = [], ...options } = {}) => node([...scriptArgs(code), ...args], options);

module.exports = {
  root,
  linkup,
  within,
  startBroker,
  loopback,
  selfSigned,
  freePort,
  commandOf,
  Child,
  node,
  script,
  scriptArgs,
};
