'use strict';
// The options of createPeer: checks what the application gave, fills in the defaults, and makes of it what the engine
// takes. Every wrong value is a TypeError that names its option. Runs nothing, opens nothing.

const { readAccept } = require('./accept');
const { iceServersOf } = require('./ice');
const { readIdentity } = require('./identity');
const { utf8Length } = require('./message');
const { readSimplePeer } = require('./simple-peer');
const { check, checkNames, checkNumbers, checkText, checkType } = require('./check');

const MAX_NAME_BYTES = 256;
// Metadata travels inside one message to the broker, which takes 64 KiB.
const MAX_METADATA_BYTES = 16 * 1024;

const TIMEOUTS = { connect: 15000, idle: 10000, close: 5000, broker: 10000, resume: 30000 };
const MIB = 1024 * 1024;
const LIMITS = { messageBytes: 64 * MIB, bufferedBytes: 64 * MIB, highWaterMark: MIB, connections: 10000 };

const NAMES = [
  'brokerUrl',
  'browserUrl',
  'simplePeer',
  'iceServers',
  'iceTransportPolicy',
  'accept',
  'metadata',
  'token',
  'identity',
  'timeouts',
  'limits',
];

/** Throws a TypeError where `id` is not an id; `name` is the argument that it was given as. */
function checkId(id, name) {
  checkName(id, name);
  check(id, name, 'must not be empty');
}

/** Throws a TypeError where `text` is not a string as short as a name has to be; `name` is the argument's. */
function checkName(text, name) {
  checkText(text, name);
  check(utf8Length(text) <= MAX_NAME_BYTES, name, `has more than ${MAX_NAME_BYTES} bytes`);
}

/**
 * Reads the arguments of createPeer.
 *
 * @returns {{engine: object, accept?: Function, oidc?: object, known?: Map, sdpTransform?: Function, iceServers?: Function}}
 *   `engine` is for the engine's createPeer; `iceServers` is there where they have to be fetched
 */
function readOptions(id, options = {}, host) {
  checkId(id, 'id');
  const { ownOptions = [] } = host;
  checkNames(options, [...NAMES, ...ownOptions]);
  const { token, iceServers } = options;
  const accept = readAccept(options.accept);
  checkType(token, 'string', 'options.token');
  // A class that the page brings with it.
  for (const name of ownOptions) checkType(options[name], 'function', `options.${name}`);
  const { sdpTransform, config, ...simplePeer } = readSimplePeer(options.simplePeer, host.warn);
  const { iceTransportPolicy = config.iceTransportPolicy ?? 'all' } = options;
  const where = options.iceTransportPolicy === undefined ? 'options.simplePeer.config' : 'options';
  check(['all', 'relay'].includes(iceTransportPolicy), `${where}.iceTransportPolicy`, "must be 'all' or 'relay'");
  const fetched = typeof iceServers === 'function';
  const { oidc, known, engine } = readIdentity(options.identity, id, host);
  return {
    accept,
    oidc,
    known,
    sdpTransform,
    iceServers: fetched ? iceServers : undefined,
    engine: {
      id,
      ...Object.fromEntries(ownOptions.map((name) => [name, options[name]])),
      ...readBrokers(options, host),
      token,
      metadata: readMetadata(options.metadata, 'options.metadata'),
      ...engine,
      asks: (accept ?? known) !== undefined,
      transforms: sdpTransform !== undefined,
      ...simplePeer,
      iceServers: fetched ? [] : readIceServers(iceServers, config.iceServers),
      iceTransportPolicy,
      timeouts: checkNumbers(options.timeouts, TIMEOUTS, 'options.timeouts'),
      limits: checkNumbers(options.limits, LIMITS, 'options.limits'),
    },
  };
}

/** Undefined where the application names none: then the broker's are used. */
function readIceServers(given, fromConfig) {
  if (given !== undefined) return iceServersOf(given, 'options.iceServers');
  if (fromConfig !== undefined) return iceServersOf(fromConfig, 'options.simplePeer.config.iceServers');
}

/** `{brokers, embedded}`: given, or what is usual where this runs. */
function readBrokers({ brokerUrl, browserUrl = brokerUrl }, host) {
  const same = brokerUrl === undefined || String(brokerUrl) === String(browserUrl);
  check(same, 'options.browserUrl', 'differs from brokerUrl, the same option');
  const given = {
    url: browserUrl,
    embedded: false,
    name: `options.${brokerUrl === undefined ? 'browserUrl' : 'brokerUrl'}`,
  };
  const { url, embedded, name } = browserUrl === undefined ? host.defaultBroker() : given;
  const brokers = [url].flat();
  check(brokers.length > 0 && brokers.every(isBrokerUrl), name, 'must be one or more ws: or wss: URLs');
  return { brokers, embedded };
}

function isBrokerUrl(url) {
  try {
    checkText(url);
    return /^wss?:$/.test(new URL(url).protocol);
  } catch {
    return false;
  }
}

/** A copy of what is small and JSON; throws a TypeError where it is not. */
function readMetadata(metadata, name) {
  if (metadata === undefined) return;
  let text;
  try {
    text = JSON.stringify(metadata, (key, value) => {
      checkText(key, name);
      if (typeof value === 'string') checkText(value, name);
      return value;
    });
  } catch (cause) {
    throw new TypeError(`${name}: cannot be written as JSON: ${cause.message}`, { cause });
  }
  check(text !== undefined, name, 'cannot be written as JSON');
  check(utf8Length(text) <= MAX_METADATA_BYTES, name, `has more than ${MAX_METADATA_BYTES} bytes`);
  return JSON.parse(text);
}

module.exports = { readOptions, readMetadata, checkId, checkName, NAMES };
