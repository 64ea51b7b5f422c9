'use strict';
// The names that dist/ has shortened are internal: none is public, on the wire, the browser's, or reached by a string.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const names = require('../../scripts/short-names');

const root = path.join(__dirname, '../..');
const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');
const words = (text, pattern) => [...text.matchAll(pattern)].map((match) => match[1]);

const OURS = ['js', 'js/page'].flatMap((folder) =>
  fs
    .readdirSync(path.join(root, folder))
    .filter((file) => /\.m?js$/.test(file) && !/-(native|options)\.js$/.test(file))
    .map((file) => read(`${folder}/${file}`)),
);

/** Of the browsers' reports about a connection, and not in lib.dom.d.ts. */
const UNTYPED = ['candidateType', 'selected', 'consentRequestsSent'];

/** Members that the types of JavaScript and of browsers have. */
function platform() {
  const packages = path.join(root, 'node_modules/@typescript');
  const folder = fs.readdirSync(packages).find((name) => fs.existsSync(path.join(packages, name, 'lib/lib.dom.d.ts')));
  const lib = path.join(packages, folder, 'lib');
  const found = [];
  for (const file of fs.readdirSync(lib).filter((name) => /^lib\.(dom|es).*\.d\.ts$/.test(name))) {
    const text = read(path.relative(root, path.join(lib, file)));
    found.push(...words(text, /^\s+(?:readonly |get |set )*"?(\w+)"?\??\s*[:(<]/gm));
    found.push(...words(text, /^declare (?:var|function) (\w+)/gm));
  }
  return found;
}

/** Everything that must keep its name, and why. */
function taken() {
  const proto = ['signal', 'broker'].map((name) => read(`crates/proto/src/${name}.rs`)).join('\n');
  return new Map([
    ...platform().map((name) => [name, "the platform's"]),
    ...words(proto, /(?:"|^\s+(?:pub )?)(\w+)(?:"|: )/gm).map((name) => [name, 'on the wire']),
    ...words(read('docs/protocol.md'), /["`](\w+)["`]/g).map((name) => [name, 'on the wire']),
    ...words(read('index.d.ts'), /(?<![\w.$])(\w+)\??\s*[:(<]/g).map((name) => [name, 'public']),
    ...words(read('index.d.ts'), /'(\w+)'/g).map((name) => [name, 'public']),
    ...words(read('index.d.ts'), /`([^`]+)`/g).flatMap((text) => words(text, /(\w+)/g).map((name) => [name, 'public'])),
    ...words(read('crates/driver/src/stats.rs'), /"(\w+)"/g).map((name) => [name, 'public']),
    ...UNTYPED.map((name) => [name, "the platform's"]),
    ...OURS.flatMap((text) => words(text, /['"](\w+)['"]/g)).map((name) => [name, 'also a string']),
  ]);
}

test('only internal names are shortened', () => {
  const others = taken();
  assert.ok(others.get('createDataChannel') && others.get('sdpMid') && others.get('brokerUrl') && others.get('splice'));
  for (const name of names) assert.ok(!others.has(name), `${name}: is ${others.get(name)}`);
});

test('each shortened name is there, once', () => {
  for (const [i, name] of names.entries()) {
    assert.ok(
      OURS.some((text) => new RegExp(`\\b${name}\\b`).test(text)),
      `${name}: is nowhere in js/`,
    );
    assert.equal(names.indexOf(name), i, `${name}: twice`);
  }
});

module.exports = { taken };
