// The broker as a program of Node.js: `linkup broker` and `node dist/broker/server`. All of it is in Rust.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** The demo page, where it is built. */
function demo() {
  const dist = path.join(__dirname, '../dist');
  return fs.existsSync(path.join(dist, 'index.html')) ? dist : undefined;
}

/** Runs the broker with the arguments of a command line until it is told to stop. */
function main(args) {
  // The signals are the program's. Without a listener Node.js has handlers of its own, which would raise them again for ever.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});
  process.exitCode = require('../binding.js').runBroker(args, demo());
}

module.exports = { main };
