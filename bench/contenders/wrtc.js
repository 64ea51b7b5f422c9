'use strict';
// @roamhq/wrtc: Google's libwebrtc.

const { RTCPeerConnection } = require('@roamhq/wrtc');
const { LOW, poll } = require('./shared');
const { w3c } = require('./w3c');

// It has `bufferedAmount`, but not the event.
const low = (channel) => poll(() => channel.bufferedAmount <= LOW);

module.exports = { prepare: w3c(RTCPeerConnection, low) };
