'use strict';
// `--port 0 --host 127.0.0.1`, as linkup's broker has them.

const { parseArgs } = require('node:util');

const { values } = parseArgs({ options: { port: { type: 'string' }, host: { type: 'string' } } });

module.exports = { port: Number(values.port), host: values.host };
