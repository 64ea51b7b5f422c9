// `npm run build`: the addon, and under dist/ the library for pages, the demo and the broker's program.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { buildDemo } = require('./build-demo');
const { root, run, install, buildAddon } = require('./tools');

install();
buildAddon();
fs.mkdirSync(path.join(root, 'dist/broker'), { recursive: true });
fs.writeFileSync(
  path.join(root, 'dist/broker/server.js'),
  "// Runs the linkup broker: node dist/broker/server [--port 5000]\nrequire('../../bin/broker').main(process.argv.slice(2));\n",
);
buildDemo();
console.log('built: the addon, dist/broker/server.js, dist/index.html');
if (!run(process.execPath, [path.join(__dirname, 'build-page.js')])) process.exitCode = 1;
