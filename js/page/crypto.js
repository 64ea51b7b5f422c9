'use strict';
// WebCrypto, which pages have in secure contexts only, and bytes as the text of which signals are made.

const subtle = () => globalThis.crypto?.subtle;

/** Whether a page can encrypt and sign. */
const hasCrypto = () => Boolean(subtle());

/** Base64 without padding (RFC 4648, section 4). */
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/=+$/, '');
const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

module.exports = { fromBase64, hasCrypto, subtle, toBase64 };
