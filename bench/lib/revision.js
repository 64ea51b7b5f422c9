'use strict';
// linkup as it was at another git revision: a worktree of its own, with its own addon.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { linkup, project } = require('./contenders');

/** Checks out and builds a revision. `remove()` takes it away again. */
function checkout(revision) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-compare-'));
  const root = path.join(folder, 'linkup');
  const run = (command, args, options) => {
    const { status } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options });
    if (status !== 0) throw new Error(`--compare ${revision}: ${command} ${args.join(' ')} failed`);
  };
  const modules = path.join(root, 'node_modules');
  const remove = () => {
    // The link first: what it leads to is this project's.
    fs.rmSync(modules, { force: true });
    spawnSync('git', ['worktree', 'remove', '--force', root], { cwd: project });
    fs.rmSync(folder, { recursive: true, force: true });
  };
  try {
    console.log(`building ${revision} in ${root}`);
    run('git', ['worktree', 'add', '--quiet', '--detach', root, revision], { cwd: project });
    fs.symlinkSync(path.join(project, 'node_modules'), modules);
    // The crates of others are built once for all revisions.
    const env = { ...process.env, CARGO_TARGET_DIR: path.join(project, 'target/compare') };
    run(process.execPath, ['-e', "require('./scripts/tools').buildAddon()"], { cwd: root, env });
    return { contender: linkup(root, `linkup@${revision}`), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

module.exports = { checkout };
