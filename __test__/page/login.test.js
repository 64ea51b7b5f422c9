'use strict';
// The example with a login button, at a real OpenID provider: a page logs in, and a Node.js peer lets in one e-mail address.

const assert = require('node:assert/strict');
const { after, before, describe, test } = require('node:test');
const { createBroker } = require('../../index.js');
const { buildOidc } = require('../../scripts/build-oidc');
const { buildPage } = require('../../scripts/build-page');
const { startProvider } = require('../js/provider');
const { node, root, within } = require('../node/helpers');
const { launch, sideBySide } = require('./browser');

let broker;
let provider;
let desk;
let address;
let heard = 0;
before(async () => {
  await Promise.all([buildPage(), buildOidc()]);
  broker = await createBroker({ port: 0, host: 'localhost', files: root }).ready;
  address = `${broker.url.replace('ws:', 'http:')}/examples/login/`;
  provider = await startProvider({ redirectUri: address });
  const { issuer: ISSUER, clientId: CLIENT_ID } = provider;
  const env = { LINKUP_BROKER_URL: broker.url, ISSUER, CLIENT_ID, EMAIL: 'alice@example.org' };
  desk = node(['examples/login/desk.js'], { env });
});
after(async () => {
  await desk?.kill();
  await provider?.close();
  await broker?.close();
});

sideBySide((name) => {
  describe(name, { timeout: 120_000 }, () => {
    let browser;
    before(async () => {
      browser = await launch(name);
    });
    after(() => browser?.close());

    /** What the page says after its user has pressed the button. */
    async function visit(account) {
      // The provider has these users.
      provider.authorizationUrl({ account: 'alice', email: 'alice@example.org' });
      provider.authorizationUrl({ account: 'mallory', email: 'mallory@example.org' });
      const { issuer, clientId } = provider;
      // The provider remembers whom a browser belongs to.
      const context = await browser.browser.createBrowserContext();
      const page = await context.newPage();
      await page.goto(`${address}?${new URLSearchParams({ issuer, clientId, hint: account })}`);
      await page.evaluate(() => {
        document.querySelector('#login').click();
      });
      const said = () => document.querySelector('#status')?.textContent || null;
      const handle = await within(page.waitForFunction(said), 30_000, 'a word of the page');
      const text = await handle.jsonValue();
      await context.close();
      return text;
    }

    test('alice is let in, and known by her address', async () => {
      assert.equal(await visit('alice'), 'desk says: welcome, alice@example.org');
      const from = desk.lines.indexOf('alice@example.org says: hello', heard);
      assert.ok(from >= 0, desk.output);
      heard = from + 1;
    });

    test('mallory, whom the provider knows as well, is not', async () => {
      assert.match(await visit('mallory'), /^ERR_DENIED: .*only for members$/);
    });
  });
});
