'use strict';
// The kinds of an engine's events, as hub.js reads them. The same in Rust: src/mailbox.rs.

const REGISTERED = 1;
const OFFLINE = 2;
const OPEN = 3;
const JOINED = 4;
const CLOSED = 5;
const SETTLED = 6;
const REQUEST = 7;
const TRANSFORM = 8;
const ERROR = 9;
const PEER_CLOSED = 10;
const TEXT = 11;
const BINARY = 12;
const DRAINED = 13;
const FRAME = 14;
const SENDING = 15;
const RECEIVING = 16;
const RECONNECTING = 17;
const RECONNECTED = 18;
const AUTHORIZE = 19;

module.exports = {
  REGISTERED,
  OFFLINE,
  OPEN,
  JOINED,
  CLOSED,
  SETTLED,
  REQUEST,
  TRANSFORM,
  ERROR,
  PEER_CLOSED,
  TEXT,
  BINARY,
  DRAINED,
  FRAME,
  SENDING,
  RECEIVING,
  RECONNECTING,
  RECONNECTED,
  AUTHORIZE,
};
