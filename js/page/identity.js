'use strict';
// Who says a signal: every text that goes to another peer through the broker ends with a signature of the sender's key over
// all of it and both ids (docs/protocol.md, "Signatures"). What follows from a wrong signature is in signaling.js. The same in
// Rust: crates/core/src/identity.rs.

const { utf8 } = require('../message');
const { fromBase64, subtle, toBase64 } = require('./crypto');

const NAME = 'Ed25519';
/** What signatures are made for here, so that none serves for anything else. */
const PURPOSE = 'linkup signal 1\0';
/** How a signed text ends. */
const SIGNED = /,"signature":"([\w-]{85}[AQgw])"}$/;
/** How a private key begins in PKCS #8 (RFC 8410, section 7). */
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

const toText = (bytes) => toBase64(new Uint8Array(bytes)).replace(/\+/g, '-').replace(/\//g, '_');
const toBytes = (text) => fromBase64(text.replace(/-/g, '+').replace(/_/g, '/'));

/** A new key pair, of which nobody can take the private half away. */
async function createIdentity() {
  const { publicKey, privateKey } = await subtle().generateKey(NAME, false, ['sign', 'verify']);
  return { publicKey: toText(await subtle().exportKey('raw', publicKey)), privateKey };
}

/** The key pair of a peer: the one given, or a new one; undefined where there can be none. */
async function keysOf({ publicKey, privateKey }) {
  try {
    if (!publicKey) return await createIdentity();
    if (typeof privateKey !== 'string') return { publicKey, privateKey };
    const bytes = new Uint8Array([...PKCS8, ...toBytes(privateKey)]);
    return { publicKey, privateKey: await subtle().importKey('pkcs8', bytes, NAME, false, ['sign']) };
  } catch {
    // A browser without Ed25519, or a page without https.
  }
}

/** What is signed. */
function signed(from, to, body) {
  const parts = [PURPOSE, from, to, body].map((text) => [...utf8(text)]);
  for (const id of [1, 2]) parts[id].unshift(parts[id].length >> 8, parts[id].length & 255);
  return new Uint8Array(parts.flat());
}

/** `body`, the text of an object, with the signature as its last member. */
async function sign({ privateKey }, from, to, body) {
  const signature = await subtle().sign(NAME, privateKey, signed(from, to, body));
  return `${body.slice(0, -1)},"signature":"${toText(signature)}"}`;
}

/** The signature that proves to a broker that `id`, which is the key, is its owner's. */
async function prove({ privateKey }, challenge, id) {
  return toText(await subtle().sign(NAME, privateKey, utf8(`linkup register 1\0${challenge}\0${id}`)));
}

/** A name for what was said. */
const digest = async (body) => toText(await subtle().digest('SHA-256', utf8(body)));

/** A text without its signature. */
const bodyOf = (text) => text.replace(SIGNED, '}');

/** Whether `key` has signed a text, on its way from one to the other; null where this browser cannot tell. */
async function verify(key, from, to, text) {
  // Half a character has no bytes of its own: it would pass for what takes its place.
  if (/\p{Surrogate}/u.test(from + text)) return false;
  try {
    const [, signature] = SIGNED.exec(text);
    const known = await subtle().importKey('raw', toBytes(key), NAME, false, ['verify']);
    return await subtle().verify(NAME, known, toBytes(signature), signed(from, to, bodyOf(text)));
  } catch ({ name }) {
    return name === 'NotSupportedError' && null;
  }
}

/** The key pair of that name, which the browser keeps for the pages of this origin; made where it is not there. */
async function loadIdentity(name = 'linkup') {
  const fresh = await createIdentity();
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('linkup', 1);
    opening.onerror = () => reject(opening.error);
    opening.onupgradeneeded = () => opening.result.createObjectStore('identities');
    opening.onsuccess = () => {
      const transaction = opening.result.transaction('identities', 'readwrite');
      const store = transaction.objectStore('identities');
      let identity = fresh;
      // Another tab may have been faster: one transaction looks and writes.
      store.get(name).onsuccess = ({ target }) => {
        identity = target.result ?? identity;
        store.put(identity, name);
      };
      transaction.oncomplete = () => {
        opening.result.close();
        resolve(identity);
      };
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    };
  });
}

module.exports = { bodyOf, createIdentity, digest, keysOf, loadIdentity, prove, sign, verify };
