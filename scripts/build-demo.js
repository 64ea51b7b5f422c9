// Called by `npm run build` and `npm start`: copies the demo page to dist/, beside the library that it uses.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

/** Copies demo/ to a folder. */
function buildDemo(to = path.join(root, 'dist')) {
  fs.cpSync(path.join(root, 'demo'), to, { recursive: true });
}

module.exports = { buildDemo };

if (require.main === module) buildDemo();
