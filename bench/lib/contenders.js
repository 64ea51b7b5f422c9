'use strict';
// Who takes part: linkup and the rivals that can be installed and loaded here.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { linkupServer, rivalServer } = require('./servers');

const bench = path.join(__dirname, '..');
const project = path.join(bench, '..');
const modules = path.join(bench, 'node_modules');
const manifest = path.join(bench, 'package.json');

// PeerJS' channel is wrtc's; what it does by itself is to connect.
const CONNECTS = ['W1', 'W1d'];

/** The rivals of each kind: packages, the one with the addon, works that it has part in, protocol of a server. */
const RIVALS = {
  pair: [
    { name: 'node-datachannel', packages: ['node-datachannel'], addon: '@node-datachannel' },
    { name: 'wrtc', packages: ['@roamhq/wrtc'], addon: '@roamhq' },
    { name: 'simple-peer', packages: ['simple-peer', '@roamhq/wrtc'], addon: '@roamhq' },
    { name: 'werift', packages: ['werift'] },
    {
      name: 'peerjs',
      packages: ['peerjs', 'peer', '@roamhq/wrtc'],
      addon: '@roamhq',
      server: rivalServer('peer'),
      works: CONNECTS,
    },
  ],
  server: [
    { name: 'peer', packages: ['peer'], protocol: 'peer' },
    { name: 'ws', packages: ['ws'], protocol: 'linkup' },
  ],
};

/** linkup as it is in a folder. */
function linkup(root = project, name = 'linkup') {
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
  const binary = () => find(root, (file) => /^linkup\..*\.node$/.test(file), 0);
  const server = linkupServer(root);
  return { name, own: true, script: 'linkup', root, version, binary, server, protocol: 'linkup' };
}

/** The rivals of a kind that are wanted: those that work, and those that do not, with the reason. */
function rivals(kind, wanted = () => true) {
  const there = [];
  const missing = [];
  for (const rival of RIVALS[kind].filter(({ name }) => wanted(name))) {
    const contender = { server: rivalServer(rival.name), ...rival, script: rival.name, root: project };
    if (kind === 'pair') contender.server = rival.server;
    contender.version = rival.packages.map((name) => `${name} ${versionOf(name)}`).join(', ');
    contender.binary = () => rival.addon && find(path.join(modules, rival.addon), (file) => file.endsWith('.node'), 3);
    const why = unloadable(rival.packages, kind === 'pair' ? `../contenders/${rival.name}.js` : undefined);
    if (why) missing.push({ name: rival.name, why });
    else there.push(contender);
  }
  return { there, missing };
}

/** Installs the rivals into bench/node_modules, where that has not been done. Says so where it fails. */
function install() {
  const done = path.join(modules, '.package-lock.json');
  if (fs.existsSync(done) && fs.statSync(done).mtimeMs >= fs.statSync(manifest).mtimeMs) return;
  console.log('installing the rivals into bench/node_modules');
  // Exact versions in package.json; no lock file, which would have one registry's and one platform's view.
  const args = ['install', '--no-package-lock', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', args, { cwd: bench, stdio: 'inherit', shell: process.platform === 'win32' });
  if (status !== 0) console.error('npm could not install all of the rivals: see above');
  // Also where nothing had to be written.
  else if (fs.existsSync(done)) fs.utimesSync(done, new Date(), new Date());
}

/** Why a rival cannot take part, or undefined. Tried in a process: an addon that is broken may end it. */
function unloadable(packages, script) {
  const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  const pinned = { ...dependencies, ...optionalDependencies };
  for (const name of packages) {
    const version = versionOf(name);
    if (version !== pinned[name]) return `${name} ${pinned[name]} is not installed`;
  }
  const code = `require(${JSON.stringify(script ?? packages[0])}); process.exit(0)`;
  const { status, signal, stderr } = spawnSync(process.execPath, ['-e', code], {
    cwd: __dirname,
    encoding: 'utf8',
    timeout: 30_000,
  });
  if (status === 0) return undefined;
  return /^\w*Error.*$/m.exec(stderr)?.[0] ?? `loading it ended with ${signal ?? status}`;
}

/** The version of a package in bench/node_modules. */
function versionOf(name) {
  try {
    return JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'), 'utf8')).version;
  } catch {
    return undefined;
  }
}

/** The first file below a folder whose name matches. */
function find(folder, matches, depth) {
  if (!fs.existsSync(folder)) return undefined;
  const entries = fs.readdirSync(folder, { withFileTypes: true });
  const file = entries.find((entry) => entry.isFile() && matches(entry.name));
  if (file) return path.join(folder, file.name);
  if (depth === 0) return undefined;
  for (const entry of entries.filter((entry) => entry.isDirectory())) {
    const found = find(path.join(folder, entry.name), matches, depth - 1);
    if (found) return found;
  }
}

module.exports = { linkup, rivals, install, project, RIVALS };
