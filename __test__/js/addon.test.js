'use strict';
// Which platform package belongs where. That one sentence says so where it is missing: ../node/install.test.js.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { addon, target } = require('../../js/addon');

const report = (glibcVersionRuntime) => ({ getReport: () => ({ header: { glibcVersionRuntime } }) });

test('there is a package for each platform, and it has the name that is asked for', () => {
  const names = [
    ['linux', 'x64', '2.36'],
    ['linux', 'x64'],
    ['linux', 'arm64', '2.36'],
    ['linux', 'arm64'],
    ['linux', 'arm', '2.36'],
    ['darwin', 'x64'],
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['win32', 'arm64'],
    ['android', 'arm64'],
    ['freebsd', 'x64'],
  ].map(([platform, arch, glibc]) => target({ platform, arch, report: report(glibc) }));
  assert.deepEqual(names.sort(), fs.readdirSync(path.join(__dirname, '../../npm')).sort());
});

/** What is said where loading fails with these errors, as binding.js has them: each the cause of the one before. */
function said(...messages) {
  const cause = messages.reduceRight((cause, message) => Object.assign(new Error(message), { cause }), undefined);
  try {
    addon(() => {
      throw cause;
    });
  } catch (error) {
    assert.equal(error.cause, cause);
    return error.message;
  }
}

test('a binary that is there and cannot be loaded: why', () => {
  const refused = 'Requires ffi access to "linkup.linux-x64-gnu.node", run again with the --allow-ffi flag';
  const missing = [
    'Cannot find native binding. npm has a bug',
    "Cannot find module './linkup.wasi.cjs'\nRequire stack:",
    "Cannot find package 'linkup-linux-x64-gnu' from '/app/node_modules/linkup/binding.js'",
  ];
  assert.equal(said(...missing, refused, missing[1]), `linkup's binary for this platform cannot be loaded: ${refused}`);
  assert.equal(said(refused), `linkup's binary for this platform cannot be loaded: ${refused}`);
  assert.match(said(...missing), new RegExp(`: install the package linkup-${target()}, of the same version`));
});

test('a runtime that does not say which C library it has gets a name all the same', () => {
  const getReport = () => {
    throw new Error('Requires sys access to "cpus"');
  };
  assert.equal(target({ platform: 'linux', arch: 'x64', report: { getReport } }), 'linux-x64-gnu');
});
