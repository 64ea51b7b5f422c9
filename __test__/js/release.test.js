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
  const fs = require('node:fs');
  const root = path.join(__dirname, '../..');
  const folders = fs.readdirSync(path.join(root, 'npm')).map((name) => `npm/${name}`);
  assert.ok(folders.length > 5);
  for (const directory of [undefined, ...folders]) {
    const { repository } = require(path.join(root, directory ?? '', 'package.json'));
    const url = 'git+https://github.com/linkup/linkup.git';
    assert.deepEqual(repository, { type: 'git', url, ...(directory && { directory }) });
  }
});

test('packages and crates have one version, and it has notes', () => {
  const all = new Set(versions().map(([, version]) => version));
  assert.equal(all.size, 1, [...all].join(', '));
  const changelog = require('node:fs').readFileSync(require.resolve('../../CHANGELOG.md'), 'utf8');
  assert.ok(notes(changelog, [...all][0]).length > 100);
});
