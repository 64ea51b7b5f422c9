'use strict';
// What is sent: bulk is 64 KiB, small is a JSON text of 100 bytes.

const SIZES = { bulk: 65_536, small: 100 };

const bulk = Buffer.alloc(SIZES.bulk, 'linkup');
const fields = { type: 'move', n: 1000001, x: 12.5, y: -7.25, ok: true };
const rest = SIZES.small - JSON.stringify({ ...fields, name: '' }).length;
const small = JSON.stringify({ ...fields, name: 'a'.repeat(rest) });

module.exports = { SIZES, bulk, small };
