'use strict';
// The site that `npm run docs` builds, and all Markdown files as they stand in the repository: every link and anchor leads
// somewhere. The site is readable on a phone, dark and light, and asks nobody else for anything.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { createBroker } = require('../../index.js');
const { buildDocs, PAGES } = require('../../scripts/build-docs');
const { installed, launch } = require('../page/browser');
const { root } = require('./helpers');

let folder;
let site;
let LinkChecker;
before(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-site-'));
  site = path.join(folder, 'site');
  [{ LinkChecker }] = await Promise.all([import('linkinator'), buildDocs(site)]);
});
// Where it could not be made, the error of that is what counts.
after(() => folder && fs.rmSync(folder, { recursive: true }));

/** The links of `files` below `from` that lead nowhere, as 'file: link'; of links to other machines, those that are no URLs. */
async function broken(from, files) {
  const found = [];
  for (const file of files) {
    // A page at a time: of a page that it has seen before it does not look for further anchors.
    const checker = new LinkChecker();
    const { links } = await checker.check({
      path: file,
      serverRoot: from,
      markdown: file.endsWith('.md'),
      // A Markdown file may link to a folder, as it is shown where the repository is.
      directoryListing: file.endsWith('.md'),
      checkFragments: true,
      timeout: 20_000,
      linksToSkip: async (link) => new URL(link).hostname !== 'localhost' || new URL(link).port === '5000',
    });
    assert.ok(links.length > 0, file);
    for (const { url, state } of links) {
      if (state === 'BROKEN' || !URL.canParse(url, 'http://localhost')) found.push(`${file}: ${url}`);
    }
  }
  return found;
}

const pages = (from) =>
  fs.readdirSync(from, { recursive: true }).filter((name) => name.endsWith('.html') && !name.startsWith('media'));

/** The Markdown files that are ours. */
function texts() {
  const { stdout } = spawnSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' });
  return stdout
    .trim()
    .split('\n')
    .filter((name) => !name.startsWith('vendor/'));
}

test('a page with links that lead nowhere is found out', async () => {
  const made = path.join(folder, 'broken');
  fs.mkdirSync(path.join(made, 'folder'), { recursive: true });
  const links = ['b.md#here', 'b.md', '#top', 'folder/', 'https://example.org'];
  const dead = ['b.md#nowhere', 'c.md', '#nowhere', 'nowhere.png', 'http://exa mple'];
  const link = (to) => `[x](<${to}>)\n`;
  fs.writeFileSync(path.join(made, 'a.md'), `# Top\n\n${[...links, ...dead].map(link).join('')}\n![x](nowhere.svg)\n`);
  fs.writeFileSync(path.join(made, 'b.md'), '# Here\n\n[a](a.md#top)\n');
  const anchor = (to) => `<a href="${to}">x</a>\n`;
  fs.writeFileSync(path.join(made, 'a.html'), ['b.html#here', 'b.html#nowhere', 'c.html'].map(anchor).join(''));
  fs.writeFileSync(path.join(made, 'b.html'), `<p id="here">${anchor('a.html')}`);
  const found = await broken(made, ['a.md', 'b.md', 'a.html', 'b.html']);
  assert.deepEqual(found.toSorted(), [
    'a.html: b.html#nowhere',
    'a.html: c.html',
    'a.md: a.md#nowhere',
    'a.md: b.md#nowhere',
    'a.md: c.md',
    'a.md: http://exa%20mple',
    'a.md: nowhere.png',
    'a.md: nowhere.svg',
  ]);
});

test('every link of the site leads somewhere', async () => {
  const all = pages(site);
  for (const name of Object.keys(PAGES)) assert.ok(all.includes(path.join('documents', `${name}.html`)), name);
  for (const name of ['modules/linkup', 'modules/linkup_oidc', 'classes/linkup.Peer', 'functions/linkup.createPeer'])
    assert.ok(all.includes(`${name}.html`), name);
  assert.deepEqual(await broken(site, all), []);
});

test('every link of the Markdown files leads somewhere', async () => {
  const all = texts().filter((file) => /\]\(|https?:/.test(fs.readFileSync(path.join(root, file), 'utf8')));
  assert.ok(all.length >= 10, all.join(', '));
  assert.deepEqual(await broken(root, all), []);
});

const skip = !installed().includes('chromium') && 'chromium is not installed';

test('on a phone and on a desk, dark and light, and nobody else is asked', { skip, timeout: 120_000 }, async (t) => {
  const broker = await createBroker({ port: 0, host: 'localhost', files: site }).ready;
  const browser = await launch('chromium');
  t.after(async () => {
    await browser.close();
    await broker.close();
  });
  const here = broker.url.replace('ws:', 'http:');
  const page = await browser.page('about:blank');
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).origin));
  const colours = new Set();
  for (const [width, scheme] of [
    [360, 'light'],
    [1280, 'dark'],
  ]) {
    await page.setViewport({ width, height: 740 });
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    for (const name of ['index', 'documents/Guide', 'documents/Performance', 'classes/linkup.Connection']) {
      await page.goto(`${here}/${name}.html`);
      // The menu is there, of all pages and what is imported.
      await page.waitForFunction(
        (names) => {
          const menu = [...document.querySelectorAll('.tsd-navigation a')].map((link) => link.textContent);
          return names.every((name) => menu.includes(name));
        },
        {},
        [...Object.keys(PAGES), 'linkup'],
      );
      const seen = await page.evaluate(() => ({
        wide: document.documentElement.scrollWidth - innerWidth,
        pictures: [...document.images].filter((image) => !(image.complete && image.naturalWidth)).length,
        colour: getComputedStyle(document.body).backgroundColor,
      }));
      assert.deepEqual([seen.wide, seen.pictures], [0, 0], `${name} ${width}`);
      colours.add(seen.colour);
    }
  }
  assert.equal(colours.size, 2);
  assert.deepEqual([...new Set(asked)], [here]);
});
