// `npm run docs`: the site under site/, from README.md, docs/ and the declarations of types, by TypeDoc. Knows which pages
// there are and what they are called, nothing of what is in them. What links nowhere fails it.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** The pages beside the front page, in the order of the menu. */
const PAGES = {
  Guide: 'docs/guide.md',
  Migration: 'docs/migration.md',
  Examples: 'examples/README.md',
  Testing: 'docs/testing.md',
  Native: 'docs/native.md',
  Security: 'docs/security.md',
  Operators: 'docs/operators.md',
  Nodes: 'docs/nodes.md',
  Performance: 'docs/performance.md',
  Protocol: 'docs/protocol.md',
  Architecture: 'ARCHITECTURE.md',
  Contributing: 'CONTRIBUTING.md',
  Changelog: 'CHANGELOG.md',
};

/** What is imported, by the file of its types: their pages are the API. */
const MODULES = { 'index.d.ts': 'linkup', 'oidc.d.ts': 'linkup/oidc', 'test.d.ts': 'linkup/test' };

/** Languages of the blocks of code: each one more takes time to load. */
const LANGUAGES = ['typescript', 'javascript', 'html', 'bash', 'json', 'toml', 'rust', 'c'];

/** Builds the site in `folder`; rejects with TypeDoc's own words where anything is wrong. */
async function buildDocs(folder = path.join(root, 'site')) {
  const { Application, Converter, LogLevel, ReflectionKind } = await import('typedoc');
  const app = await Application.bootstrap({
    name: 'linkup',
    entryPoints: Object.keys(MODULES).map((file) => path.join(root, file)),
    // The declarations are checked by the tests of types already.
    tsconfig: path.join(root, '__test__/types/tsconfig.json'),
    skipErrorChecking: true,
    readme: path.join(root, 'README.md'),
    projectDocuments: Object.values(PAGES).map((file) => path.join(root, file)),
    customCss: path.join(root, 'docs/site.css'),
    highlightLanguages: LANGUAGES,
    // Most of a Duplex is Node.js', and is described there.
    excludeExternals: true,
    disableSources: true,
    disableGit: true,
    // The pages have titles of their own.
    headings: { readme: false, document: false },
    searchInDocuments: true,
    searchInComments: true,
    includeHierarchySummary: false,
    sort: ['source-order'],
    logLevel: LogLevel.Warn,
  });
  const said = [];
  app.logger.log = (message, level) => {
    if (level >= LogLevel.Warn) said.push(message);
  };

  // It calls both by the names of their files.
  const named = (made, names) => {
    made.name = names.get(made.name) ?? made.name;
  };
  const pages = new Map(Object.entries(PAGES).map(([name, file]) => [file.replace('.md', ''), name]));
  const modules = new Map(Object.entries(MODULES).map(([file, name]) => [path.basename(file, '.d.ts'), name]));
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, page) => named(page, pages));
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (_, made) => {
    if (made.kindOf(ReflectionKind.Module)) named(made, modules);
  });

  const project = await app.convert();
  if (project) {
    app.validate(project);
    await app.generateDocs(project, folder);
  }
  if (!project || said.length) throw new Error(`TypeDoc: ${said.join('\n')}`);
  return folder;
}

module.exports = { buildDocs, PAGES };

if (require.main === module) {
  buildDocs().then(
    (folder) =>
      console.log(`built: ${path.relative(root, folder)}, ${fs.readdirSync(folder, { recursive: true }).length} files`),
    (error) => {
      console.error(error.message);
      process.exitCode = 1;
    },
  );
}
