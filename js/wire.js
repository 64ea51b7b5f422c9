'use strict';
// What the frames of messages and those of streams share: numbers as bytes, and the word for a remote that breaks the rules.

const VIOLATION = new Error('the remote broke the protocol');

/** Throws where the remote does what the protocol does not allow. */
function demand(allowed) {
  if (!allowed) throw VIOLATION;
}

/** The bytes of a number of 32 bits; the array that they go into cuts them. */
const u32 = (number) => [number >>> 24, number >>> 16, number >>> 8, number];

/** The same with 64 bits. */
const u64 = (number) => [...u32(number / 2 ** 32), ...u32(number)];

/** The number of 32 bits that is there. */
const u32At = (bytes, at) => ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

/** The same with 64 bits. */
const u64At = (bytes, at) => u32At(bytes, at) * 2 ** 32 + u32At(bytes, at + 4);

module.exports = { VIOLATION, demand, u32, u64, u32At, u64At };
