'use strict';
// What a result is worth depends on where it comes from.

const { spawnSync } = require('node:child_process');
const os = require('node:os');

const git = (root, ...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim() ?? '';

/** The machine, and the state of the project at `root`. */
function machine(root) {
  const changed = git(root, 'status', '--porcelain', '--untracked-files=no') !== '';
  return {
    date: new Date().toISOString(),
    cpu: `${os.cpus().length} x ${os.cpus()[0]?.model ?? os.arch()}`,
    memory: `${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    // Others at work on the machine make all figures worse, some more than others.
    load: os.loadavg()[0].toFixed(1),
    commit: git(root, 'rev-parse', '--short=12', 'HEAD') + (changed ? ', changed' : ''),
  };
}

module.exports = { machine };
