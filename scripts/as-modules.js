// How the sources of js/ go into a bundle.
'use strict';

const fs = require('node:fs');

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

module.exports = { asModules };
