'use strict';
// examples/terminal: a shell for whoever has the right key, and for nobody else.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { commandOf, loopback, root } = require('./helpers');

const HOST = commandOf('examples/terminal/host.js');
const CLIENT = commandOf('examples/terminal/client.js');

let net;
let folder;
let host;
let connect;
before(async () => {
  net = loopback();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-terminal-'));
  // Without a host, the client says how it is started: with its key.
  const { output } = await net.run(CLIENT, home('alice')).exited;
  host = net.run(words(output), { env: { ...home('host').env, SHELL: '/bin/sh' } });
  connect = words(await host.line('client.js key:'));
});
after(async () => {
  await host.kill();
  net.remove();
  fs.rmSync(folder, { recursive: true });
});

/** The options of somebody's process: keys are kept in the home folder. */
function home(name) {
  const HOME = path.join(folder, name);
  fs.mkdirSync(HOME, { recursive: true });
  return { env: { HOME } };
}

/** The arguments of `node …`, as it was printed. */
const words = (line) => line.trim().split(' ').slice(1);

/** Runs the client until it has ended, with `input`. */
async function run(args, { as = 'alice', input = '' } = {}) {
  const child = net.run(args, home(as));
  let stdout = '';
  child.process.stdout.on('data', (text) => {
    stdout += text;
  });
  // It may end before it has read all of it.
  child.process.stdin.on('error', () => {});
  child.process.stdin.end(input);
  return { ...(await child.exited), stdout };
}

test('a command: what it writes, and how it ends', async () => {
  const { code, stdout, output } = await run([...connect, 'echo out; echo err >&2; echo $COLUMNS; pwd; exit 7']);
  assert.equal(code, 7, output);
  assert.equal(stdout, `out\n80\n${fs.realpathSync(path.join(folder, 'host'))}\n`);
  assert.match(output, /^err$/m);
  assert.equal((await run([...connect, 'kill -9 $$'])).code, 137);
});

test('a shell: reads commands until there are none', async () => {
  const { code, stdout } = await run(connect, { input: 'x=1\ncd /\npwd\necho $x\nexit 3\necho never\n' });
  assert.deepEqual([code, stdout], [3, '/\n1\n']);
});

test('bytes in and out, more than any buffer', async () => {
  const input = 'line\n'.repeat(1_000_000);
  const { code, stdout } = await run([...connect, 'cat'], { input });
  assert.equal(code, 0);
  assert.ok(stdout === input, `${stdout.length} of ${input.length} bytes`);
});

test('a command that reads nothing ends all the same', async () => {
  const { code, stdout } = await run([...connect, 'echo done'], { input: 'x'.repeat(10_000_000) });
  assert.deepEqual([code, stdout], [0, 'done\n']);
});

test('when the client goes, what it has started ends', async () => {
  const client = net.run([...connect, 'echo $$; sleep 1000; echo never'], home('alice'));
  const pid = Number(await client.line(/^\d+$/));
  assert.equal(exists(pid), true);
  client.kill('SIGINT');
  const { code, output } = await client.exited;
  assert.equal(code, 255, output);
  await host.line('the connection is closed');
  // Killed, it has yet to be buried.
  const since = Date.now();
  while (exists(pid) && Date.now() - since < 10_000) await new Promise(setImmediate);
  assert.equal(exists(pid), false);
});

function exists(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a stranger is refused, and without keys everybody is', async () => {
  const { code, output } = await run([...connect, 'echo in'], { as: 'mallory' });
  assert.equal(code, 255);
  assert.match(output, /^ERR_DENIED: .*not allowed/);
  const closed = net.run(HOST, home('closed'));
  const attempt = await run([...words(await closed.line('client.js key:')), 'echo in']);
  assert.equal(attempt.code, 255);
  assert.match(attempt.output, /^ERR_DENIED: /);
  await closed.kill();
});

test('a client that talks nonsense harms nobody', async () => {
  const [, id] = connect;
  const code = `
    const linkup = require(${JSON.stringify(root)});
    linkup.loadIdentity(process.env.HOME + '/.linkup-terminal-client.key').then(async (identity) => {
      const peer = linkup.createPeer('fuzzer', { identity });
      const connection = await peer.connect('${id}');
      for (const meta of [undefined, {}, { columns: 1, rows: 1, command: {} }, { columns: 1, rows: 1, command: 'a\\0b' }, { columns: '; reboot', rows: 1 }]) {
        const stream = connection.createStream('shell', meta);
        await new Promise((resolve) => stream.on('error', resolve));
      }
      await peer.close();
      console.log('closed');
    });`;
  assert.match((await net.run(['-e', code], home('alice')).exited).output, /closed/);
  assert.equal((await run([...connect, 'true'])).code, 0);
});
