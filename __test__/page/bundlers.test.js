'use strict';
// The package in the hands of bundlers, and where a page is rendered by a server.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const vm = require('node:vm');
const { buildPage } = require('../../scripts/build-page');

const root = path.join(__dirname, '../..');
const MAIN = "import { createPeer, LinkupError } from 'linkup';\nglobalThis.made = { createPeer, LinkupError };\n";

let project;
before(async () => {
  await buildPage();
  project = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-bundle-'));
  fs.mkdirSync(path.join(project, 'node_modules'));
  fs.symlinkSync(root, path.join(project, 'node_modules/linkup'), 'junction');
  fs.writeFileSync(path.join(project, 'package.json'), '{"type": "module"}');
  fs.writeFileSync(path.join(project, 'main.js'), MAIN);
  fs.writeFileSync(path.join(project, 'required.cjs'), "globalThis.made = require('linkup');\n");
});
after(() => fs.rmSync(project, { recursive: true, force: true }));

/** What a bundle makes in an empty world: nothing of Node.js, nothing of a page. */
function check(code, what) {
  assert.ok(!code.includes('binding.js'), `${what}: the addon is in it`);
  const world = vm.createContext({ queueMicrotask });
  vm.runInContext(code, world);
  assert.equal(typeof world.made.createPeer, 'function');
  assert.throws(() => world.made.createPeer(''), /^TypeError: id: /);
  console.log(`${what}: ${code.length} bytes`);
}

for (const file of ['main.js', 'required.cjs']) {
  test(`esbuild, ${file}`, async () => {
    const { build } = require('esbuild');
    const entryPoints = [path.join(project, file)];
    const { outputFiles } = await build({ entryPoints, bundle: true, write: false, minify: true, format: 'iife' });
    check(outputFiles[0].text, 'esbuild');
  });

  test(`webpack, ${file}`, async () => {
    const webpack = require('webpack');
    const output = { path: path.join(project, 'webpack'), filename: 'out.js' };
    const compiler = webpack({ mode: 'production', context: project, entry: `./${file}`, output });
    const stats = await new Promise((resolve, reject) => {
      compiler.run((error, stats) => (error ? reject(error) : resolve(stats)));
    });
    await new Promise((resolve) => compiler.close(resolve));
    assert.equal(stats.hasErrors(), false, stats.toString());
    check(fs.readFileSync(path.join(output.path, 'out.js'), 'utf8'), 'webpack');
  });
}

test('Vite', async () => {
  const { build } = await import('vite');
  const result = await build({
    root: project,
    logLevel: 'error',
    build: { write: false, lib: { entry: 'main.js', formats: ['iife'], name: 'app' } },
  });
  check([result].flat()[0].output[0].code, 'Vite');
});

for (const [name, args] of [
  [
    'the module',
    [
      '--input-type=module',
      '-e',
      `import * as linkup from '${root}/dist/linkup.mjs'; console.log(typeof linkup.createPeer)`,
    ],
  ],
  [
    'the package for browsers',
    [
      '--conditions=browser',
      '--input-type=module',
      '-e',
      "import { createPeer } from 'linkup'; console.log(typeof createPeer)",
    ],
  ],
]) {
  test(`a server that renders imports ${name}: nothing happens, and it ends`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      cwd: project,
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: 'function\n', stderr: '' });
  });
}
