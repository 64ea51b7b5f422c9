'use strict';
// The command line of `npm run bench`.

const path = require('node:path');
const { parseArgs } = require('node:util');

const HELP = `Measures linkup and its rivals side by side.

  npm run bench -- [options]

  --quick              short runs: all works within 3 minutes, noisier
  --only W2,W3         these works: W1 W1d W2 W3 W4 W5 W6 W7 W8 broker
  --contenders A,B     these contenders: linkup node-datachannel wrtc simple-peer werift peerjs, servers: peer ws
  --rounds N           how often each is measured; 3 as a rule
  --compare REV        measures linkup as it was at a git revision, too
  --out DIR            where latest.json and latest.svg go; bench/results as a rule
  --docs               puts the table into docs/performance.md, too
  --no-build           takes the addon as it is`;

const list = (text) =>
  text
    ?.split(',')
    .map((name) => name.trim())
    .filter(Boolean);

/**
 * How long and how much: ms of warm-up and of measuring, `ramp` and `long` instead of them where a network delays or
 * loses, `connecting` and `connects` of W1, `pairs` and ms `idle` of W5, `sockets` of the broker. `limit` bounds one run of one contender, in ms.
 */
const SCALES = {
  quick: {
    ...{ warm: 250, window: 500, ramp: 700, long: 1500, connecting: 1200, connects: 10 },
    ...{ pairs: 50, idle: 700, sockets: 500, limit: 20_000 },
  },
  full: {
    ...{ warm: 1000, window: 5000, ramp: 3000, long: 5000, connecting: 10_000, connects: 100 },
    ...{ pairs: 200, idle: 10_000, sockets: 4000, limit: 120_000 },
  },
};

/** The options as given; ends the process for `--help` and for what it does not know. */
function options(args = process.argv.slice(2)) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        only: { type: 'string' },
        contenders: { type: 'string' },
        rounds: { type: 'string', default: '3' },
        compare: { type: 'string' },
        out: { type: 'string', default: path.join(__dirname, '../results') },
        docs: { type: 'boolean', default: false },
        'no-build': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    console.error(`${error.message}\n\n${HELP}`);
    process.exit(2);
  }
  if (values.help) {
    console.log(HELP);
    process.exit(0);
  }
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    console.error(`--rounds is a whole number from 1, not ${values.rounds}`);
    process.exit(2);
  }
  return {
    quick: values.quick,
    scale: SCALES[values.quick ? 'quick' : 'full'],
    only: list(values.only),
    contenders: list(values.contenders),
    rounds,
    compare: values.compare,
    out: path.resolve(values.out),
    docs: values.docs,
    build: !values['no-build'],
  };
}

module.exports = { options };
