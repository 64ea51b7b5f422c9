'use strict';
// What the works share that send as fast as they can.

const { setTimeout: sleep } = require('node:timers/promises');
const { withPair } = require('../lib/pair');

/** The CPU that a process used between two samples, as a share of one core. */
const share = (before, after) => (after.cpu - before.cpu) / 1000 / (after.at - before.at);

/** Floods a pair. Bytes a second that came, microseconds of CPU of both ends a byte, and what is to be noted. */
function flow(kind, contender, { network, limit, warm, window }) {
  return withPair(contender, { network, limit }, async (pair) => {
    await pair.connect();
    const note = await pair.caller.ask('flood', { kind });
    await sleep(warm);
    const [caller, called] = await pair.both('sample');
    await sleep(window);
    const [callerAfter, calledAfter] = await pair.both('sample');
    const rate = ((calledAfter.bytes - called.bytes) / (calledAfter.at - called.at)) * 1000;
    const busy = share(caller, callerAfter) + share(called, calledAfter);
    return { rate, cpu: (busy * 1e6) / rate, note };
  });
}

module.exports = { flow, share };
