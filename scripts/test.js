// `npm test`: installs what is missing, builds, and runs everything: lints, Rust tests, API tests, type tests.
//
//   npm test             all of it
//   npm test -- api      only the steps whose name contains "api"
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { root, run, has, install, buildAddon } = require('./tools');

const only = process.argv.slice(2);
const bin = (name) => path.join(root, 'node_modules/.bin', name);
const TSC = path.join(root, 'node_modules/@typescript/native/bin/tsc');

/** Crates of others that we have changed: their style is not ours. */
const oursOnly = fs.readdirSync(path.join(root, 'vendor')).flatMap((name) => ['--exclude', name]);

/** The test files below a folder of `__test__`. */
function tests(folder) {
  return fs
    .readdirSync(path.join(root, '__test__', folder))
    .filter((name) => /\.test\.m?js$/.test(name))
    .map((name) => path.join('__test__', folder, name));
}

/** Runs test files in Node.js, a process each. Those that measure processes run alone; `minutes` is for one file. */
function node(folder, { alone = false, minutes = 5 } = {}) {
  const limits = [`--test-concurrency=${alone ? 1 : 2}`, `--test-timeout=${minutes * 60_000}`];
  const reporter = process.env.CI ? ['--test-reporter=./scripts/reporter.js'] : [];
  const args = ['--test', ...limits, ...reporter, ...tests(folder)];
  return run(process.execPath, args, { env: { LINKUP_BROKER_URL: '' } });
}

const nextest = has('cargo', ['nextest', '--version']);
const quiet = process.env.CI ? ['--no-fail-fast', '--status-level', 'fail', '--final-status-level', 'fail'] : [];
const steps = {
  'rust format': () => run('cargo', ['fmt', '--all', '--check']),
  'js lint': () => run(bin('biome'), ['check']),
  'rust lint': () => run('cargo', ['clippy', '--workspace', ...oursOnly, '--all-targets', '--', '-D', 'warnings']),
  'rust licences and layers': () => {
    if (has('cargo', ['deny', '--version']))
      return run('cargo', ['deny', 'check', '--hide-inclusion-graph', 'licenses', 'bans', 'sources']);
    console.log('cargo-deny is not installed: cargo install cargo-deny');
    return !process.env.CI;
  },
  'rust tests': () => run('cargo', nextest ? ['nextest', 'run', '--workspace', ...quiet] : ['test', '--workspace']),
  'rust doc tests': () => run('cargo', ['test', '--workspace', ...oursOnly, '--doc', '--quiet']),
  'generated files': () => run('git', ['diff', '--exit-code', '--stat', '--', 'binding.js', 'binding.d.ts']),
  // By its path: TypeDoc brings an older one, whose command has the same name.
  types: () => run(process.execPath, [TSC, '--noEmit', '-p', '__test__/types']) && node('types'),
  'js tests': () => node('js'),
  'api tests': () => node('contract'),
  runtimes: () => run(process.execPath, ['scripts/runtimes.js']),
  'process tests': () => node('node', { alone: true }),
  'nat tests': () => node('nat', { alone: true }),
  'interop tests': () => node('interop', { alone: true }),
  'page tests': () => node('page', { minutes: 10 }),
};

install();
buildAddon();
const failed = [];
const chosen = Object.entries(steps).filter(([name]) => !only.length || only.some((word) => name.includes(word)));
for (const [name, step] of chosen) {
  console.log(`\n── ${name} ${'─'.repeat(Math.max(0, 70 - name.length))}`);
  const start = Date.now();
  const ok = step();
  console.log(`── ${name}: ${ok ? 'passed' : 'FAILED'} in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  if (!ok) failed.push(name);
}
if (failed.length) console.log(`\nfailed: ${failed.join(', ')}`);
console.log(`\n${chosen.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length ? 1 : 0;
