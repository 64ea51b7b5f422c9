'use strict';
// Chance, as text.

/** 128 random bits as hexadecimal digits. */
function randomHex() {
  const bytes = new Uint8Array(16);
  // React Native has no `crypto` of its own.
  if (globalThis.crypto === undefined) for (let i = 0; i < 16; i++) bytes[i] = Math.random() * 256;
  else crypto.getRandomValues(bytes);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A version 4 UUID (RFC 9562), as the specification has it for requests. `crypto.randomUUID` asks for https. */
function uuid() {
  return randomHex().replace(/(.{8})(.{4}).(.{3}).(.{3})/, '$1-$2-4$3-a$4-');
}

module.exports = { randomHex, uuid };
