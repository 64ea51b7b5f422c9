'use strict';
// What a release says, and that all that is published has one version.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { notes, versions } = require('../../scripts/release-notes');

const CHANGELOG = '# Changelog\n\n## 0.2.0 (unreleased)\n\n- b\n- c\n\n## 0.1.0\n\n- a\n';

test('the notes of a version are its part of the changelog', () => {
  assert.equal(notes(CHANGELOG, '0.2.0'), '- b\n- c');
  assert.equal(notes(CHANGELOG, '0.1.0'), '- a');
  for (const other of ['0.1', '0.2.0-beta', '1.0.0', '']) assert.equal(notes(CHANGELOG, other), undefined, other);
});

test('packages name their repository: npm refuses provenance without', () => {
  const packages = versions().filter(([file]) => file.endsWith('package.json'));
  assert.ok(packages.length > 6);
  for (const [file] of packages) {
    const directory = path.dirname(file);
    const url = 'git+https://github.com/linkup/linkup.git';
    const expected = { type: 'git', url, ...(directory !== '.' && { directory }) };
    assert.deepEqual(require(path.join(__dirname, '../..', file)).repository, expected);
  }
});

test('packages and crates have one version, and it has notes', () => {
  const all = new Set(versions().map(([, version]) => version));
  assert.equal(all.size, 1, [...all].join(', '));
  const changelog = require('node:fs').readFileSync(require.resolve('../../CHANGELOG.md'), 'utf8');
  assert.ok(notes(changelog, [...all][0]).length > 100);
});
