'use strict';
// The options of createBroker: checked here, read by src/servers.rs. Node.js only.

const { check, checkNames, checkNumbers, checkText, checkType } = require('./check');
const { redisOptions } = require('./redis-options');
const { checkTexts, turnOptions } = require('./turn-options');

const DEFAULT_PORT = 5000;
const LISTS = ['origins', 'trustedProxies', 'metricsFrom'];
const NAMES = ['port', 'host', 'files', 'tls', 'limits', 'timeouts', 'auth', 'authorize', 'turn', 'redis', ...LISTS];
const TIMEOUTS = { handshake: undefined, ping: undefined, authorize: undefined };
// Those of which 0 says that there is no limit, and those that must be.
const RATES = ['socketMessages', 'socketBytes', 'addressSockets', 'addressMessages', 'addressBytes', 'relay'];
const SIZES = ['sockets', 'frameBytes', 'queueFrames', 'queueBytes'];
const LIMITS = [...RATES, ...SIZES, 'loopback'];
const AUTH_LISTS = ['secrets', 'jwtSecrets', 'jwtKeys'];
const AUTH_TEXTS = ['audience', 'issuer'];
const AUTH = [...AUTH_LISTS, ...AUTH_TEXTS];
const MIN_JWT_SECRET = 32;

function limitsOf(limits) {
  if (limits === undefined) return undefined;
  checkNames(limits, LIMITS, 'options.limits');
  const { loopback, ...numbers } = limits;
  checkType(loopback, 'boolean', 'options.limits.loopback');
  const bounded = Object.entries(numbers).filter(([name, value]) => !RATES.includes(name) || value !== 0);
  const names = Object.fromEntries(Object.keys(numbers).map((name) => [name, undefined]));
  checkNumbers(Object.fromEntries(bounded), names, 'options.limits');
  return { ...limits };
}

function authOf(auth) {
  if (auth === undefined) return undefined;
  checkNames(auth, AUTH, 'options.auth');
  for (const name of AUTH_LISTS) {
    if (auth[name] !== undefined) checkTexts(auth[name], `options.auth.${name}`);
  }
  for (const secret of auth.secrets ?? []) check(secret !== '', 'options.auth.secrets', 'must not be empty');
  for (const secret of auth.jwtSecrets ?? []) {
    const rule = `must have at least ${MIN_JWT_SECRET} bytes`;
    check(Buffer.byteLength(secret) >= MIN_JWT_SECRET, 'options.auth.jwtSecrets', rule);
  }
  for (const name of AUTH_TEXTS) checkType(auth[name], 'string', `options.auth.${name}`);
  return { ...auth };
}

function tlsOf(tls) {
  if (tls === undefined) return undefined;
  checkNames(tls, ['cert', 'key'], 'options.tls');
  checkText(tls.cert, 'options.tls.cert');
  checkText(tls.key, 'options.tls.key');
  return { ...tls };
}

/** What the addon takes. `authorize` stays here. */
function brokerOptions(options) {
  checkNames(options, NAMES);
  const { port = Number(process.env.PORT || DEFAULT_PORT), host, files, authorize } = options;
  const rule = 'must be a whole number from 0 to 65535';
  check(Number.isInteger(port) && port >= 0 && port < 65536, 'options.port', rule);
  checkType(host, 'string', 'options.host');
  checkType(files, 'string', 'options.files');
  checkType(authorize, 'function', 'options.authorize');
  const lists = {};
  for (const name of LISTS) {
    lists[name] = options[name];
    if (lists[name] !== undefined) checkTexts(lists[name], `options.${name}`);
  }
  return {
    port,
    host,
    files,
    ...lists,
    tls: tlsOf(options.tls),
    limits: limitsOf(options.limits),
    timeouts: checkNumbers(options.timeouts, TIMEOUTS, 'options.timeouts'),
    auth: authOf(options.auth),
    authorize: authorize !== undefined,
    turn: turnOptions(options.turn),
    redis: redisOptions(options.redis),
  };
}

module.exports = { brokerOptions, NAMES, LIMITS, AUTH, TIMEOUTS };
