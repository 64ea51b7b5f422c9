'use strict';
// A message as text, and back. JSON is made and read here and nowhere else, so that all runtimes agree bit for bit.

const { LinkupError } = require('./errors');

/** The JSON text of a message. Throws `ERR_INVALID_MESSAGE` for what JSON cannot carry. */
function encode(message, peerId) {
  if (ArrayBuffer.isView(message) || message instanceof ArrayBuffer) {
    throw new LinkupError('ERR_UNSUPPORTED', 'binary messages come in a later version of linkup', { peerId });
  }
  let cause;
  try {
    const text = JSON.stringify(message);
    if (text !== undefined) return text;
  } catch (error) {
    cause = error;
  }
  const why = cause?.message ?? `${typeof message} is nothing that JSON has`;
  throw new LinkupError('ERR_INVALID_MESSAGE', `the message cannot be sent: ${why}`, { peerId, cause });
}

/** Throws `ERR_MESSAGE_TOO_LARGE` where the text has more bytes than `limit`. */
function checkSize(text, limit, peerId) {
  // One unit of UTF-16 is at most three bytes of UTF-8: most messages need no counting.
  if (text.length * 3 <= limit) return;
  const size = utf8Length(text);
  if (size > limit) {
    const message = `the message has ${size} bytes, the limit is ${limit}`;
    throw new LinkupError('ERR_MESSAGE_TOO_LARGE', message, { peerId, details: { size, limit } });
  }
}

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

module.exports = { encode, checkSize, utf8Length };
