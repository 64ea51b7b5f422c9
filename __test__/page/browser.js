'use strict';
// Starts a browser of the system, and ends it with all that it has made.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe } = require('node:test');
const puppeteer = require('puppeteer-core');

const BROWSERS = {
  chromium: {
    commands: ['chromium', 'chromium-browser', 'google-chrome'],
    browser: 'chrome',
    args: [
      '--no-sandbox',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  },
  firefox: { commands: ['firefox', 'firefox-esr'], browser: 'firefox', args: [] },
};

/** The program of a browser, or undefined where it is not installed. */
function find(name) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  for (const command of BROWSERS[name].commands) {
    const file = folders.map((folder) => path.join(folder, command)).find((file) => fs.existsSync(file));
    if (file !== undefined) return file;
  }
  return undefined;
}

/** A program that runs another one in a network namespace. */
function inside(namespace, program, folder) {
  const file = path.join(folder, 'start.sh');
  fs.writeFileSync(file, `#!/bin/sh\nexec ip netns exec ${namespace} ${program} "$@"\n`, { mode: 0o755 });
  return file;
}

/**
 * Starts it, in a network namespace where one is given. `page(url)` opens a tab; `options` are those of puppeteer's
 * `newPage`.
 */
async function launch(name, { namespace } = {}) {
  const { browser: kind, args } = BROWSERS[name];
  const userDataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-browser-'));
  const program = find(name);
  const browser = await puppeteer.launch({
    browser: kind,
    executablePath: namespace ? inside(namespace, program, userDataDir) : program,
    // Sockets do not reach out of a namespace.
    pipe: namespace !== undefined,
    headless: true,
    userDataDir,
    args,
    timeout: 120_000,
    protocolTimeout: 300_000,
  });
  return {
    browser,
    async page(url, options) {
      const page = await browser.newPage(options);
      page.setDefaultTimeout(120_000);
      page.on('pageerror', (error) => console.log(`${name}: uncaught: ${error.stack ?? error}`));
      await page.goto(url);
      return page;
    },
    async close() {
      await browser.close();
      fs.rmSync(userDataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** The browsers to test with: a missing one is said loudly, and in CI a failure.
 * BROWSER=firefox chooses one. */
function installed() {
  const missing = Object.keys(BROWSERS).filter((name) => find(name) === undefined);
  for (const name of missing) {
    if (process.env.CI) throw new Error(`${name} is not installed`);
    console.log(`\n!!! ${name} is not installed: the page tests do not run there !!!\n`);
  }
  const { BROWSER } = process.env;
  return Object.keys(BROWSERS).filter((name) => !missing.includes(name) && (BROWSER ?? name) === name);
}

/** Runs `suite(name)` for each of them, at the same time: each waits for itself most of the time. */
function sideBySide(suite) {
  describe('browsers', { concurrency: true }, () => {
    // Inside one of them, one test after another: that, too, would be inherited.
    for (const name of installed()) describe(name, { concurrency: 1 }, () => suite(name));
  });
}

module.exports = { launch, installed, sideBySide };
