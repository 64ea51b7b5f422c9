'use strict';
// The page's binary frames against the vectors that the Rust tests read, too.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ACK, BINARY, FIN, FIN_ACK, decodeFrame, encodeFrame } = require('../../js/page/frame');
const vectors = require('../../vectors/frames.json');

const KINDS = { ack: ACK, fin: FIN, 'fin-ack': FIN_ACK, binary: BINARY };
const hex = (bytes) => Buffer.from(bytes).toString('hex');

for (const { hex: text, frame, count, message } of vectors) {
  test(`${text || 'no bytes'}: ${frame ?? 'refused'}`, () => {
    const decoded = decodeFrame(new Uint8Array(Buffer.from(text, 'hex')));
    if (frame === null) return assert.equal(decoded, undefined);
    const [kind, body] = decoded;
    assert.equal(kind, KINDS[frame]);
    if (count !== undefined) assert.equal(body, count);
    if (message !== undefined) assert.equal(hex(body), message);
    assert.equal(hex(encodeFrame(kind, body)), text);
  });
}
