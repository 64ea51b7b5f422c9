'use strict';
// Writes vectors/identity.json: signals with right and wrong signatures, made from a fixed seed with Node's crypto, and
// signatures that a lax verifier takes, as Node's is. `node scripts/identity-vectors.js`.

const { createHash, createPrivateKey, createPublicKey, sign, verify } = require('node:crypto');
const { writeFileSync } = require('node:fs');
const path = require('node:path');

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;

const pairOf = (text) => {
  const seed = createHash('sha256').update(text).digest();
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  return { privateKey, key: createPublicKey(privateKey).export({ format: 'jwk' }).x };
};
const [alice, mallory] = ['linkup alice', 'linkup mallory'].map(pairOf);

const text64 = (bytes) => Buffer.from(bytes).toString('base64url');
const little = (number) => Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse();
const bigOf = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);

/** What is signed. */
const bytesOf = (from, to, body, purpose = 'linkup signal 1\0') =>
  Buffer.concat([
    Buffer.from(purpose),
    ...[from, to].flatMap((id) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(Buffer.byteLength(id));
      return [length, Buffer.from(id)];
    }),
    Buffer.from(body),
  ]);
const signatureOf = (bytes, { privateKey } = alice) => sign(null, bytes, privateKey);
const close = (body, signature) => `${body.slice(0, -1)},"signature":"${signature}"}`;

const vectors = [];
const add = (name, valid, { from, to, text, key = alice.key }) => vectors.push({ name, from, to, text, key, valid });

const linkup = (more) => ({ v: 1, session: '5f0c', ...more, key: alice.key });
const SDP = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n';
const OFFER = JSON.stringify({ type: 'offer', sdp: SDP, linkup: linkup({ metadata: {} }) });

/** A right one. */
const signed = (from, to, body) => ({ from, to, text: close(body, text64(signatureOf(bytesOf(from, to, body)))) });
const right = signed('alice', 'bob', OFFER);
const signature = signatureOf(bytesOf('alice', 'bob', OFFER));
const R = signature.subarray(0, 32);
const S = bigOf(signature.subarray(32));
const wrong = (name, text, more) => add(name, false, { ...right, text, ...more });
const wrongSignature = (name, bytes, more) => wrong(name, close(OFFER, text64(bytes)), more);

// Right ones.
add('an offer', true, right);
for (const [name, body] of Object.entries({
  'an answer': {
    type: 'answer',
    sdp: SDP,
    linkup: linkup({ offer: text64(createHash('sha256').update(OFFER).digest()) }),
  },
  'an empty sdp': { type: 'offer', sdp: '', linkup: linkup() },
  'a candidate': {
    type: 'candidate',
    candidate: { candidate: 'candidate:1 1 udp 1 ::1 9 typ host' },
    linkup: linkup(),
  },
  'a bye': { type: 'bye', linkup: linkup({ bye: { code: 'ERR_DENIED', reason: 'busy' } }) },
  'metadata in other scripts': {
    type: 'offer',
    sdp: SDP,
    linkup: linkup({ metadata: { ' é日本\u2028': '😀\u0000\ufeff' } }),
  },
  'metadata with the text of a signature': {
    type: 'offer',
    sdp: SDP,
    linkup: linkup({ metadata: `,"signature":"${'A'.repeat(86)}"}` }),
  },
}))
  add(name, true, signed('alice', 'bob', JSON.stringify(body)));
for (const [name, from, to] of [
  ['ids in other scripts', 'ålice 日本', 'böb 😀'],
  ['ids of 256 bytes', 'a'.repeat(256), 'é'.repeat(128)],
  ['ids with zeros and quotes', 'a\u0000"', '"\\'],
  ['one id twice', 'alice', 'alice'],
  ['an id that is a key', `key:${alice.key}`, 'bob'],
])
  add(name, true, signed(from, to, OFFER));
add('the text between the braces is empty', true, {
  ...right,
  text: close('{}', text64(signatureOf(bytesOf('alice', 'bob', '{}')))),
});

// Wrong ids.
wrong('swapped ids', right.text, { from: 'bob', to: 'alice' });
wrong('another sender', right.text, { from: 'mallory' });
wrong('another receiver', right.text, { to: 'mallory' });
wrong('one bit of the sender', right.text, { from: 'alicd' });
wrong('one bit of the receiver', right.text, { to: 'boc' });
wrong('an id that grows by what the other loses', right.text, { from: 'aliceb', to: 'ob' });
add('an id in another form of Unicode', false, { ...signed('\u00e9', 'bob', OFFER), from: 'e\u0301' });

// Wrong texts.
wrong('one bit of the text', right.text.replace('127.0.0.1', '127.0.0.0'));
wrong('a space before', ` ${right.text}`);
wrong('a space within', right.text.replace('{', '{ '));
wrong('a space after', `${right.text} `);
wrong('a line feed after', `${right.text}\n`);
wrong('a space before the last brace', right.text.replace(/}$/, ' }'));
wrong('a space before the signature', right.text.replace('"signature":', '"signature": '));
wrong('another member after the signature', right.text.replace(/}$/, ',"x":1}'));
wrong('the signature as the first member', `{"signature":"${text64(signature)}",${OFFER.slice(1)}`);
wrong('two signatures, the right one last', close(close(OFFER, 'A'.repeat(86)), text64(signature)));
wrong('two signatures, the right one first', close(right.text, 'A'.repeat(86)));
wrong('twice the right one', close(right.text, text64(signature)));
wrong('no signature', OFFER);
wrong('an empty signature', close(OFFER, ''));
wrong('no text', '');
wrong('only a signature', `,"signature":"${text64(signature)}"}`);
wrong('a member of that name in a member', `${right.text}}`);
wrong('the name of the member escaped', right.text.replace('"signature"', '"\\u0073ignature"'));
wrong('the same number in another way', right.text.replace('"v":1', '"v":1.0'));
wrong('the same text in escapes', right.text.replace('offer', '\\u006fffer'));

// Wrong encodings.
const good = text64(signature);
wrong('a signature of 63 bytes', close(OFFER, text64(signature.subarray(0, 63))));
wrong('a signature of 65 bytes', close(OFFER, text64(Buffer.concat([signature, Buffer.alloc(1)]))));
wrong('a signature that lacks its last character', close(OFFER, good.slice(0, 85)));
wrong('half a signature', close(OFFER, good.slice(0, 43)));
wrong('padding', close(OFFER, `${good}==`));
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const next = digits[digits.indexOf(good[85]) + 1];
wrong('bits that mean nothing', close(OFFER, good.slice(0, 85) + next));
wrong('a line feed in the signature', close(OFFER, `${good.slice(0, 43)}\\n${good.slice(43)}`));
wrong('a space in the signature', close(OFFER, `${good.slice(0, 43)} ${good.slice(43)}`));
// A text whose signature has both characters in which the alphabets differ.
for (let n = 0; ; n++) {
  const body = JSON.stringify({ type: 'offer', sdp: `${n}`, linkup: linkup() });
  const encoded = text64(signatureOf(bytesOf('alice', 'bob', body)));
  if (!encoded.includes('-') || !encoded.includes('_')) continue;
  const standard = encoded.replaceAll('-', '+').replaceAll('_', '/');
  add('the alphabet of base64url', true, { ...right, text: close(body, encoded) });
  add('the standard alphabet of base64', false, { ...right, text: close(body, standard) });
  break;
}

// Wrong signatures.
for (const bit of [0, 7, 100, 255, 256, 300, 504, 511]) {
  const bytes = Buffer.from(signature);
  bytes[bit >> 3] ^= 1 << (bit & 7);
  wrongSignature(`bit ${bit} of the signature`, bytes);
}
wrongSignature('S + L', Buffer.concat([R, little(S + L)]));
wrongSignature('S + 8 L', Buffer.concat([R, little(S + 8n * L)]));
wrongSignature('S = L', Buffer.concat([R, little(L)]));
wrongSignature('S = 0', Buffer.concat([R, little(0n)]));
wrongSignature('S = -S', Buffer.concat([R, little(L - S)]));
wrongSignature('R = 0', Buffer.concat([little(0n), little(S)]));
wrongSignature('R = 1', Buffer.concat([little(1n), little(S)]));
wrongSignature('R = 0 and S = 0', Buffer.alloc(64));
wrongSignature('R = 1 and S = 0', Buffer.concat([little(1n), little(0n)]));
wrongSignature('R = p', Buffer.concat([little(P), little(S)]));
wrongSignature('all bits', Buffer.alloc(64, 255));
wrongSignature('another key', signatureOf(bytesOf('alice', 'bob', OFFER), mallory));
wrongSignature('no purpose', signatureOf(bytesOf('alice', 'bob', OFFER, '')));
wrongSignature('another purpose', signatureOf(bytesOf('alice', 'bob', OFFER, 'linkup signal 2\0')));
wrongSignature('only the text', signatureOf(Buffer.from(OFFER)));
wrongSignature('the ids without their lengths', signatureOf(Buffer.from(`linkup signal 1\0alicebob${OFFER}`)));
wrongSignature(
  'the digest of all that',
  signatureOf(
    createHash('sha512')
      .update(bytesOf('alice', 'bob', OFFER))
      .digest(),
  ),
);

// Wrong keys.
wrong('the key of another', right.text, { key: mallory.key });
const raw = Buffer.from(alice.key, 'base64url');
wrong('a key of 31 bytes', right.text, { key: text64(raw.subarray(0, 31)) });
wrong('a key of 33 bytes', right.text, { key: text64(Buffer.concat([raw, Buffer.alloc(1)])) });
wrong('no key', right.text, { key: '' });
wrong('a key with padding', right.text, { key: `${alice.key}=` });
wrong('bits of the key that mean nothing', right.text, {
  key: alice.key.slice(0, 42) + digits[digits.indexOf(alice.key[42]) + 1],
});
const negated = Buffer.from(raw);
negated[31] ^= 128;
wrong('the key negated', right.text, { key: text64(negated) });
wrong('a key that is no point', right.text, { key: text64(little(2n)) });

// Keys of small order: whoever has none signs with them what he wants. All encodings of the eight points, also those that
// are none (RFC 8032 wants y < p, and no sign where x = 0).
const ORDER_8 = 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a';
const Y = [1n, P - 1n, 0n, bigOf(Buffer.from(ORDER_8, 'hex')), P - bigOf(Buffer.from(ORDER_8, 'hex')), P, P + 1n];
const small = Y.flatMap((y) => [little(y), little(y + 2n ** 255n)]);
for (const [n, bytes] of small.entries()) {
  const key = text64(bytes);
  const lax = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' });
  // Which of the points must be R depends on the text.
  for (let metadata = 0; ; metadata++) {
    const body = JSON.stringify({ type: 'offer', sdp: SDP, linkup: { ...linkup({ metadata }), key } });
    const forged = small.slice(0, 10).map((point) => Buffer.concat([point, little(0n)]));
    const taken = forged.find((signature) => verify(null, bytesOf('alice', 'bob', body), lax, signature));
    if (!taken) continue;
    add(`key ${n} of small order`, false, { from: 'alice', to: 'bob', text: close(body, text64(taken)), key });
    break;
  }
}

const lines = vectors.map((vector) => JSON.stringify(vector)).join(',\n');
writeFileSync(path.join(__dirname, '../vectors/identity.json'), `[\n${lines}\n]\n`);
