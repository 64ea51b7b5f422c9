// What the scripts share: run a command, install what is missing, build the addon.
'use strict';

const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Runs a command in the project's root and shows what it prints. Returns whether it succeeded. */
function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
    ...options,
    env: { ...process.env, ...options.env },
  });
  if (error) console.error(`${command}: ${error.message}`);
  return status === 0;
}

/** As `run`, but ends the script where it fails. */
function must(command, args, options) {
  if (!run(command, args, options)) {
    console.error(`\nfailed: ${command} ${args.join(' ')}`);
    process.exit(1);
  }
}

/** Whether a command is installed. */
function has(command, args = ['--version']) {
  return spawnSync(command, args, { stdio: 'ignore', shell: process.platform === 'win32' }).status === 0;
}

/** The time at which a file was last written; 0 where there is none. */
function written(file) {
  return fs.statSync(path.join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** Installs the npm packages where they are missing or older than the lock file. */
function install() {
  if (written('node_modules/.package-lock.json') >= written('package-lock.json')) return;
  // Not `npm ci`: it insists on an entry for each platform's optional package, and not every registry has them all.
  must('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Builds the addon: at once where nothing has changed. */
function buildAddon() {
  if (!has('cargo')) {
    console.error('Building linkup from its sources takes Rust: install it from https://rustup.rs, then try again.');
    process.exit(1);
  }
  must(process.execPath, [
    path.join(root, 'node_modules/@napi-rs/cli/dist/cli.js'),
    'build',
    '--platform',
    '--release',
    '--js',
    'binding.js',
    '--dts',
    'binding.d.ts',
  ]);
}

/** Opens a URL in the default browser, where there is one. */
function openInBrowser(url) {
  const [command, ...args] = { darwin: ['open'], win32: ['cmd', '/c', 'start'] }[process.platform] ?? ['xdg-open'];
  const child = spawn(command, [...args, url], { stdio: 'ignore', detached: true, windowsHide: true });
  child.on('error', () => {});
  child.unref();
}

module.exports = { root, run, must, has, install, buildAddon, openInBrowser };
