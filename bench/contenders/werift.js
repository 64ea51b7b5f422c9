'use strict';
// werift: WebRTC in TypeScript.

const { RTCPeerConnection } = require('werift');
const { w3c } = require('./w3c');

// It has its own kind of event for that.
const low = (channel) => new Promise((resolve) => channel.bufferedAmountLow.once(resolve));

module.exports = { prepare: w3c(RTCPeerConnection, low) };
