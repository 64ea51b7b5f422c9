'use strict';
// What the contract tests stand on. The only file of this folder that knows which linkup is tested: for a page, and for the
// network of linkup/test, another one takes its place, with the same names.

const { after, before } = require('node:test');
const linkup = require('../../index.js');
const { harnessOf } = require('./common');

const startBroker = (port = 0) => linkup.createBroker({ port, host: 'localhost' }).ready;
let broker;

before(async () => {
  broker = await startBroker();
});

after(() => broker.close());

module.exports = harnessOf({
  linkup,
  brokerUrl: () => broker.url,
  startBroker,
  run: (body) => body(),
  setTimeout,
  clearTimeout,
  performance,
});
