// What CI prints of `node --test`: failures whole, what tests have measured, and a line for each file. A log that is cut in
// its middle must not hide what failed.
'use strict';

const path = require('node:path');
const { inspect } = require('node:util');

const FIGURE = /\d (ms|s|bytes|[KM]i?B)\b/;

module.exports = async function* report(source) {
  const files = new Map();
  for await (const { type, data } of source) {
    if (type === 'test:fail' && data.details.error?.failureType !== 'subtestsFailed') {
      const error = data.details.error?.cause ?? data.details.error;
      yield `✖ ${path.basename(data.file ?? '')}: ${data.name} (${Math.round(data.details.duration_ms)} ms)\n`;
      yield `${inspect(error).slice(0, 4000)}\n`;
    }
    if (type === 'test:stdout' && FIGURE.test(data.message)) yield `${data.message.slice(0, 200).trimEnd()}\n`;
    if (type === 'test:pass' || type === 'test:fail') {
      const file = files.get(data.file) ?? { passed: 0, failed: 0, ms: 0 };
      if (data.details.type !== 'suite') file[type === 'test:pass' ? 'passed' : 'failed'] += 1;
      if (data.nesting === 0) file.ms += data.details.duration_ms;
      files.set(data.file, file);
    }
  }
  for (const [file, { passed, failed, ms }] of files)
    yield `${failed ? '✖' : '✔'} ${path.basename(file ?? '')}: ${passed} passed, ${failed} failed, ${(ms / 1000).toFixed(1)} s\n`;
};
