'use strict';
// `options.simplePeer`: the options of the library simple-peer that mean something here, and a warning about the rest.

const { checkNumbers, checkType } = require('./check');

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
  checkType(given, 'object', prefix);
  const ignored = Object.keys(given).filter((name) => given[name] !== undefined && !Object.hasOwn(TYPES, name));
  if (ignored.length > 0) warn(`${prefix}: ${ignored.join(', ')} are ignored`);
  for (const [name, type] of Object.entries(TYPES)) checkType(given[name], type, `${prefix}.${name}`);
  const { trickle = true, config = {}, channelName, channelConfig, sdpTransform, iceCompleteTimeout } = given;
  return {
    trickle,
    config,
    channelName,
    channelConfig: channelConfig && { ...channelConfig },
    sdpTransform,
    ...checkNumbers({ iceCompleteTimeout }, { iceCompleteTimeout: 5000 }, prefix),
  };
}

module.exports = { readSimplePeer };
