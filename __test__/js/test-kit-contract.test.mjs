// The contract tests in the network of linkup/test: what holds for peers in Node.js and in pages holds there, too.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after } from 'node:test';

const require = createRequire(import.meta.url);
const { buildTest } = require('../../scripts/build-test');
const { harnessOf } = require('../contract/common');

/** What these say of much data takes seconds, and the network here has no part in it. */
const VOLUME = /^(messages|messages-large|iteration)\./;

await buildTest();
const { createNetwork } = require('linkup/test');
const net = createNetwork({ latency: 1, seed: 7, broker: { urls: ['ws://broker.test'] } });
after(() => net.close());

const { broker, linkup, timers } = net;
const exports = harnessOf({
  linkup,
  brokerUrl: () => broker.url,
  // There is one.
  async startBroker() {
    broker.start();
    return { url: broker.url, port: 1, close: async () => broker.stop() };
  },
  run(body) {
    broker.start();
    return net.run(body);
  },
  ...timers,
});

// In place of the harness that the files ask for.
const harness = require.resolve('../contract/harness');
require.cache[harness] = { id: harness, filename: harness, loaded: true, exports };
const folder = path.dirname(harness);
for (const file of fs.readdirSync(folder))
  if (/\.test\.js$/.test(file) && !VOLUME.test(file)) require(path.join(folder, file));
