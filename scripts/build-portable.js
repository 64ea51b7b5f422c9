// Builds the addon of linux-x64-gnu or linux-arm64-gnu as it is published: against glibc 2.17, so that it loads on every
// distribution since 2014, whatever the machine that builds it has. Checks which symbols it wants and how large it is.
//
//   pip install ziglang==0.14.1 cargo-zigbuild==0.20.1
//   node scripts/build-portable.js [x64|arm64]
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { has, must, root } = require('./tools');

const GLIBC = '2.17';
const TARGETS = { x64: 'x86_64-unknown-linux-gnu', arm64: 'aarch64-unknown-linux-gnu' };
/** More than it has: what grows beyond that is to be noticed. In bytes. */
const MOST = 9_000_000;

/** The versions of glibc whose symbols a library wants, the newest last. */
function versions(file) {
  const { stdout, error } = spawnSync('objdump', ['-T', file], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (error) throw new Error(`objdump (of binutils): ${error.message}`);
  const found = new Set(Array.from(stdout.matchAll(/GLIBC_([\d.]+)/g), ([, version]) => version));
  return [...found].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

function main(arch = process.arch) {
  const target = TARGETS[arch];
  if (!target) throw new Error(`an architecture: ${Object.keys(TARGETS).join(' or ')}`);
  if (!has('cargo-zigbuild', ['--version'])) {
    throw new Error('cargo-zigbuild is missing: pip install ziglang==0.14.1 cargo-zigbuild==0.20.1');
  }
  must('cargo', ['zigbuild', '--release', '--package', 'linkup', '--lib', '--target', `${target}.${GLIBC}`]);
  const folder = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target');
  const built = path.join(folder, target, 'release/liblinkup.so');
  const wanted = versions(built);
  const newest = wanted.at(-1);
  const { size } = fs.statSync(built);
  console.log(`glibc: ${wanted.join(', ')}; ${size} bytes of at most ${MOST}`);
  // Nothing at all would mean that objdump did not understand the file.
  const fits = newest !== undefined && newest.localeCompare(GLIBC, 'en', { numeric: true }) <= 0;
  if (!fits) throw new Error(`it wants glibc ${newest}, newer than ${GLIBC}`);
  if (size > MOST) throw new Error(`it has ${size} bytes, more than ${MOST}`);
  const addon = path.join(root, `linkup.linux-${arch}-gnu.node`);
  // A process that has the old one loaded keeps it.
  fs.rmSync(addon, { force: true });
  fs.copyFileSync(built, addon);
  console.log(addon);
}

try {
  main(process.argv[2]);
} catch ({ message }) {
  console.error(message);
  process.exitCode = 1;
}
