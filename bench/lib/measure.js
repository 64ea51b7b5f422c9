'use strict';
// Runs works: in each round one contender after the other (A B C, A B C), so that what the machine does besides hits all.

const { obstacle, openNetwork } = require('./network');
const { summary, advantage } = require('./statistics');

// A contender that fails twice in a work has no third try.
const TRIES = 2;

/** Measures works. Resolves with the results and with what was left out, and why. */
async function measure(works, { contenders, scale, rounds, quick }) {
  const results = [];
  const skipped = [];
  const noNetwork = obstacle();
  for (const work of works) {
    if (work.network && noNetwork) {
      skipped.push({ name: work.id, why: noNetwork });
      console.log(`${work.id} is left out: ${noNetwork}`);
      continue;
    }
    const network = work.network && (await openNetwork(work.network));
    try {
      const times = quick && work.once ? 1 : rounds;
      const chosen = contenders[work.kind].filter(({ works }) => !works || works.includes(work.id));
      results.push(await runWork(work, chosen, { ...scale, network }, times));
    } finally {
      network?.close();
    }
  }
  return { results, skipped };
}

async function runWork(work, contenders, context, rounds) {
  const taken = contenders.map((contender) => ({ contender, values: [], failures: [], notes: new Set() }));
  for (let round = 1; round <= rounds; round++) {
    for (const { contender, values, failures, notes } of taken) {
      if (failures.length >= TRIES) continue;
      progress(`${work.id} round ${round} of ${rounds}: ${contender.name}`);
      try {
        const { note, ...numbers } = await work.run(contender, context);
        if (note) notes.add(note);
        values.push(numbers);
      } catch (error) {
        failures.push(error.message);
        progress('');
        console.error(`${work.id} failed with ${contender.name}: ${error.message}\n${error.cause ?? ''}`);
      }
    }
  }
  progress('');
  const { id, title, kind, metrics } = work;
  const figures = {};
  for (const { contender, values, failures, notes } of taken) {
    const of = (metric) => [metric.id, summary(values.map((numbers) => numbers[metric.id]))];
    figures[contender.name] = { ...Object.fromEntries(metrics.map(of)), notes: [...notes], failures };
  }
  return { id, title, kind, rounds, metrics: metrics.map((metric) => compare(metric, contenders, figures)), figures };
}

/** A metric with linkup's advantage over the best rival, and over the revision to compare: 2 is twice as good. */
function compare(metric, contenders, figures) {
  const of = ({ name }) => figures[name][metric.id]?.median;
  const there = contenders.filter((contender) => Number.isFinite(of(contender)));
  const own = there.find(({ name }) => name === 'linkup');
  if (!metric.better || !own) return metric;
  const over = (other) => advantage(of(own), of(other), metric.better);
  const result = { ...metric };
  const before = there.find((contender) => contender.own && contender !== own);
  if (before) Object.assign(result, { revision: before.name, change: over(before) });
  const rivals = there.filter((contender) => !contender.own);
  if (rivals.length > 0) {
    const best = rivals.reduce((one, other) => (over(other) < over(one) ? other : one));
    Object.assign(result, { best: best.name, ratio: over(best) });
  }
  return result;
}

/** One line that is written over, where somebody looks. */
function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (text) process.stderr.write(`${text}\n`);
}

module.exports = { measure };
