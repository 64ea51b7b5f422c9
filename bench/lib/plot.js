'use strict';
// Results as a picture: a small bar chart for each metric, in SVG.

const { format } = require('./table');

const COLUMNS = 3;
const WIDTH = 380;
const LABEL = 120;
const BAR = 150;
const LINE = 18;
const HEAD = 44;
const GAP = 20;

// A bar is cut where it is so many times as long as the shortest.
const CUT = 12;

const STYLE = `text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}.hint{fill:#777;font-size:11px}
.own{fill:#2f6fed}.rival{fill:#b9c2d0}.spread{stroke:#555;stroke-width:1.5}.cut{stroke:#fff;stroke-width:4}
@media (prefers-color-scheme:dark){text{fill:#ddd}.hint{fill:#999}.rival{fill:#566073}.spread{stroke:#ccc}.cut{stroke:#111}}`;

const safe = (text) => text.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[sign]);

/** The picture of all metrics that can be compared. */
function plot({ machine, works }) {
  const charts = works.flatMap((work) =>
    work.metrics.filter((metric) => metric.better).map((metric) => chart(work, metric)),
  );
  let y = GAP;
  const drawn = [];
  for (let i = 0; i < charts.length; i += COLUMNS) {
    const row = charts.slice(i, i + COLUMNS);
    drawn.push(
      ...row.map(({ svg }, column) => `<g transform="translate(${GAP + column * (WIDTH + GAP)} ${y})">${svg}</g>`),
    );
    y += Math.max(...row.map(({ height }) => height)) + GAP;
  }
  const width = COLUMNS * (WIDTH + GAP) + GAP;
  const foot = safe(`${machine.cpu}, ${machine.system}, Node.js ${machine.node}, ${machine.date.slice(0, 10)}`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + GAP}" width="${width}" role="img">`,
    `<title>linkup and its rivals</title><style>${STYLE}</style>`,
    ...drawn,
    `<text x="${GAP}" y="${y + 4}" class="hint">${foot}</text>`,
    '</svg>\n',
  ].join('\n');
}

/** One chart: a bar a contender, a thin line from the worst round to the best. A bar that is broken is longer than it can be drawn. */
function chart({ id, title, figures }, metric) {
  const bars = Object.entries(figures).filter(([, figure]) => figure[metric.id]);
  const all = bars.map(([, figure]) => figure[metric.id]);
  const longest = Math.max(...all.map(({ max }) => max), Number.MIN_VALUE);
  // Where less is better, one that is far behind would make all the others dots.
  const top =
    metric.better === 'less' ? Math.min(longest, CUT * Math.min(...all.map(({ median }) => median))) : longest;
  const lengthOf = (value) => Math.min(1, value / top) * BAR;
  const at = (value) => (LABEL + lengthOf(value)).toFixed(1);
  const parts = [
    `<text y="12" class="title">${safe(id === 'broker' ? title : `${id} ${title}`)}</text>`,
    `<text y="28" class="hint">${safe(metric.title)}, ${metric.better} is better</text>`,
  ];
  bars.forEach(([name, figure], i) => {
    const { median, min, max } = figure[metric.id];
    const y = HEAD + i * LINE;
    const length = Math.max(1, lengthOf(median)).toFixed(1);
    const kind = name.startsWith('linkup') ? 'own' : 'rival';
    parts.push(`<text x="${LABEL - 6}" y="${y + 4}" text-anchor="end">${safe(name)}</text>`);
    parts.push(`<rect x="${LABEL}" y="${y - 6}" width="${length}" height="12" class="${kind}"/>`);
    if (median > top) parts.push(`<path d="M${LABEL + BAR - 14} ${y + 8}l8 -16" class="cut"/>`);
    else if (max > min) parts.push(`<path d="M${at(min)} ${y}H${at(max)}" class="spread"/>`);
    parts.push(`<text x="${LABEL + BAR + 8}" y="${y + 4}">${format(median, metric.digits)}</text>`);
  });
  return { svg: parts.join(''), height: HEAD + bars.length * LINE };
}

module.exports = { plot };
