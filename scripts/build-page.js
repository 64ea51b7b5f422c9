// Called by `npm run build`: dist/linkup.js (the global `linkup`) and dist/linkup.mjs from js/page.mjs, with source maps. Fails
// where they have become too large for a page.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const esbuild = require('esbuild');

const root = path.join(__dirname, '..');

/** The whole library, minified and compressed: near what it has, so that growing is a decision. The aim is 10 KiB. */
const MAX_BYTES = 17 * 1024;

const OUTPUTS = [
  { file: 'dist/linkup.js', format: 'iife', globalName: 'linkup' },
  { file: 'dist/linkup.mjs', format: 'esm' },
];

/**
 * The sources are CommonJS, for Node.js; as ES modules they become one scope, with short names and no wrappers. They are
 * written so that this is a matter of their `require` and `module.exports` lines.
 */
const asModules = {
  name: 'as-modules',
  setup(build) {
    build.onLoad({ filter: /[\\/]js[\\/].*\.js$/ }, ({ path: file }) => {
      const contents = fs
        .readFileSync(file, 'utf8')
        .replace(/^const \{([^}]*)\} = require\((.*)\);$/gm, (_, names, from) => {
          return `import {${names.replaceAll(':', ' as ')}} from ${from};`;
        })
        .replace(/^const (\w+) = require\((.*)\);$/gm, 'import * as $1 from $2;')
        .replace(/^module\.exports = (\{[^}]*\});$/gm, 'export $1;');
      return { contents, loader: 'js' };
    });
  },
};

/** Builds both files; returns their names and compressed sizes. */
async function buildPage() {
  return Promise.all(
    OUTPUTS.map(async ({ file, ...options }) => {
      await esbuild.build({
        ...options,
        absWorkingDir: root,
        entryPoints: ['js/page.mjs'],
        outfile: file,
        plugins: [asModules],
        bundle: true,
        minify: true,
        sourcemap: true,
        // Private members, `?.` and `??=` are in all of these.
        target: ['chrome94', 'firefox93', 'safari15.4'],
        logLevel: 'warning',
      });
      return { file, bytes: zlib.gzipSync(fs.readFileSync(path.join(root, file)), { level: 9 }).length };
    }),
  );
}

module.exports = { buildPage, MAX_BYTES };

/** Builds, prints the sizes, and throws where one is too large. */
async function main() {
  for (const { file, bytes } of await buildPage()) {
    console.log(`built: ${file}, ${bytes} bytes min+gzip of at most ${MAX_BYTES}`);
    if (bytes > MAX_BYTES) throw new Error(`${file} is too large for a page`);
  }
}

if (require.main === module) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
