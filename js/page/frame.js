'use strict';
// The binary frames between two linkup peers, beside the text frames: how they are written and read. Which of them makes
// sense when is not known here. The same in Rust: crates/proto/src/frame.rs; both read vectors/frames.json in their tests.

const { demand, u32At, u64At } = require('../wire');

/** What has arrived: two numbers. */
const ACK = 1;
/** The sender has sent its last data frame. */
const FIN = 2;
/** The receiver of a FIN has handed over everything before it. */
const FIN_ACK = 3;
/** A binary message. */
const BINARY = 4;
/** The first piece of a message. */
const BEGIN = 5;
/** The next piece of that message. */
const MORE = 6;
/** Asks for an ACK. */
const PING = 7;
/** From here on: frames of streams. Only DATA must have a body. */
const OPEN = 8;
const DATA = 9;
/** Several small messages: each behind two bytes that say how long it is and, in the highest bit, whether it is bytes. */
const BUNDLE = 13;

/** Bytes after a frame's header, at most. */
const MAX_BODY = 65536;
/** What a message frame costs of the receiver's window, besides its body. */
const FRAME_COST = 64;
/** Bytes of the longest header, BEGIN's. */
const MAX_HEADER = 6;
/** Bytes of each kind's header; nothing is as long as that of the kind 0. */
const HEADERS = [1e9, 17, 1, 1, 1, MAX_HEADER, 1, 1, 5, 5, 5, 5, 5, 1];

/** A frame as it travels: the bytes of its header, and what follows. */
function encodeFrame(header, body = []) {
  const bytes = new Uint8Array(header.length + body.length);
  bytes.set(header);
  bytes.set(body, header.length);
  return bytes;
}

/**
 * Reads a frame into `[kind, body, a, b]`: of an ACK the two numbers are `a` and `b`, of BEGIN the type and the total.
 * Throws where it is of no known kind or of the wrong length.
 */
function decodeFrame(bytes) {
  const kind = bytes[0];
  const body = bytes.subarray(HEADERS[kind]);
  const { length } = body;
  // Nothing compares with an unknown kind's header.
  demand(bytes.length >= HEADERS[kind] && length <= (kind < BINARY || kind === PING ? 0 : MAX_BODY));
  demand(length > 0 || (kind !== BEGIN && kind !== MORE && kind !== DATA && kind !== BUNDLE));
  if (kind > ACK && kind !== BEGIN) return [kind, body];
  if (kind === ACK) return [kind, body, u64At(bytes, 1), u64At(bytes, 9)];
  const total = u32At(bytes, 2);
  demand(bytes[1] < 2 && length < total);
  return [kind, body, bytes[1], total];
}

module.exports = {
  ACK,
  FIN,
  FIN_ACK,
  BINARY,
  BEGIN,
  MORE,
  PING,
  OPEN,
  BUNDLE,
  FRAME_COST,
  MAX_BODY,
  MAX_HEADER,
  encodeFrame,
  decodeFrame,
};
