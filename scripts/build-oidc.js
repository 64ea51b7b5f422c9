// Called by build-page.js: `linkup/oidc` from js/oidc.js and what it needs of jose, for script tags (the global `linkupOidc`),
// as an ES module, and for Node.js. Fails where it has become too large for a page.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const esbuild = require('esbuild');
const { asModules } = require('./as-modules');

const root = path.join(__dirname, '..');

/** Minified and compressed, with the licence of jose. */
const MAX_BYTES = 10_400;

const EXPORTS = "export { nonceOf, oidc } from './js/oidc.js';";

/** `errors`: where a bundle has the LinkupError from that `instanceof` of the application knows. */
const OUTPUTS = [
  {
    file: 'dist/oidc.js',
    format: 'iife',
    entry: "import { nonceOf, oidc } from './js/oidc.js'; globalThis.linkupOidc = { nonceOf, oidc };",
    minify: true,
  },
  { file: 'dist/oidc.mjs', format: 'esm', entry: EXPORTS, minify: true, errors: './linkup.mjs' },
  { file: 'dist/oidc.cjs', format: 'cjs', entry: EXPORTS, minify: false, errors: '../js/errors.js' },
];

/** With script tags it is that of the global `linkup`, whichever of the two is loaded first. */
const OF_THE_PAGE = `
  import { LinkupError as Own } from './errors.js';
  export function LinkupError(...args) {
    return new (globalThis.linkup?.LinkupError ?? Own)(...args);
  }
`;

const oneError = (errors) => ({
  name: 'one-error',
  setup(build) {
    build.onResolve({ filter: /^\.\.\/errors$/ }, () => {
      return errors ? { path: errors, external: true } : { path: 'errors', namespace: 'page' };
    });
    build.onLoad({ filter: /^errors$/, namespace: 'page' }, () => {
      return { contents: OF_THE_PAGE, resolveDir: path.join(root, 'js') };
    });
  },
});

/** The licences of packages want to go with their code. */
function licences(...names) {
  const texts = names.map((name) => {
    const folder = path.join(root, 'node_modules', name);
    const { version } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
    const file = fs.readdirSync(folder).find((file) => /^licen[cs]e(\.\w+)?$/i.test(file));
    return `Includes ${name} ${version}.\n\n${fs.readFileSync(path.join(folder, file), 'utf8').trim()}`;
  });
  return `/*!\n${texts.join('\n\n')}\n*/`;
}

/** Somebody who reads the file at that time sees the old or the new one. */
function write(file, text) {
  fs.writeFileSync(`${file}.${process.pid}`, text);
  fs.renameSync(`${file}.${process.pid}`, file);
}

/** Builds the three files; returns the names and compressed sizes of those for pages. */
async function buildOidc() {
  fs.mkdirSync(path.join(root, 'dist'), { recursive: true });
  const footer = { js: licences('jose') };
  const built = await Promise.all(
    OUTPUTS.map(async ({ file, format, entry, minify, errors }) => {
      const { outputFiles } = await esbuild.build({
        stdin: { contents: entry, resolveDir: root, sourcefile: path.basename(file) },
        outfile: path.join(root, file),
        format,
        // So that `import` of the file for Node.js knows what it exports.
        platform: format === 'cjs' ? 'node' : 'browser',
        plugins: [oneError(errors), asModules],
        bundle: true,
        minify,
        sourcemap: minify ? 'linked' : false,
        footer,
        write: false,
        // As build-page.js; Node.js 20 knows more.
        target: ['chrome94', 'firefox93', 'safari15.4'],
        supported: { 'regexp-unicode-property-escapes': true },
        logLevel: 'warning',
      });
      for (const { path: name, text } of outputFiles) write(name, text);
      return { file, minify, bytes: zlib.gzipSync(outputFiles.at(-1).text, { level: 9 }).length };
    }),
  );
  return built.filter(({ minify }) => minify);
}

module.exports = { buildOidc, licences, write, MAX_BYTES };
