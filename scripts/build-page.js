// Called by `npm run build`: dist/linkup.js (the global `linkup`) and dist/linkup.mjs from js/page.mjs, with source maps; and
// dist/oidc.* (build-oidc.js) and dist/test.cjs (build-test.js). Fails where those for pages have become too large.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const esbuild = require('esbuild');
const { minify } = require('terser');
const { asModules } = require('./as-modules');
const { buildOidc, write, MAX_BYTES: MAX_OIDC } = require('./build-oidc');
const { buildTest } = require('./build-test');
const shortNames = require('./short-names');

const root = path.join(__dirname, '..');

/** The whole library, minified and compressed: near what it has, so that growing is a decision. The aim is 10 KiB. */
const MAX_BYTES = 28_100;

/** Compresses better before the rest. */
const FIRST = "import './js/message.js';";

const OUTPUTS = [
  {
    file: 'dist/linkup.js',
    format: 'iife',
    entry: `${FIRST} import linkup from './js/page.mjs'; globalThis.linkup = linkup;`,
  },
  {
    file: 'dist/linkup.mjs',
    format: 'esm',
    entry: `${FIRST} export * from './js/page.mjs'; export { default } from './js/page.mjs';`,
  },
];

/** One scope, internal names shortened: `{code, map}`. */
async function bundle({ file, format, entry }) {
  const { outputFiles } = await esbuild.build({
    stdin: { contents: entry, resolveDir: root, sourcefile: path.basename(file) },
    outfile: path.join(root, file),
    format,
    plugins: [asModules],
    bundle: true,
    minify: true,
    mangleProps: new RegExp(`^(${shortNames.join('|')})$`),
    sourcemap: 'external',
    write: false,
    // Private members, `?.` and `??=` are in all of these.
    target: ['chrome94', 'firefox93', 'safari15.4'],
    // All of them know \p{Surrogate}; what esbuild guards against is other, newer properties.
    supported: { 'regexp-unicode-property-escapes': true },
    logLevel: 'warning',
  });
  const [map, code] = outputFiles.map(({ text }) => text);
  return { code, map };
}

/** Builds both files; returns their names and compressed sizes. */
async function buildPage() {
  return Promise.all(
    OUTPUTS.map(async (output) => {
      const { file, format } = output;
      const bundled = await bundle(output);
      // A second minifier inlines and joins what esbuild leaves: 3 % less. Our getters only read, and of our
      // functions none is called with `new`.
      const { code, map } = await minify(bundled.code, {
        module: format === 'esm',
        ecma: 2020,
        compress: {
          passes: 3,
          pure_getters: true,
          lhs_constants: false,
          keep_fargs: false,
          hoist_funs: true,
          unsafe_arrows: true,
        },
        sourceMap: { content: bundled.map, filename: path.basename(file), url: `${path.basename(file)}.map` },
      });
      fs.mkdirSync(path.join(root, 'dist'), { recursive: true });
      write(path.join(root, file), code);
      write(path.join(root, `${file}.map`), map);
      return { file, bytes: zlib.gzipSync(code, { level: 9 }).length };
    }),
  );
}

module.exports = { buildPage, MAX_BYTES };

/** Builds, prints the sizes, and throws where one is too large. */
async function main() {
  const page = (await buildPage()).map((built) => ({ ...built, most: MAX_BYTES }));
  const oidc = (await buildOidc()).map((built) => ({ ...built, most: MAX_OIDC }));
  await buildTest();
  for (const { file, bytes, most } of [...page, ...oidc]) {
    console.log(`built: ${file}, ${bytes} bytes min+gzip of at most ${most}`);
    if (bytes > most) throw new Error(`${file} is too large for a page`);
  }
}

if (require.main === module) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
