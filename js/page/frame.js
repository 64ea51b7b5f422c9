'use strict';
// The binary frames between two linkup peers, beside the text frames that are the messages. The same in Rust:
// crates/proto/src/frame.rs; both read vectors/frames.json in their tests.

/** How many messages the receiver has handed to its application since the start. */
const ACK = 1;
/** The sender has sent its last message. */
const FIN = 2;
/** The receiver of a FIN has handed over everything before it. */
const FIN_ACK = 3;
/** A binary message. */
const BINARY = 4;

const ACK_BYTES = 9;

/** A frame as it travels: `body` is an ACK's count or a binary message. */
function encodeFrame(kind, body) {
  if (kind === BINARY) {
    const bytes = new Uint8Array(1 + body.length);
    bytes[0] = BINARY;
    bytes.set(body, 1);
    return bytes;
  }
  const bytes = new Uint8Array(kind === ACK ? ACK_BYTES : 1);
  bytes[0] = kind;
  if (kind === ACK) new DataView(bytes.buffer).setBigUint64(1, BigInt(body));
  return bytes;
}

/** Reads a frame into `[kind, body]`; undefined where it is of no known kind or of the wrong length. */
function decodeFrame(bytes) {
  const [kind] = bytes;
  if (kind === BINARY) return [kind, bytes.subarray(1)];
  if (kind === ACK && bytes.length === ACK_BYTES) {
    return [kind, Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(1))];
  }
  return (kind === FIN || kind === FIN_ACK) && bytes.length === 1 ? [kind] : undefined;
}

module.exports = { ACK, FIN, FIN_ACK, BINARY, encodeFrame, decodeFrame };
