// Several copies of linkup in one process, as two packages bring them that depend on different versions; and the same
// addon loaded twice. What they have in common is the broker and the network, nothing else.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test, before, after } = require('node:test');
const { loopback, node, root, startBroker, within } = require('./helpers');

const HOST = path.join(__dirname, 'copies-host.js');
const PARTS = ['index.js', 'binding.js', 'package.json', 'js'];
const ADDON = fs.readdirSync(root).find((name) => /^linkup\..*\.node$/.test(name));

let broker;
let folder;
before(async () => {
  broker = await startBroker();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-copies-'));
});
after(async () => {
  await broker.close();
  fs.rmSync(folder, { recursive: true });
});

/** A copy of the package in `folder/where`, whose addon comes there by `bring(from, to)`. */
function copy(where, bring) {
  const target = path.join(folder, where);
  for (const part of PARTS) fs.cpSync(path.join(root, part), path.join(target, part), { recursive: true });
  bring(path.join(root, ADDON), path.join(target, ADDON));
  return target;
}

async function run(command, folders, { flags = [], start = node } = {}) {
  const child = start([...flags, HOST, command, ...folders], { env: { BROKER: broker.url } });
  const { code, signal, output } = await within(child.exited, 60_000, () => `${command}\n${child.output}`);
  assert.deepEqual([code, signal, output], [0, null, 'done\n']);
}

const COMMANDS = ['together', 'workers', 'exit'];

// How the second copy comes by its addon; `flags` are Node.js'.
const LAYOUTS = {
  'a copy of the file': { bring: fs.copyFileSync },
  // Node.js loads it once for both: each has a mailbox of its own in it.
  'a symbolic link to the file': { bring: fs.symlinkSync },
  // Node.js takes it for another one, the linker for the same.
  'a symbolic link that is taken for a file': { bring: fs.symlinkSync, flags: ['--preserve-symlinks'] },
  'a second name of the file': { bring: fs.linkSync },
};

for (const [name, { bring, flags }] of Object.entries(LAYOUTS)) {
  test(`two copies of linkup in one process: the second has ${name}`, async () => {
    // In the folder of the first one, so that a link is possible.
    const folders = ['one', 'two'].map((which) => path.join(name.replaceAll(' ', '-'), which, 'node_modules/linkup'));
    const first = copy(folders[0], fs.copyFileSync);
    const second = copy(folders[1], (_, to) => bring(path.join(first, ADDON), to));
    for (const command of COMMANDS) await run(command, [first, second], { flags });
  });
}

test('a package and a link to it are the same linkup', async () => {
  const first = copy('whole/one/node_modules/linkup', fs.copyFileSync);
  const second = path.join(folder, 'whole/two/node_modules/linkup');
  fs.mkdirSync(path.dirname(second), { recursive: true });
  fs.symlinkSync(first, second);
  assert.equal(require(first), require(second));
  // Unless Node.js is told otherwise.
  for (const command of COMMANDS) await run(command, [first, second], { flags: ['--preserve-symlinks'] });
});

test('two copies without a broker: one serves, the other takes over', async () => {
  const net = loopback();
  try {
    const folders = ['one', 'two'].map((which) => copy(path.join('embedded', which), fs.copyFileSync));
    await run('embedded', folders, { start: net.run });
  } finally {
    net.remove();
  }
});
