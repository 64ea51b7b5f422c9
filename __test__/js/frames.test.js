'use strict';
// The page's binary frames against the vectors that the Rust tests read, too.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { BEGIN, BINARY, MAX_BODY, MORE, OPEN, decodeFrame, encodeFrame } = require('../../js/page/frame');
const { u32, u64 } = require('../../js/wire');
const vectors = require('../../vectors/frames.json');

const KINDS = [undefined, 'ack', 'fin', 'fin-ack', 'binary', 'begin', 'more', 'ping'];
KINDS.push('open', 'data', 'end', 'reset', 'credit', 'bundle');

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));

/** The frame that a vector describes, as it travels. */
function encode(kind, { received, handed, binary, total, stream, body = '' }) {
  if (received !== undefined) return encodeFrame([kind, ...u64(received), ...u64(handed)]);
  if (binary !== undefined) return encodeFrame([kind, Number(binary), ...u32(total)], unhex(body));
  if (stream !== undefined) return encodeFrame([kind, ...u32(stream)], unhex(body));
  return encodeFrame([kind], unhex(body));
}

for (const { hex: text, frame, ...about } of vectors) {
  test(`${text || 'no bytes'}: ${frame ?? 'refused'}`, () => {
    // As a part of something larger, as Buffers are.
    const bytes = unhex(`ff${text}`).subarray(1);
    if (frame === null) return assert.throws(() => decodeFrame(bytes), /broke the protocol/);
    const [kind, body, a, b] = decodeFrame(bytes);
    assert.equal(KINDS[kind], frame);
    if (frame === 'ack') assert.deepEqual([a, b], [about.received, about.handed]);
    if (frame === 'begin') assert.deepEqual([a, b], [Number(about.binary), about.total]);
    assert.equal(hex(body), about.body ?? '');
    assert.equal(hex(encode(kind, about)), text);
  });
}

test('no frame has more than 65,536 bytes after its header', () => {
  for (const header of [[BINARY], [MORE], [BEGIN, 1, ...u32(2 ** 32 - 1)], [OPEN, ...u32(7)], [9, ...u32(7)]]) {
    const most = encodeFrame(header, new Uint8Array(MAX_BODY));
    assert.equal(decodeFrame(most)[1].length, MAX_BODY);
    assert.throws(() => decodeFrame(encodeFrame(header, new Uint8Array(MAX_BODY + 1))));
  }
});
