// node scripts/release-notes.js VERSION - prints that version's part of CHANGELOG.md; fails where there is none, or where it is
// not the version of the packages and crates.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** The part of a changelog that is about `version`; undefined where there is none. */
function notes(changelog, version) {
  const parts = changelog.split(/^## /m).slice(1);
  const part = parts.find((text) => text.split(/[\s(]/, 1)[0] === version);
  return part?.slice(part.indexOf('\n')).trim();
}

/** Every place that says the version, and what it says. */
function versions() {
  const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
  const packages = [
    'package.json',
    ...fs.readdirSync(path.join(root, 'npm')).map((name) => `npm/${name}/package.json`),
  ];
  const said = packages.map((file) => [file, JSON.parse(read(file)).version]);
  return [...said, ['Cargo.toml', /^version = "(.*)"$/m.exec(read('Cargo.toml'))[1]]];
}

function main([version]) {
  const other = versions().filter(([, said]) => said !== version);
  if (other.length > 0) throw new Error(`not ${version}: ${other.map((one) => one.join(' has ')).join(', ')}`);
  const text = notes(fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8'), version);
  if (!text) throw new Error(`CHANGELOG.md says nothing about ${version}`);
  console.log(text);
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { notes, versions };
