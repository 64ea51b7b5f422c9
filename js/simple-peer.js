'use strict';
// `options.simplePeer`: the options of the library simple-peer that mean something here, and a warning about the rest.

const { check, checkNumbers, checkType, checkTypes, checkWhole } = require('./check');

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

/** The largest id of a channel. */
const MOST = 65534;

/** What of it the engine and the peer need; `config` holds `iceServers` and `iceTransportPolicy` where given. */
function readSimplePeer(given = {}, warn) {
  const prefix = 'options.simplePeer';
  checkType(given, 'object', prefix);
  const ignored = Object.keys(given).filter((name) => given[name] !== undefined && !Object.hasOwn(TYPES, name));
  if (ignored.length > 0) warn(`${prefix}: ${ignored.join(', ')} are ignored`);
  checkTypes(given, TYPES, prefix);
  const { trickle = true, config = {}, channelName, channelConfig, sdpTransform, iceCompleteTimeout } = given;
  return {
    trickle,
    config,
    channelName,
    channelConfig: readChannel(channelConfig, `${prefix}.channelConfig`),
    sdpTransform,
    ...checkNumbers({ iceCompleteTimeout }, { iceCompleteTimeout: 5000 }, prefix),
  };
}

/** A checked copy of an RTCDataChannelInit. */
function readChannel(given, name) {
  if (!given) return;
  checkTypes(given, { ordered: 'boolean', negotiated: 'boolean', protocol: 'string' }, name);
  const { negotiated, maxPacketLifeTime, maxRetransmits, id } = given;
  for (const [key, value] of Object.entries({ maxPacketLifeTime, maxRetransmits, id }))
    if (value !== undefined) checkWhole(value, MOST, `${name}.${key}`, 0);
  const both = maxPacketLifeTime !== undefined && maxRetransmits !== undefined;
  check(!both, name, 'has maxPacketLifeTime or maxRetransmits, not both');
  check(!negotiated || id !== undefined, `${name}.id`, 'is needed where the channel is negotiated');
  return { ...given };
}

module.exports = { readSimplePeer };
