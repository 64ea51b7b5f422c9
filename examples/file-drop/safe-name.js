'use strict';
// The name of a file that a stranger has given, made into one that is harmless on every system: no folder, no hidden file,
// no device of Windows, nothing that shows as something else than it is. Touches no disk.

const path = require('node:path');

/** Bytes of UTF-8. File systems take 255, and receive.js adds a number. */
const MAX_BYTES = 200;
/** A longer one is no extension. */
const MAX_EXTENSION = 16;
/** What Windows opens as devices, whatever the extension. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

/** `../../.bashrc` becomes `bashrc`. */
function safeName(given) {
  const [last] = given.split(/[/\\]/).slice(-1);
  // Control characters, those that turn the direction of text, halves of characters; and what Windows forbids.
  const name = last.replace(/[\p{C}\u2028\u2029<>:"|?*]/gu, '_').replace(/^[.\s]+|[.\s]+$/g, '');
  const short = shorten(DEVICE.test(name) ? `_${name}` : name);
  return short || 'file';
}

/** At most MAX_BYTES of it; the extension stays. */
function shorten(name) {
  const { name: stem, ext } = path.parse(name);
  const [start, end] = ext.length > MAX_EXTENSION ? [name, ''] : [stem, ext];
  const bytes = Buffer.from(start).subarray(0, MAX_BYTES - Buffer.byteLength(end));
  // Perhaps the first half of a character is what is left at the end.
  return (bytes.toString().replace(/\uFFFD$/, '') + end).replace(/[.\s]+$/, '');
}

module.exports = { safeName };
