'use strict';
// The laboratory itself: each kind of router does what its name says, or the other tests would mean nothing.

const assert = require('node:assert/strict');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { BROKER, BROKER6, KINDS, Lab, OTHER, obstacle } = require('./lab');

const skip = obstacle();
const probe = path.join(__dirname, 'probe.js');

/** What a peer behind each finds out with probe.js. */
const open = { udp: true, tcp: true, https: true, v6: false };
const blocked = { udp: false, tcp: false, https: false, v6: false };
const [independent, dependent] = ['endpoint-independent', 'port-dependent'];
const expected = {
  none: { ...open, mapping: independent, filtering: independent },
  fullcone: { ...open, mapping: independent, filtering: independent },
  portrestricted: { ...open, mapping: independent, filtering: dependent },
  symmetric: { ...open, mapping: dependent, filtering: dependent },
  noudp: { ...blocked, tcp: true, https: true },
  tcp443: { ...blocked, https: true },
  v6only: { ...blocked, v6: true },
};

let lab;
before(async () => {
  if (skip) return;
  lab = await Lab.open();
  await lab.run('pub', [probe, 'serve', BROKER, OTHER]).line('serving');
});
after(() => lab?.close());

for (const side of ['A', 'B']) {
  test(`the routers of side ${side} do what their names say`, { skip, timeout: 60_000 }, async () => {
    assert.deepEqual(Object.keys(KINDS), Object.keys(expected));
    for (const [kind, does] of Object.entries(expected)) {
      lab.route(side, kind);
      const { output } = await lab.run(`peer${side}`, [probe, 'ask', BROKER, OTHER, BROKER6]).exited;
      assert.deepEqual(JSON.parse(output), does, kind);
    }
  });
}
