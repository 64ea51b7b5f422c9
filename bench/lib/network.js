'use strict';
// A network of two namespaces with delay and loss between them, carried by wire.c. Needs root, iproute2 and a C compiler.

const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');

const open = new Set();
process.on('exit', () => {
  for (const network of open) network.close();
});

/** Runs a command; throws with what it printed. */
function must(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}

/** Why there can be no such network here, or undefined. */
function obstacle() {
  if (process.platform !== 'linux' || process.getuid() !== 0) return 'delay and loss need root on Linux';
  if (!fs.existsSync('/dev/net/tun')) return 'delay and loss need /dev/net/tun';
  for (const command of ['ip', 'cc']) {
    if (spawnSync('which', [command]).status !== 0) return `delay and loss need the command ${command}`;
  }
}

let count = 0;

/** Makes one. `delay`: ms each way; `loss`: percent of the packets, each way. */
async function openNetwork({ delay = 0, loss = 0 }) {
  const name = `bench${process.pid}-${++count}`;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-bench-'));
  const [caller, called] = [`${name}-a`, `${name}-b`];
  let wire;
  const network = {
    caller,
    called,
    delay,
    address: '10.77.0.2',
    close() {
      open.delete(network);
      wire?.kill();
      for (const namespace of [caller, called]) spawnSync('ip', ['netns', 'delete', namespace]);
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
  open.add(network);
  try {
    const program = path.join(folder, 'wire');
    must('cc', '-O2', '-w', '-o', program, path.join(__dirname, 'wire.c'), '-lm');
    for (const namespace of [caller, called]) {
      must('ip', 'netns', 'add', namespace);
      must('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    }
    const config = path.join(folder, 'wire.conf');
    fs.writeFileSync(config, `both delay=${delay} loss=${loss}\n`);
    wire = spawn(program, [`${caller}:link0`, `${called}:link0`, config], { stdio: ['ignore', 'pipe', 'inherit'] });
    await Promise.race([
      once(wire.stdout, 'data'),
      once(wire, 'exit').then(() => Promise.reject(new Error('wire.c did not start'))),
    ]);
    for (const [namespace, address] of [
      [caller, '10.77.0.1/30'],
      [called, `${network.address}/30`],
    ]) {
      must('ip', '-n', namespace, 'addr', 'add', address, 'dev', 'link0');
      // As long a queue as the largest window: the wire alone loses packets.
      must('ip', '-n', namespace, 'link', 'set', 'link0', 'txqueuelen', '10000', 'up');
    }
    return network;
  } catch (error) {
    network.close();
    throw error;
  }
}

module.exports = { obstacle, openNetwork };
