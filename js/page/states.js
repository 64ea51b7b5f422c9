'use strict';
// States of a link, in the order of its life. Ours: the first three; theirs: ASKING and ANSWERING.

const WAITING = 0;
const CALLING = 1;
/** Answered; the application thinks about the login of who answered. */
const JUDGING = 1.5;
const CONNECTING = 2;
const ASKING = 3;
const ANSWERING = 4;
const OPEN = 5;
/** The transport is silent or gone: another one is to take its place. How far that is, is the link's phase. */
const RESUMING = 6;
/** Closed here; the transport delivers the rest. */
const CLOSING = 7;
/** Closed by the remote; what it sent before is still on its way to us. */
const LEAVING = 8;
const ENDED = 9;

// What the remote is, as far as its signals have told. A plain simple-peer client never gets a bye.

const UNKNOWN = 0;
const PLAIN = 1;
const LINKUP = 2;

module.exports = {
  WAITING,
  CALLING,
  JUDGING,
  CONNECTING,
  ASKING,
  ANSWERING,
  OPEN,
  RESUMING,
  CLOSING,
  LEAVING,
  ENDED,
  UNKNOWN,
  PLAIN,
  LINKUP,
};
