'use strict';
// The options of createPeer: checks what the application gave, fills in the defaults, and makes of it what the engine
// takes. Every wrong value is a TypeError that names its option. Runs nothing, opens nothing.

const { LinkupError } = require('./errors');
const { iceServersOf } = require('./ice');
const { utf8Length } = require('./message');
const { readSimplePeer } = require('./simple-peer');
const { check, checkNames, checkNumbers, checkText, checkType } = require('./check');

const MAX_NAME_BYTES = 256;
// Metadata travels inside one message to the broker, which takes 64 KiB.
const MAX_METADATA_BYTES = 16 * 1024;

const TIMEOUTS = { connect: 15000, idle: 10000, close: 5000, broker: 10000 };
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
  check(id !== '', name, 'must not be empty');
}

/** Throws a TypeError where `text` is not a string as short as a name has to be; `name` is the argument's. */
function checkName(text, name) {
  checkText(text, name);
  check(utf8Length(text) <= MAX_NAME_BYTES, name, `has more than ${MAX_NAME_BYTES} bytes of UTF-8`);
}

/**
 * Reads the arguments of createPeer.
 *
 * @returns {{engine: object, accept?: Function, sdpTransform?: Function, iceServers?: Function}} `engine` is
 *   for the engine's createPeer; `iceServers` is there where they have to be fetched
 */
function readOptions(id, options = {}, host) {
  checkId(id, 'id');
  const { ownOptions = [] } = host;
  checkNames(options, [...NAMES, ...ownOptions]);
  if (options.identity !== undefined) {
    throw new LinkupError('ERR_UNSUPPORTED', 'options.identity: comes in a later version of linkup');
  }
  const { accept, token } = options;
  checkType(accept, 'function', 'options.accept');
  if (token !== undefined) checkText(token, 'options.token');
  const { sdpTransform, config, ...simplePeer } = readSimplePeer(options.simplePeer, host.warn);
  const { iceTransportPolicy = config.iceTransportPolicy ?? 'all' } = options;
  check(['all', 'relay'].includes(iceTransportPolicy), 'options.iceTransportPolicy', "must be 'all' or 'relay'");
  const { iceServers } = options;
  const fetched = typeof iceServers === 'function';
  return {
    accept,
    sdpTransform,
    iceServers: fetched ? iceServers : undefined,
    engine: {
      id,
      ...Object.fromEntries(ownOptions.map((name) => [name, options[name]])),
      ...readBrokers(options, host),
      token,
      metadata: readMetadata(options.metadata, 'options.metadata'),
      asks: accept !== undefined,
      transforms: sdpTransform !== undefined,
      ...simplePeer,
      iceServers: fetched ? [] : readIceServers(iceServers, config.iceServers),
      iceTransportPolicy,
      timeouts: checkNumbers(options.timeouts, TIMEOUTS, 'options.timeouts'),
      limits: checkNumbers(options.limits, LIMITS, 'options.limits'),
    },
  };
}

function readIceServers(given, fromConfig = []) {
  if (given === undefined) return iceServersOf(fromConfig, 'options.simplePeer.config.iceServers');
  return iceServersOf(given, 'options.iceServers');
}

/** `{brokers, embedded}`: given, or what is usual where this runs. */
function readBrokers({ brokerUrl, browserUrl }, host) {
  if (brokerUrl !== undefined && browserUrl !== undefined && String(brokerUrl) !== String(browserUrl)) {
    throw new TypeError('options.browserUrl: is the same option as brokerUrl, and they differ; give one of them');
  }
  if (brokerUrl !== undefined) return { brokers: checkUrls(brokerUrl, 'options.brokerUrl'), embedded: false };
  if (browserUrl !== undefined) return { brokers: checkUrls(browserUrl, 'options.browserUrl'), embedded: false };
  const { url, embedded, name: source } = host.defaultBroker();
  return { brokers: checkUrls(url, source), embedded };
}

function checkUrls(given, name) {
  const urls = [given].flat();
  check(urls.length > 0, name, 'must have at least one URL');
  for (const url of urls) {
    checkText(url, name);
    let protocol;
    try {
      protocol = new URL(url).protocol;
    } catch {
      throw new TypeError(`${name}: '${url}' is not a URL, write it like ws://localhost:5000`);
    }
    check(/^wss?:$/.test(protocol), name, `'${url}' must start with ws:// or wss://`);
  }
  return urls;
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
  check(utf8Length(text) <= MAX_METADATA_BYTES, name, `has more than ${MAX_METADATA_BYTES} bytes as JSON`);
  return JSON.parse(text);
}

module.exports = { readOptions, readMetadata, checkId, checkName, NAMES };
