'use strict';
// Which platform package belongs where. That one sentence says so where it is missing: ../node/install.test.js.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { target } = require('../../js/addon');

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
