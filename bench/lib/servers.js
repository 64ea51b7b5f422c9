'use strict';
// Servers that introduce peers: linkup's broker and its rivals, each a process.

const path = require('node:path');
const { Child } = require('./child');

/** Starts one. `server`: the arguments of node; it prints "listening on URL". */
async function startServer(server, { limit, namespace, host = '127.0.0.1' }) {
  const args = [...server, '--port', '0', '--host', host];
  const child = new Child(process.execPath, args, { limit, namespace });
  const [, url] = await child.prints(/listening on (\S+)\n/);
  return { child, url };
}

/** The arguments of node for linkup's broker at `root`, and for those of bench/servers. */
const linkupServer = (root) => [path.join(root, 'bin/linkup.js'), 'broker'];
const rivalServer = (name) => [path.join(__dirname, '../servers', `${name}.js`)];

module.exports = { startServer, linkupServer, rivalServer };
