// The broker as a program of Node.js: `linkup broker` and `node dist/broker/server`.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const HELP = `Runs a linkup broker, which introduces peers to each other by their ids.

  linkup broker [--port 5000] [--host localhost] [--files DIR]

  --port   the port to listen on; also PORT in the environment; 0 takes any free one
  --host   the address to listen on; also HOST in the environment; without it, every address of this machine
  --files  a folder to serve over HTTP beside the broker; without it, the demo page

Peers reach it with the option brokerUrl, for example 'ws://localhost:5000'. http://localhost:5000/healthz answers ok.`;

/** The demo page, where it is built. */
function demo() {
  const dist = path.join(__dirname, '../dist');
  return fs.existsSync(path.join(dist, 'index.html')) ? dist : undefined;
}

/** Runs the broker with the arguments of a command line until it is told to stop. */
function main(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        port: { type: 'string' },
        host: { type: 'string' },
        files: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    console.error(`linkup broker: ${error.message}\nTry: linkup broker --help`);
    process.exitCode = 2;
    return;
  }
  if (values.help) {
    console.log(HELP);
    return;
  }
  const port = values.port ?? (process.env.PORT || '5000');
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65535) {
    console.error(`linkup broker: --port is a number from 0 to 65535, not ${port}`);
    process.exitCode = 2;
    return;
  }
  const { createBroker } = require('../index.js');
  const host = values.host ?? process.env.HOST;
  const files = values.files ?? demo();
  const broker = createBroker({
    port: Number(port),
    ...(host ? { host } : {}),
    ...(files ? { files } : {}),
  });
  broker.ready.then(
    () => console.log(`linkup broker listening on ${broker.url}`),
    (error) => {
      console.error(`linkup broker: ${error.message}`);
      process.exitCode = 1;
    },
  );
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => broker.close());
}

module.exports = { main };
