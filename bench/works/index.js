'use strict';
// All works. Each has `id`, `title`, `kind` (of contenders), `network` where it needs one, `once` where one round does
// in a quick run, `metrics`, and `run(contender, context)`, which resolves with a number for each metric and a note.

module.exports = [
  ...require('./connect'),
  ...require('./bulk'),
  ...require('./messages'),
  ...require('./footprint'),
  ...require('./broker'),
].sort((a, b) => (a.id < b.id ? -1 : 1));
