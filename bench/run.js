// `npm run bench`: measures linkup and its rivals side by side. `npm run bench -- --help` tells the options.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const tools = require('../scripts/tools');
const contendersOf = require('./lib/contenders');
const { buildLoad } = require('./lib/load');
const { machine } = require('./lib/machine');
const { measure } = require('./lib/measure');
const { options } = require('./lib/options');
const { plot } = require('./lib/plot');
const { checkout } = require('./lib/revision');
const { table } = require('./lib/table');
const all = require('./works');

/** The names that are asked for, or all; ends where one is not known. */
function choose(wanted, known, what) {
  const unknown = (wanted ?? []).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    console.error(`no ${what} ${unknown.join(', ')}; there are: ${known.join(', ')}`);
    process.exit(2);
  }
  return (name) => !wanted || wanted.includes(name);
}

/** linkup, the revision to compare, and the rivals; and who is missing. */
function gather(wanted, kinds, compared) {
  const own = wanted('linkup') ? [contendersOf.linkup()] : [];
  if (compared) own.push(compared);
  const contenders = {};
  const missing = [];
  for (const kind of kinds) {
    const found = contendersOf.rivals(kind, wanted);
    contenders[kind] = [...own, ...found.there];
    missing.push(...found.missing);
  }
  for (const { name, why } of missing) console.error(`\n*** ${name} is MISSING from this run: ${why} ***\n`);
  return { contenders, missing };
}

/** Puts the table between the two marks of docs/performance.md. */
function writeDocs(text) {
  const file = path.join(__dirname, '../docs/performance.md');
  const marks = /(<!-- table -->\n)[\s\S]*?(<!-- end of the table -->)/;
  fs.writeFileSync(
    file,
    fs.readFileSync(file, 'utf8').replace(marks, (_, before, after) => `${before}${text}\n${after}`),
  );
}

async function main() {
  const { quick, scale, only, contenders: named, rounds, compare, out, docs, build } = options();
  const rivals = Object.values(contendersOf.RIVALS).flat();
  const isWork = choose(
    only,
    all.map(({ id }) => id),
    'work',
  );
  const wanted = choose(named, ['linkup', ...rivals.map(({ name }) => name)], 'contender');
  const works = all.filter(({ id }) => isWork(id));
  const kinds = [...new Set(works.map(({ kind }) => kind))];

  if (build) {
    tools.install();
    tools.buildAddon();
    if (kinds.includes('server')) buildLoad();
  }
  if (rivals.some(({ name }) => wanted(name))) contendersOf.install();
  const revision = compare && checkout(compare);
  try {
    const { contenders, missing } = gather(wanted, kinds, revision?.contender);
    const about = machine(contendersOf.project);
    const { results, skipped } = await measure(works, { contenders, scale, rounds, quick });
    const versions = Object.fromEntries(
      Object.values(contenders)
        .flat()
        .map(({ name, version }) => [name, version]),
    );
    const report = { machine: about, versions, quick, missing, skipped, works: results };
    const text = table(report);
    console.log(`\n${text}\n`);
    fs.mkdirSync(out, { recursive: true });
    fs.writeFileSync(path.join(out, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`);
    fs.writeFileSync(path.join(out, 'latest.svg'), plot(report));
    if (docs) writeDocs(text);
    if (results.some(({ figures }) => figures.linkup?.failures.length > 0)) process.exitCode = 1;
  } finally {
    revision?.remove();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
