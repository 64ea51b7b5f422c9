'use strict';
// Servers that introduce peers: linkup's broker and its rivals, each a process.

const path = require('node:path');
const { Child } = require('./child');

/** Starts one. `server`: its program and arguments; it prints "listening on URL". */
async function startServer([program, ...given], { limit, namespace, host = '127.0.0.1' }) {
  const args = [...given, '--port', '0', '--host', host];
  const child = new Child(program, args, { limit, namespace });
  const [, url] = await child.prints(/listening on (\S+)\n/);
  return { child, url };
}

/** linkup's broker at `root`, and those of bench/servers. */
const linkupServer = (root) => [process.execPath, path.join(root, 'bin/linkup.js'), 'broker'];
const rivalServer = (name) => [process.execPath, path.join(__dirname, '../servers', `${name}.js`)];

module.exports = { startServer, linkupServer, rivalServer };
