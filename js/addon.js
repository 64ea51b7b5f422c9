'use strict';
// Loads the addon, or says in one sentence what is missing.

/** The part of a platform package's name, as `napi` has it: `linux-x64-gnu`. */
function target({ platform, arch, report } = process) {
  if (platform === 'win32') return `${platform}-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const libc = report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
  return `${platform}-${arch}-${arch === 'arm' ? `${libc}eabihf` : libc}`;
}

/** What `load` gives: the addon. */
function addon(load) {
  try {
    return load();
  } catch (cause) {
    const name = `linkup-${target()}`;
    const why = `linkup's binary for this platform cannot be loaded: install the package ${name}, of the same version as linkup`;
    throw new Error(why, { cause });
  }
}

module.exports = { addon, target };
