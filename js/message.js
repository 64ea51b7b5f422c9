'use strict';
// A message as what travels: JSON text, or bytes. JSON is made here and read in link.js and nowhere else, so that all
// runtimes agree bit for bit.

const { LinkupError } = require('./errors');

/**
 * What travels of a message: the bytes of a binary one, which are still the application's, or JSON text. Throws
 * `ERR_INVALID_MESSAGE` for what neither can carry.
 */
function encode(message, peerId) {
  let cause;
  try {
    const data = bytesOf(message) ?? JSON.stringify(message);
    if (data !== undefined) return data;
  } catch (error) {
    cause = error;
  }
  const why = cause?.message ?? `${typeof message} is nothing that JSON has`;
  throw new LinkupError('ERR_INVALID_MESSAGE', `the message cannot be sent: ${why}`, { peerId, cause });
}

/** The bytes of a buffer or of any view of one, not copied; undefined for everything else. */
function bytesOf(value) {
  if (typeof value !== 'object') return;
  const isView = ArrayBuffer.isView(value);
  // Not `instanceof`: buffers of another realm are none of this one's, and not every page has SharedArrayBuffer.
  const tag = (isView ? value.buffer : value)?.[Symbol.toStringTag];
  if (!isView && !/^(Shared)?ArrayBuffer$/.test(tag)) return;
  const bytes = isView ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
  // Other threads may be writing to shared memory: engines get bytes that stay as they are.
  return tag.includes('Shared') ? new Uint8Array(bytes) : bytes;
}

/** Throws `ERR_MESSAGE_TOO_LARGE` where what travels has more bytes than `limit`. */
function checkSize(data, limit, peerId) {
  // One unit of UTF-16 is at most three bytes of UTF-8: most messages need no counting.
  if (data.length * 3 <= limit) return;
  const size = sizeOf(data);
  if (size > limit) throw tooLarge(size, limit, peerId);
}

/**
 * Whether a message of `size` bytes may wait behind `waiting` others. Who has waited for room may send any, also one as large
 * as the whole buffer. The same in Rust: crates/driver/src/link.rs.
 */
function hasRoom(waiting, size, { bufferedBytes, highWaterMark }) {
  return waiting + size <= bufferedBytes || (size > highWaterMark && waiting <= highWaterMark);
}

function tooLarge(size, limit, peerId) {
  const message = `the message has ${size} bytes, the limit is ${limit}`;
  return new LinkupError('ERR_MESSAGE_TOO_LARGE', message, { peerId, details: { size, limit } });
}

/** How many bytes of a message travel. */
function sizeOf(data) {
  return typeof data === 'string' ? utf8Length(data) : data.length;
}

/** The bytes of a text. */
const utf8 = (text) => new TextEncoder().encode(text);

/** How many bytes a well-formed string has as UTF-8. */
function utf8Length(text) {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // The two halves of a surrogate pair have four bytes together.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

module.exports = { encode, bytesOf, checkSize, hasRoom, sizeOf, tooLarge, utf8, utf8Length };
