'use strict';
// Loads the addon, or says in one sentence what is missing.

/** The part of a platform package's name, as `napi` has it: `linux-x64-gnu`. */
function target({ platform, arch, report } = process) {
  if (platform === 'win32') return `${platform}-${arch}-msvc`;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const libc = isMusl(report) ? 'musl' : 'gnu';
  return `${platform}-${arch}-${arch === 'arm' ? `${libc}eabihf` : libc}`;
}

/** Whether the C library is musl. */
function isMusl(report) {
  try {
    return !report.getReport().header.glibcVersionRuntime;
  } catch {
    // Deno asks for a permission for it. The name is for a sentence only, which must not become another one.
    return false;
  }
}

/** Why a binary that is there is not taken: the first line of what the system or the runtime says. Nothing where none was found. */
function refusal(error) {
  for (let each = error; each; each = each.cause) {
    const [line] = String(each.message).split('\n');
    if (!/^Cannot find (module|package|native binding)/.test(line)) return line;
  }
}

/** What `load` gives: the addon. */
function addon(load) {
  try {
    return load();
  } catch (cause) {
    const missing = `install the package linkup-${target()}, of the same version as linkup`;
    const why = `linkup's binary for this platform cannot be loaded: ${refusal(cause) ?? missing}`;
    throw new Error(why, { cause });
  }
}

module.exports = { addon, target };
