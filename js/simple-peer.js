'use strict';
// `options.simplePeer`: the options of the library simple-peer that mean something here, and a warning about the rest.

const { check, checkNumbers, checkText, isObject } = require('./check');

const TYPES = {
  trickle: 'boolean',
  config: 'object',
  channelName: 'string',
  channelConfig: 'object',
  // These two ask for audio and video: a data channel has neither.
  offerOptions: 'object',
  answerOptions: 'object',
  sdpTransform: 'function',
  iceCompleteTimeout: 'number',
};

/** What of it the engine and the peer need; `config` holds `iceServers` and `iceTransportPolicy` where given. */
function readSimplePeer(given = {}, warn) {
  const prefix = 'options.simplePeer';
  check(isObject(given), prefix, 'must be an object');
  const options = Object.entries(given).filter(([, value]) => value !== undefined);
  const ignored = options.map(([name]) => name).filter((name) => !Object.hasOwn(TYPES, name));
  if (ignored.length > 0) warn(`${prefix}: ${ignored.join(', ')} mean nothing to linkup and are ignored`);
  for (const [name, value] of options) {
    const type = TYPES[name];
    const valid = type === undefined || (type === 'object' ? isObject(value) : typeof value === type);
    check(valid, `${prefix}.${name}`, `must be ${type === 'object' ? 'an' : 'a'} ${type}`);
  }
  const { trickle = true, config = {}, channelName, channelConfig, sdpTransform, iceCompleteTimeout } = given;
  if (channelName !== undefined) checkText(channelName, `${prefix}.channelName`);
  return {
    trickle,
    config,
    channelName,
    channelConfig,
    sdpTransform,
    ...checkNumbers({ iceCompleteTimeout }, { iceCompleteTimeout: 5000 }, prefix),
  };
}

module.exports = { readSimplePeer };
