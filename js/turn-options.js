'use strict';
// createBroker's option `turn`: checked here, read by src/servers.rs. Node.js only.

const { isIP } = require('node:net');
const { check, checkNames, checkNumbers, checkText } = require('./check');

const TEXTS = ['address', 'name', 'secret', 'cert', 'key'];
const NUMBERS = {
  ttl: undefined,
  maxAllocations: undefined,
  maxUserAllocations: undefined,
  maxAddressAllocations: undefined,
  maxConnections: undefined,
  bandwidth: undefined,
};
const NAMES = ['port', 'optional', 'allow', 'relayPorts', 'urls', ...TEXTS, ...Object.keys(NUMBERS)];

const isPort = (value) => Number.isInteger(value) && value >= 0 && value < 65536;

function checkTexts(list, name) {
  check(Array.isArray(list), name, 'must be an array of strings');
  for (const [index, text] of list.entries()) checkText(text, `${name}[${index}]`);
}

/** What the addon takes: undefined where there is no TURN and no server to tell of. */
function turnOptions(turn) {
  if (turn === undefined || turn === false) return undefined;
  if (turn === true) return {};
  checkNames(turn, NAMES, 'options.turn');
  const { port, optional, allow, relayPorts, urls } = turn;
  const rule = 'must be a whole number from 0 to 65535, or false';
  check(port === undefined || port === false || isPort(port), 'options.turn.port', rule);
  check(optional === undefined || typeof optional === 'boolean', 'options.turn.optional', 'must be a boolean');
  for (const name of TEXTS) {
    if (turn[name] !== undefined) checkText(turn[name], `options.turn.${name}`);
  }
  check(turn.address === undefined || isIP(turn.address), 'options.turn.address', 'must be an IP address');
  check((turn.cert === undefined) === (turn.key === undefined), 'options.turn.cert', 'goes together with key');
  if (allow !== undefined) checkTexts(allow, 'options.turn.allow');
  if (urls !== undefined) checkTexts(urls, 'options.turn.urls');
  if (relayPorts !== undefined) {
    const range = Array.isArray(relayPorts) && relayPorts.length === 2 && relayPorts.every(isPort);
    const valid = range && relayPorts[0] > 0 && relayPorts[0] <= relayPorts[1];
    check(valid, 'options.turn.relayPorts', 'must be the first and the last port');
  }
  const numbers = {};
  for (const name of Object.keys(NUMBERS)) {
    if (turn[name] !== undefined) numbers[name] = turn[name];
  }
  checkNumbers(numbers, NUMBERS, 'options.turn');
  return { ...turn };
}

module.exports = { checkTexts, turnOptions };
