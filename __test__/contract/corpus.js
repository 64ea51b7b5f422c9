'use strict';
// What messages are made of in the tests: JSON of all shapes, and bytes. In every runtime the same.

const MIB = 1024 * 1024;
/** Bytes of binary messages: around where they begin to go in pieces, and long ones. */
const SIZES = [0, 1, 65535, 65536, 65537, MIB, 5 * MIB];

/** Bytes of which no two stretches are alike. */
function bytesOf(length, seed = 1) {
  const bytes = new Uint8Array(length);
  for (let i = 0, x = seed; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

function deep(levels) {
  let value = 'bottom';
  for (let i = 0; i < levels; i++) value = i % 2 ? [value] : { value };
  return value;
}

const holes = [1];
holes[3] = 2;

const CORPUS = [
  null,
  0,
  -0,
  '',
  1e308,
  -1e-308,
  '\ud800',
  'a\udfff\ud800b',
  { '\udead': ['\ud83d'] },
  JSON.parse('{"__proto__": {"a": 1}, "constructor": {"prototype": null}}'),
  deep(1000),
  holes,
  [undefined, () => {}, Symbol('s'), Number.NaN, Number.POSITIVE_INFINITY],
  { date: new Date(86400000), undefined, nested: { toJSON: (key) => `as ${key}` } },
  new Date(Number.NaN),
  { toJSON: () => undefined, ok: 1 },
  Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true }, hidden: { value: 3 } }),
  new Uint8Array(3).subarray(1).length,
  { bytes: new Uint8Array([1, 2]) },
  'x'.repeat(5 * MIB),
  'é€😀\ud800'.repeat(500_000),
  Array.from({ length: 200_000 }, (_, i) => ({ i, text: `${i}` })),
].filter((value) => JSON.stringify(value) !== undefined);

module.exports = { CORPUS, MIB, SIZES, bytesOf };
