'use strict';
// Chance, as text.

/** A version 4 UUID (RFC 9562), as the specification has it for requests. `crypto.randomUUID` asks for https. */
function uuid() {
  return 'xxxxxxxx-xxxx-4xxx-axxx-xxxxxxxxxxxx'.replace(/x/g, () => (byte() & 15).toString(16));
}

// React Native has no `crypto` of its own.
const byte = () => globalThis.crypto?.getRandomValues(new Uint8Array(1))[0] ?? Math.random() * 256;

module.exports = { uuid };
