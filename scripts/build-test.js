// Called by build-page.js: `linkup/test`, dist/test.cjs, from js/test/ and what it needs of @sinonjs/fake-timers. For Node.js.
//
// In it is linkup as a page has it, as one function of the globals that it uses: each peer of a test's network has its own.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const esbuild = require('esbuild');
const { asModules } = require('./as-modules');
const { licences, write } = require('./build-oidc');

const root = path.join(__dirname, '..');
const FILE = path.join(root, 'dist/test.cjs');

/** The parameters of that function: see `scope` in js/test/host.js. */
const TIMERS = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'];
const SCOPE = [...TIMERS, 'Math', 'MessageChannel', 'WebSocket', 'globalThis', 'shared'];

/** Files of js/ that are not in the bundle: what comes of them is the same as that of require('linkup'). */
const SHARED = ['connection', 'emitter', 'errors', 'peer', 'stream-native'];
/** Of these, too, there shall be one: they come after js/test, which has no own. */
const BESIDE = ['identity-native'];

const fileOf = ({ path: name, resolveDir }) => path.relative(path.join(root, 'js'), path.resolve(resolveDir, name));

/** In the function they are what `shared` has. */
const fromScope = {
  name: 'from-scope',
  setup(build) {
    build.onResolve({ filter: /^\.\.?\// }, (from) => {
      const name = fileOf(from).replace(/\.js$/, '');
      return SHARED.includes(name) ? { path: name, namespace: 'shared' } : undefined;
    });
    build.onLoad({ filter: /.*/, namespace: 'shared' }, ({ path: name }) => {
      const names = Object.keys(require(path.join(root, 'js', name)));
      return { contents: `export const { ${names.join(', ')} } = shared['${name}'];` };
    });
  },
};

/** Around it they are the files themselves, beside the bundle. */
const asFiles = (engine) => ({
  name: 'as-files',
  setup(build) {
    build.onResolve({ filter: /^\.\.?\// }, (from) => {
      const name = fileOf(from).replace(/\.js$/, '');
      if (name === 'test/engine-in') return { path: name, namespace: 'engine' };
      if (name === 'test/oidc.cjs') return { path: './oidc.cjs', external: true };
      if ([...SHARED, ...BESIDE].includes(name)) return { path: `../js/${name}.js`, external: true };
    });
    build.onLoad({ filter: /.*/, namespace: 'engine' }, () => ({ contents: engine }));
  },
});

/** linkup over the engine of a page, as a function. */
async function bundleEngine() {
  const contents = "export { engine } from './js/engine-page.js'; export { linkup } from './js/linkup.js';";
  const { outputFiles } = await esbuild.build({
    stdin: { contents, resolveDir: root },
    format: 'iife',
    globalName: 'made',
    plugins: [fromScope, asModules],
    bundle: true,
    write: false,
    target: 'node20',
    logLevel: 'warning',
  });
  return `export function engineIn({ ${SCOPE.join(', ')} }) {\n${outputFiles[0].text}\nreturn made;\n}`;
}

/** Builds the file. */
async function buildTest() {
  const { outputFiles } = await esbuild.build({
    stdin: { contents: "export { createNetwork } from './js/test/network.js';", resolveDir: root },
    outfile: FILE,
    format: 'cjs',
    platform: 'node',
    plugins: [asFiles(await bundleEngine()), asModules],
    bundle: true,
    footer: { js: licences('@sinonjs/fake-timers', '@sinonjs/commons', 'type-detect') },
    write: false,
    target: 'node20',
    logLevel: 'warning',
  });
  fs.mkdirSync(path.dirname(FILE), { recursive: true });
  write(FILE, outputFiles[0].text);
}

module.exports = { buildTest };
