// `npm test -- runtimes`: the API suite, and guests that load an installed linkup, on each runtime that is not the Node.js
// of the other steps. Knows where the runtimes come from, how they are started and how they count; not what is tested.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./tools');
const { buildOidc } = require('./build-oidc');
const { target } = require('../js/addon');

// Each major of Node.js from the oldest in package.json on, and the newest of the others. Electron is missing: no package has its
// binary, the one of that name downloads it from elsewhere.
const RUNTIMES = [
  { kind: 'node', version: '20.20.2' },
  { kind: 'node', version: '22.23.3' },
  { kind: 'node', version: '24.21.0' },
  { kind: 'node', version: '26.12.1' },
  { kind: 'bun', version: '1.4.5' },
  { kind: 'deno', version: '2.9.6' },
];

const { platform, arch } = process;
const os = platform === 'win32' ? 'windows' : platform;
const exe = platform === 'win32' ? '.exe' : '';

/**
 * How a runtime is used: its npm package and the program in it; the arguments before a program's and before the suite's files;
 * what it prints, in a line or in many, of how many tests have passed and failed.
 */
const KINDS = {
  node: {
    title: 'Node.js',
    module: `node-${platform === 'win32' ? 'win' : platform}-${arch}`,
    file: `bin/node${exe}`,
    program: [],
    suite: ['--test', '--test-concurrency=1', '--test-timeout=120000', '--test-reporter=./scripts/reporter.js'],
    counts: /^[✔✖] .*: (\d+) passed, (\d+) failed, /gm,
  },
  bun: {
    title: 'Bun',
    // The baseline runs on processors without AVX2, too.
    module: `@oven/bun-${os}-${arch === 'arm64' ? 'aarch64' : `${arch}-baseline`}`,
    file: `bin/bun${exe}`,
    program: ['run'],
    // What the harness does before and after its file is for each file only where it is loaded for each file.
    suite: ['test', '--isolate', '--only-failures', '--timeout=120000'],
    counts: /^ *(\d+) pass\n *(\d+) fail$/gm,
  },
  deno: {
    title: 'Deno',
    module: `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}`,
    file: `deno${exe}`,
    // All that linkup needs: README.md.
    program: ['run', '--no-prompt', '--allow-ffi', '--allow-env', '--allow-read'],
    suite: ['test', '--allow-all', '--no-check', '--no-lock', '--unstable-detect-cjs'],
    counts: /^(?:ok|FAILED) \| (\d+) passed.* \| (\d+) failed/gm,
  },
};

/** What guests are told to do, and how they end: the exit code. */
const GUESTS = [
  { args: ['module.mjs'], code: 0 },
  { args: ['guest.cjs', 'ends'], code: 0 },
  { args: ['guest.cjs', 'workers'], code: 0 },
  { args: ['guest.cjs', 'exits'], code: 7 },
  { args: ['guest.cjs', 'throws'], code: 1 },
];

// Some seconds on an idle machine.
const FETCH_MS = 180_000;
const SUITE_MS = 180_000;
const GUEST_MS = 30_000;

const cache = path.join(root, '.cache/runtimes');
const project = path.join(cache, 'project');
const folderOf = ({ kind, version }) => path.join(cache, `${kind}-${version}`);

// Each leads a group: node's runner would leave its own children behind.
const running = new Set();
const kill = (child) => {
  try {
    if (exe) child.kill();
    else process.kill(-child.pid, 'SIGKILL');
  } catch {
    // All of it has ended, and somebody still holds its pipe.
  }
};
process.on('exit', () => running.forEach(kill));
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));

/** Runs a program to its end, which comes in `ms` at the latest. */
function run(file, args, { ms, cwd = root }) {
  const env = { ...process.env, LINKUP_BROKER_URL: '', NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1' };
  env.DENO_DIR = path.join(cache, 'deno');
  // A child of node's runner reports to it, not to us.
  delete env.NODE_TEST_CONTEXT;
  return new Promise((resolve) => {
    let output = '';
    const stdio = ['ignore', 'pipe', 'pipe'];
    const child = spawn(file, args, { cwd, env, stdio, detached: !exe, shell: file === 'npm' && !!exe });
    if (child.pid) running.add(child);
    const late = setTimeout(() => {
      output += `\nstopped: not at its end after ${ms / 1000} s`;
      kill(child);
    }, ms);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        output += text;
      });
    }
    const end = (how) => {
      clearTimeout(late);
      running.delete(child);
      resolve({ how, output });
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code, signal) => end(signal ?? code));
  });
}

/** The program of a runtime, from npm where the cache has it not; throws where npm has it not. */
async function fetched(runtime) {
  const { module, file } = KINDS[runtime.kind];
  const folder = folderOf(runtime);
  const program = path.join(folder, 'node_modules', module, file);
  if (fs.existsSync(program)) return program;
  // Whoever is interrupted here leaves no half of a program under its name.
  const half = `${folder}.half`;
  fs.rmSync(half, { recursive: true, force: true });
  fs.mkdirSync(half, { recursive: true });
  const quiet = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'];
  const what = `${module}@${runtime.version}`;
  const { how, output } = await run('npm', ['install', ...quiet, '--prefix', half, what], { ms: FETCH_MS });
  if (how !== 0) throw new Error(`npm has no ${what}: ${how}\n${output}`);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.renameSync(half, folder);
  if (!fs.existsSync(program)) throw new Error(`there is no ${file} in ${what}`);
  return program;
}

/** A project with linkup and its platform's package, as after `npm install linkup`, and the guests. */
async function makeProject() {
  await buildOidc();
  const modules = path.join(project, 'node_modules');
  const binary = `linkup.${target()}.node`;
  fs.rmSync(project, { recursive: true, force: true });
  const copy = (from, to) => fs.cpSync(path.join(root, from), path.join(project, to), { recursive: true });
  for (const name of ['package.json', 'index.js', 'index.mjs', 'binding.js', 'js', 'dist/oidc.cjs'])
    copy(name, `node_modules/linkup/${name}`);
  copy(`npm/${target()}/package.json`, `node_modules/linkup-${target()}/package.json`);
  fs.copyFileSync(path.join(root, binary), path.join(modules, `linkup-${target()}`, binary));
  copy('__test__/runtimes', '.');
  fs.writeFileSync(path.join(project, 'package.json'), '{"private": true}');
}

/** Runs the API suite; how many tests passed and failed, and what was printed where not all is well. */
async function suite(program, { kind }) {
  const { suite: args, counts } = KINDS[kind];
  const folder = '__test__/contract';
  const names = fs.readdirSync(path.join(root, folder)).filter((name) => name.endsWith('.test.js'));
  const files = names.map((name) => `./${folder}/${name}`);
  const { how, output } = await run(program, [...args, ...files], { ms: SUITE_MS });
  let [passed, failed] = [0, 0];
  for (const [, good, bad] of output.matchAll(counts)) {
    passed += Number(good);
    failed += Number(bad);
  }
  const well = how === 0 && passed > 0 && failed === 0;
  return { passed, failed, problem: well ? undefined : `the API suite ended with ${how}\n${output.slice(-20_000)}` };
}

/** Runs a guest; what is wrong, if anything. */
async function guest(program, { kind }, { args, code }) {
  const linkup = require('../index.js');
  const broker = await linkup.createBroker({ port: 0, host: 'localhost' }).ready;
  try {
    const all = [...KINDS[kind].program, ...args, broker.url];
    const { how, output } = await run(program, all, { ms: GUEST_MS, cwd: project });
    if (how !== code || !/^ok$/m.test(output)) return `${args.join(' ')} ended with ${how}, not ${code}\n${output}`;
  } finally {
    await broker.close();
  }
}

/** All there is to see of a runtime. */
async function check(runtime) {
  const name = `${KINDS[runtime.kind].title} ${runtime.version}`;
  let program;
  const start = performance.now();
  try {
    program = await fetched(runtime);
  } catch ({ message }) {
    console.log(`✖ ${name}: NOT TESTED, it cannot be fetched: ${message}`);
    return { ok: !process.env.CI };
  }
  const there = performance.now();
  const { passed, failed, problem } = await suite(program, runtime);
  const problems = [problem];
  for (const each of GUESTS) problems.push(await guest(program, runtime, each));
  const wrong = problems.filter(Boolean);
  const [fetching, running] = [there - start, performance.now() - there].map((ms) => (ms / 1000).toFixed(1));
  const guests = GUESTS.length - wrong.length + (problem ? 1 : 0);
  const counts = `${passed} passed, ${failed} failed, ${guests} of ${GUESTS.length} guests well`;
  console.log(`${wrong.length ? '✖' : '✔'} ${name}: ${counts}, ${running} s (and ${fetching} s to fetch it)`);
  for (const text of wrong) console.log(`${name}: ${text}`);
  return { ok: wrong.length === 0, passed };
}

async function main() {
  // The one that runs this has a step for the suite, and others for guests.
  const [own] = process.versions.node.split('.');
  const chosen = RUNTIMES.filter(({ kind, version }) => kind !== 'node' || version.split('.')[0] !== own);
  await makeProject();
  // Versions that nobody asks for any more; each is 100 to 200 MB.
  const kept = ['project', 'deno', ...RUNTIMES.map((runtime) => path.basename(folderOf(runtime)))];
  for (const name of fs.readdirSync(cache)) {
    if (!kept.includes(name)) fs.rmSync(path.join(cache, name), { recursive: true, force: true });
  }
  const results = [];
  const lane = async () => {
    for (let runtime = chosen.shift(); runtime; runtime = chosen.shift()) results.push(await check(runtime));
  };
  // Two at a time: while one waits, for npm or for a timer, the other has the processor.
  await Promise.all([lane(), lane()]);
  // A runner that leaves tests out does not say so.
  const counts = new Set(results.map(({ passed }) => passed).filter((passed) => passed !== undefined));
  if (counts.size > 1) console.log(`not the same number of tests on all runtimes: ${[...counts].join(', ')}`);
  process.exitCode = counts.size <= 1 && results.every(({ ok }) => ok) ? 0 : 1;
}

main();
