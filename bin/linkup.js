#!/usr/bin/env node
// The command `linkup`.
'use strict';

const commands = {
  broker: (args) => require('./broker').main(args),
  doctor: (args) => require('./doctor').main(args),
};

const [name, ...args] = process.argv.slice(2);
if (Object.hasOwn(commands, name ?? '')) {
  commands[name](args);
} else if (name === '--version') {
  console.log(require('../package.json').version);
} else {
  console.log(`linkup: connects programs by nothing but an id

  linkup broker [--port 5000]   runs a broker, which introduces peers to each other
  linkup doctor [BROKER]        checks broker, STUN, TURN and this network, and says what to do where something fails
  linkup --version

linkup COMMAND --help tells more.`);
  if (name !== undefined && name !== '--help' && name !== '-h') process.exitCode = 2;
}
