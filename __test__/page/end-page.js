'use strict';
// The end of a pair that is in a page: loaded by the driver, see ends.js.

const { End } = require('./end');
const { using } = require('./using-page');

const { linkup, brokerUrl } = globalThis;

globalThis.begin = async (id, options) => {
  globalThis.end = new End({ linkup, brokerUrl, using }, id, options);
  await end.ready();
};
