'use strict';
// Results as tables in Markdown, which can be read in a terminal, too.

/** A number with so many digits after the point, and commas between thousands. */
function format(value, digits) {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** The median, and how far the rounds are apart. */
function cell(figure, { digits }) {
  if (!figure) return '';
  const text = format(figure.median, digits);
  if (figure.rounds.length === 1) return text;
  return `${text} (${format(figure.min, digits)}–${format(figure.max, digits)})`;
}

/** One table for each kind of contender, and below what is to be known about the figures. */
function table({ machine, versions, missing, skipped, works }) {
  const parts = [];
  for (const kind of ['pair', 'server']) {
    const chosen = works.filter((work) => work.kind === kind);
    if (chosen.length > 0) parts.push(grid(rowsOf(chosen)));
  }
  const notes = [
    `${machine.cpu}, ${machine.memory}, ${machine.system}, Node.js ${machine.node}, load ${machine.load} at the start; ` +
      `${machine.date.slice(0, 10)}, commit ${machine.commit}.`,
    `Versions: ${Object.entries(versions)
      .map(([name, version]) => (version.startsWith(name) ? version : `${name} ${version}`))
      .join('; ')}.`,
    ...missing.map(({ name, why }) => `MISSING: ${name}: ${why}.`),
    ...skipped.map(({ name, why }) => `LEFT OUT: ${name}: ${why}.`),
    ...works.flatMap(remarks),
  ];
  parts.push(notes.map((note) => `- ${note}`).join('\n'));
  return parts.join('\n\n');
}

function rowsOf(works) {
  const names = [...new Set(works.flatMap(({ figures }) => Object.keys(figures)))];
  const revision = works.flatMap(({ metrics }) => metrics.map((metric) => metric.revision)).find(Boolean);
  const ratios = [
    ...(revision ? [[`ratio to ${revision}`, ({ change }) => change !== undefined && format(change, 2)]] : []),
    ['ratio to the best rival', ({ ratio, best }) => ratio !== undefined && `${format(ratio, 2)} (${best})`],
  ];
  const rows = [['work', ...names, ...ratios.map(([head]) => head)]];
  for (const { id, title, metrics, figures } of works) {
    for (const metric of metrics) {
      const cells = names.map((name) => cell(figures[name]?.[metric.id], metric));
      cells.push(...ratios.map(([, text]) => text(metric) || ''));
      rows.push([`${id} ${title}: ${metric.title}`.replace('broker broker', 'broker'), ...cells]);
    }
  }
  return rows;
}

/** Notes and failures of a work, the same of several contenders once. */
function remarks({ id, figures }) {
  const said = new Map();
  for (const [name, { notes, failures }] of Object.entries(figures)) {
    for (const text of [...notes, ...failures.map((failure) => `FAILED: ${failure.split('\n')[0]}`)]) {
      said.set(text, [...(said.get(text) ?? []), name]);
    }
  }
  return [...said].map(([text, names]) => `${id}, ${names.join(', ')}: ${text}.`);
}

function grid(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) =>
    `| ${row.map((text, column) => (column ? text.padStart(widths[column]) : text.padEnd(widths[column]))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [line(rows[0]), rule, ...rows.slice(1).map(line)].join('\n');
}

module.exports = { table, format };
