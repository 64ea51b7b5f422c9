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

STUN and TURN, for peers that cannot reach each other; on by default on every address, otherwise with --turn-port:
  --no-turn            none
  --turn-port N        the port, of UDP and TCP; without it 3478, if it is free
  --turn-address IP    the public address of this machine, behind a 1:1 NAT or a proxy
  --turn-name HOST     the host in the URLs: the name in the certificate
  --turn-ports A-B     the ports of relayed addresses; without it 49152-65535
  --turn-allow CIDR    relay to these private addresses too; may come again
  --turn-secret S      what credentials are made with; rather LINKUP_TURN_SECRET in the environment; without it random
  --turn-ttl N         seconds for which credentials are good; without it 3600
  --tls-cert FILE      certificate chain and
  --tls-key FILE       key, for TURN over TLS on the same port
  --ice-url URL        another server to tell peers of, with the same secret: stun:, turn:, turns:; may come again

Peers reach it with the option brokerUrl, for example 'ws://localhost:5000'. http://localhost:5000/healthz answers ok.`;

/** The demo page, where it is built. */
function demo() {
  const dist = path.join(__dirname, '../dist');
  return fs.existsSync(path.join(dist, 'index.html')) ? dist : undefined;
}

const TURN_ARGUMENTS = {
  'no-turn': { type: 'boolean' },
  'turn-port': { type: 'string' },
  'turn-address': { type: 'string' },
  'turn-name': { type: 'string' },
  'turn-ports': { type: 'string' },
  'turn-allow': { type: 'string', multiple: true },
  'turn-secret': { type: 'string' },
  'turn-ttl': { type: 'string' },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  'ice-url': { type: 'string', multiple: true },
};

/** The option `turn` of createBroker. Only digits are numbers: createBroker says what is wrong with the rest. */
function turn(values, host) {
  const number = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : text);
  const port = number(values['turn-port']);
  const wanted = !values['no-turn'] && (port !== undefined || !host);
  const urls = values['ice-url'];
  if (!wanted && urls === undefined) return undefined;
  const all = {
    port: wanted ? port : false,
    optional: port === undefined,
    address: values['turn-address'],
    name: values['turn-name'],
    relayPorts: values['turn-ports']?.split('-').map(number),
    allow: values['turn-allow'],
    secret: values['turn-secret'] ?? (process.env.LINKUP_TURN_SECRET || undefined),
    ttl: number(values['turn-ttl']),
    cert: values['tls-cert'],
    key: values['tls-key'],
    urls,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
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
        ...TURN_ARGUMENTS,
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
  const turnWanted = turn(values, host);
  let broker;
  try {
    broker = createBroker({
      port: Number(port),
      ...(host ? { host } : {}),
      ...(files ? { files } : {}),
      ...(turnWanted ? { turn: turnWanted } : {}),
    });
  } catch (error) {
    console.error(`linkup broker: ${error.message}`);
    process.exitCode = 2;
    return;
  }
  broker.ready.then(
    () => {
      console.log(`linkup broker listening on ${broker.url}`);
      if (turnWanted && turnWanted.port !== false && broker.turnAddresses.length === 0) {
        console.error('linkup broker: no STUN and TURN: port 3478 is in use; --turn-port chooses another one');
      }
    },
    (error) => {
      console.error(`linkup broker: ${error.message}`);
      process.exitCode = 1;
    },
  );
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => broker.close());
}

module.exports = { main };
