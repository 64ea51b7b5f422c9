'use strict';
// Reads the blocks of code in a Markdown file, and which of them are one program. Knows nothing of what they do.
//
// A comment before a block, invisible to the reader, names the file that it is part of, and may add what the reader need not
// see: what is there before, or what the test asks afterwards. All parts of a file, in their order, are one program.
//
//   <!-- run film.mjs with peers.mjs
//   code that only the test has
//   -->
//
// `with` puts the blocks of another file of the same page before: what the reader sees of it. A block of JavaScript without a comment is a program by itself.

const fs = require('node:fs');
const path = require('node:path');
const { root } = require('./helpers');

const COMMENT = /<!-- run (?<name>[\w.-]+)(?: with (?<base>[\w.-]+))?(?:\n(?<hidden>.*?))?\s*-->/;
const FENCE = /^```(?<language>\w*)\n(?<code>.*?)^```$/;
const TOKEN = new RegExp(`${COMMENT.source}|${FENCE.source}`, 'gms');

/**
 * The blocks of a page of the repository, `{language, code, name}` each, and its programs, `{name, code}` each. What a program
 * promises to print stands behind arrows: `// → 1 true`.
 */
function readPage(page) {
  const text = fs.readFileSync(path.join(root, page), 'utf8');
  const blocks = [];
  const programs = new Map();
  const seen = (file) => blocks.flatMap(({ name, code }) => (name === file ? code : [])).join('');
  const add = (name, code) => programs.set(name, { name, code: `${programs.get(name)?.code ?? ''}${code}` });
  // The comment right before, if there is one.
  let open;
  for (const { 0: whole, index, groups } of text.matchAll(TOKEN)) {
    if (groups.name) {
      const { name, base, hidden } = groups;
      if (base) add(name, seen(base));
      if (hidden) add(name, `${hidden}\n`);
      open = { name, end: index + whole.length };
      continue;
    }
    const { language, code } = groups;
    const isNamed = open && text.slice(open.end, index).trim() === '';
    const name = isNamed ? open.name : `block-${blocks.length + 1}.${/^import /m.test(code) ? 'mjs' : 'js'}`;
    blocks.push({ language, code, name });
    if (isNamed || language === 'js') add(name, code);
    open = undefined;
  }
  return { blocks, programs: [...programs.values()] };
}

/** The lines that a program promises to print, in no order. */
const promised = (code) => [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, line]) => line).toSorted();

/** The commands of a block for the shell, a line each, without what is said about them. */
const commands = (code) => code.split('\n').flatMap((line) => line.replace(/\s*#.*/, '').trim() || []);

module.exports = { readPage, promised, commands };
