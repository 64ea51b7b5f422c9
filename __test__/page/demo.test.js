'use strict';
// The demo page, as somebody uses it: two tabs, a tab and the echo peer, by mouse and by keyboard, on a desk and on a
// phone, dark and light. LINKUP_SCREENSHOTS=1 renews the pictures in docs/.

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, afterEach, before, describe, test } = require('node:test');
const { createBroker } = require('../../index.js');
const { startEcho } = require('../../examples/echo.js');
const { buildDemo } = require('../../scripts/build-demo');
const { buildPage } = require('../../scripts/build-page');
const { launch, sideBySide } = require('./browser');

const root = path.join(__dirname, '../..');
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

test('the page is small and loads nothing from elsewhere', () => {
  const files = fs.readdirSync(path.join(root, 'demo')).map((name) => fs.readFileSync(path.join(root, 'demo', name)));
  const size = files.reduce((sum, file) => sum + file.length, 0);
  assert.ok(size < 30 * 1024, `${size} bytes`);
  assert.doesNotMatch(files.join(''), /https?:\/\/|innerHTML/);
});

sideBySide((name) => {
  describe(`the demo in ${name}`, { timeout: 300_000 }, () => {
    let folder;
    let broker;
    let echo;
    let browser;
    let url;
    const chromium = name === 'chromium';
    const open = new Set();

    const serve = (port) => createBroker({ port, host: 'localhost', files: path.join(folder, 'dist') }).ready;

    before(async () => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-demo-'));
      await buildPage();
      buildDemo(path.join(folder, 'dist'));
      fs.copyFileSync(path.join(root, 'dist/linkup.js'), path.join(folder, 'dist/linkup.js'));
      broker = await serve(0);
      url = broker.url.replace('ws:', 'http:');
      echo = startEcho(broker.url);
      browser = await launch(name);
    });
    after(async () => {
      await browser.close();
      await echo.close();
      await broker.close();
      fs.rmSync(folder, { recursive: true, force: true });
    });
    afterEach(async () => {
      for (const page of open) await leave(page);
    });

    async function leave(page) {
      open.delete(page);
      await page.browserContext().close();
    }

    /** A tab that is online as `id`. */
    async function tab(id, { hash = '', viewport = DESK, scheme = 'light', ...rest } = {}) {
      // A context has a window of its own: a tab behind another one draws nothing and hears no clicks.
      const context = await browser.browser.createBrowserContext();
      const page = await context.newPage({ type: 'window' });
      open.add(page);
      page.setDefaultTimeout(20_000);
      page.problems = [];
      page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
      await page.setViewport(viewport);
      if (chromium) await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
      await page.evaluateOnNewDocument((id) => id && sessionStorage.setItem('linkup-demo-id', id), id);
      await page.goto(`${url}/${hash}`);
      if (!rest.waits) await state(page, `Online as ${id ?? ''}`);
      return page;
    }

    const state = (page, text) =>
      page.waitForFunction((text) => document.querySelector('#state').textContent.startsWith(text), {}, text);
    const sees = (page, text, where) =>
      page.waitForFunction(
        (text, where) => {
          const element = document.querySelector(where);
          return element?.checkVisibility() && element.textContent.includes(text);
        },
        {},
        text,
        where,
      );
    const focused = (page, id) => page.waitForFunction((id) => document.activeElement.id === id, {}, id);
    const shot = async (page, file) => {
      if (process.env.LINKUP_SCREENSHOTS) await page.screenshot({ path: path.join(root, 'docs', file) });
    };

    async function connect(page, id) {
      await page.type('#other', id);
      await page.click('#call button');
      await sees(page, 'open', '#talk-state');
    }

    async function write(page, text) {
      await page.type('#text', text);
      await page.click('#say [type=submit]');
    }

    /** Files of the test, chosen as with the dialog. */
    async function choose(page, files) {
      const paths = Object.entries(files).map(([name, content]) => {
        const file = path.join(folder, name);
        fs.writeFileSync(file, content);
        return file;
      });
      await (await page.$('#files')).uploadFile(...paths);
    }

    test('two tabs chat, and see how they are connected', async () => {
      const [anna, ben] = [await tab('anna'), await tab('ben')];
      await connect(anna, 'ben');
      await focused(anna, 'text');
      await write(anna, 'hello, Ben');
      await sees(ben, 'hello, Ben', '.log');
      await sees(ben, 'anna', '#talks');
      await write(ben, '<b>hi</b>');
      await sees(anna, '<b>hi</b>', '.log');
      await anna.waitForFunction(() => document.querySelector('#path').textContent === 'direct');
      await anna.waitForFunction(() => /^(< )?\d+ ms$/.test(document.querySelector('#trip').textContent));
      await anna.waitForFunction(() => /\d/.test(document.querySelector('#up').textContent));
      await anna.click('#end');
      await sees(anna, 'closed', '#talk-state');
      await sees(ben, 'Disconnected.', '.log');
      await anna.click('#end'); // again
      await sees(ben, 'open', '#talk-state');
      await write(ben, 'there you are');
      await sees(anna, 'there you are', '.log');
      assert.deepEqual([...anna.problems, ...ben.problems], []);
    });

    test('several conversations at once', async () => {
      const [hub, one, two] = [await tab('hub'), await tab('one'), await tab('two')];
      await connect(one, 'hub');
      await connect(two, 'hub');
      await sees(hub, 'two', '#talks');
      await write(two, 'from two');
      await sees(hub, '1', '#talks li:nth-child(2) .badge');
      assert.match(await hub.title(), /^\(1\)/);
      await sees(hub, 'two: 1 new', '#said');
      await hub.click('#talks li:nth-child(2) button');
      await sees(hub, 'from two', '.log:not([hidden])');
      assert.doesNotMatch(await hub.title(), /\(/);
      await write(hub, 'for two only');
      await sees(two, 'for two only', '.log');
      assert.ok(!(await one.$eval('#logs', (logs) => logs.textContent)).includes('two'));
      await leave(two);
      await sees(hub, 'closed', '#talk-state');
      await hub.click('#forget');
      await sees(hub, 'Talk from browser to browser', '#welcome');
    });

    test('with the echo peer of npm start: messages and a file of 1 MiB and a half', async () => {
      const page = await tab('carl');
      await page.click('#echo');
      await sees(page, 'open', '#talk-state');
      await write(page, 'anybody?');
      await page.waitForFunction(() => document.querySelectorAll('.log .entry:not(.mine, .note)').length === 1);
      await choose(page, { 'there-and-back.bin': Buffer.alloc(1_500_000, 'x') });
      await sees(page, 'Delivered', '.mine .transfer');
      await sees(page, 'Received', '.entry:not(.mine) .transfer');
    });

    test('a link connects, also another one later', async () => {
      await Promise.all([tab('dora'), tab('ä b/#')]);
      const page = await tab('emil', { hash: '#dora' });
      await sees(page, 'dora', '#name');
      await page.evaluate((id) => {
        location.hash = encodeURIComponent(id);
      }, 'ä b/#');
      await sees(page, 'ä b/#', '#name');
      await sees(page, 'open', '#talk-state');
    });

    test('the link to copy is the one that connects', async () => {
      const page = await tab('fay ü');
      const copied = await page.evaluate(async () => {
        let text;
        navigator.clipboard.writeText = async (link) => {
          text = link;
        };
        document.querySelector('#copy').click();
        await Promise.resolve();
        return text;
      });
      assert.equal(copied, `${url}/#fay%20%C3%BC`);
      assert.equal(await page.$eval('#second', (link) => link.href), copied);
      await sees(page, 'Copied', '#copy');
    });

    test('files arrive whole, in order, with a name to save them by', async () => {
      const [from, to] = [await tab('gina'), await tab('hugo')];
      await to.evaluate(() => {
        globalThis.blobs = [];
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => {
          blobs.push(blob);
          return make.call(URL, blob);
        };
      });
      await connect(from, 'hugo');
      const files = { 'one.bin': randomBytes(1024 * 1024), 'empty.txt': '', 'three.html': '<script>alert(1)</script>' };
      await choose(from, files);
      await to.waitForFunction(() => document.querySelectorAll('.transfer a').length === 3);
      const names = await to.$$eval('.transfer a', (links) => links.map((link) => link.download));
      assert.deepEqual(names, Object.keys(files));
      await from.waitForFunction(() => document.querySelector('.log').textContent.match(/Delivered/g)?.length === 3);

      const hash = (data) => createHash('sha256').update(data).digest('hex');
      // Where the test cannot choose the folder of downloads, what the links lead to.
      if (!chromium) {
        const sums = await to.evaluate(() =>
          Promise.all(
            blobs.map(async (blob) => {
              const sum = await crypto.subtle.digest('SHA-256', await blob.arrayBuffer());
              return [...new Uint8Array(sum)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
            }),
          ),
        );
        return assert.deepEqual(sums, Object.values(files).map(hash));
      }
      const downloads = path.join(folder, 'downloads');
      const session = await browser.browser.target().createCDPSession();
      const browserContextId = to.browserContext().id;
      const behaviour = { browserContextId, behavior: 'allow', downloadPath: downloads, eventsEnabled: true };
      await session.send('Browser.setDownloadBehavior', behaviour);
      for (const [i, [file, content]] of Object.entries(files).entries()) {
        const saved = new Promise((resolve) => {
          session.on('Browser.downloadProgress', ({ state }) => state === 'completed' && resolve());
        });
        await to.evaluate((i) => document.querySelectorAll('.transfer a')[i].click(), i);
        await saved;
        session.removeAllListeners('Browser.downloadProgress');
        assert.equal(hash(fs.readFileSync(path.join(downloads, file))), hash(content), file);
      }
    });

    test('a file is dropped on the conversation, and beside it, where nothing comes of it', async () => {
      const [from, to] = [await tab('nina'), await tab('otto')];
      await connect(from, 'otto');
      const drop = (where, file) =>
        from.evaluate(
          (where, file) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(['dropped'], file));
            const target = document.querySelector(where);
            const events = ['dragover', 'drop'].map((type) => {
              const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
              target.dispatchEvent(event);
              return event;
            });
            return events.every((event) => event.defaultPrevented);
          },
          where,
          file,
        );
      assert.ok(await drop('header', 'beside.txt'), 'the browser would open it');
      assert.ok(await drop('.log', 'inside.txt'));
      await sees(to, 'Received', '.transfer');
      assert.deepEqual(await to.$$eval('.transfer a', (links) => links.map((link) => link.download)), ['inside.txt']);
    });

    test('either side stops a file', async () => {
      const [from, to] = [await tab('ida'), await tab('jack')];
      await connect(from, 'jack');
      const big = Buffer.alloc(200_000_000);
      await choose(from, { 'big-1.bin': big, 'big-2.bin': big, 'small.txt': 'small' });
      const nth = (page, n, text) =>
        page.waitForFunction(
          (n, text) => document.querySelectorAll('.transfer')[n]?.textContent.includes(text),
          {},
          n,
          text,
        );
      await nth(to, 0, '%');
      await to.evaluate(() => document.querySelectorAll('.transfer button')[0].click());
      await nth(from, 0, 'Cancelled by jack');
      await nth(to, 1, '%');
      await from.evaluate(() => document.querySelectorAll('.transfer button')[0].click());
      await nth(to, 1, 'Cancelled by ida');
      await nth(to, 2, 'Received');
    });

    for (const who of ['sender', 'receiver']) {
      for (const how of ['disconnects', 'is gone']) {
        test(`a file that is cut off, since its ${who} ${how}, is incomplete for both`, async () => {
          const [from, to] = [await tab('lily'), await tab('milo')];
          await connect(from, 'milo');
          // The page does it itself, with the first bytes: however fast it is, there are others to come.
          await (who === 'sender' ? from : to).evaluate((disconnects) => {
            const observer = new MutationObserver(() => {
              if (!(document.querySelector('progress')?.value > 0)) return;
              observer.disconnect();
              if (disconnects) document.querySelector('#end').click();
              else location.replace('about:blank');
            });
            observer.observe(document.querySelector('#logs'), { childList: true, subtree: true });
          }, how === 'disconnects');
          await choose(from, { 'big.bin': Buffer.alloc(100_000_000) });
          const both = how === 'disconnects';
          if (both || who === 'receiver') await sees(from, 'Incomplete: disconnected', '.transfer');
          if (both || who === 'sender') await sees(to, 'Incomplete: disconnected', '.transfer');
          for (const page of [from, to]) {
            assert.equal(await page.$('.transfer :is(progress, button, a)'), null);
            assert.deepEqual([await page.$('#notice p'), page.problems], [null, []]);
          }
        });
      }
    }

    test('an id that nobody has, and one’s own', async () => {
      const page = await tab('kim');
      await page.type('#other', 'nobody');
      await page.click('#call button');
      await sees(page, 'ERR_PEER_NOT_FOUND', '#notice');
      await sees(page, 'Check the spelling', '#notice');
      await focused(page, 'other');
      assert.equal(await page.$eval('#notice', (notice) => notice.getAttribute('role')), 'alert');
      assert.equal(await page.$$eval('#talks li', (items) => items.length), 0);
      await shot(page, 'demo-error.png');
      await page.type('#other', 'kim');
      await page.click('#call button');
      await sees(page, 'ERR_CONNECT_SELF', '#notice');
      await page.click('#notice button');
      assert.equal(await page.$eval('#notice', (notice) => notice.textContent), '');
      await page.$eval('#other', (input) => {
        input.value = '';
      });
      await connect(page, 'echo');
      assert.equal(await page.$eval('#other', (input) => input.value), '');
    });

    test('asked before anyone connects', async () => {
      const [lea, max] = [await tab('lea'), await tab('max')];
      await lea.click('#ask');
      const ask = async (answer) => {
        await max.$eval('#other', (input) => {
          input.value = 'lea';
        });
        await max.click('#call button');
        await lea.waitForSelector(`#requests button[aria-label="${answer} max"]`);
        await lea.click(`#requests button[aria-label="${answer} max"]`);
      };
      await ask('Deny');
      await sees(max, 'ERR_DENIED', '#notice');
      await ask('Accept');
      await sees(max, 'open', '#talk-state');
      await sees(lea, 'max', '#name');
    });

    test('an id is remembered, changed, and never shared by two tabs', async () => {
      const first = await tab();
      const id = await first.$eval('#id', (input) => input.value);
      assert.match(id, /^[a-z]+-\d\d$/);
      await first.reload();
      await state(first, `Online as ${id}`);
      const twin = await tab(id, { waits: true });
      await twin.waitForFunction(
        (id) =>
          document.querySelector('#state').textContent.startsWith('Online as') &&
          document.querySelector('#id').value !== id,
        {},
        id,
      );
      await first.$eval('#id', (input) => {
        input.value = '';
      });
      await first.type('#id', 'nora\n');
      await state(first, 'Online as nora');
      await twin.$eval('#id', (input) => {
        input.value = '';
      });
      await twin.type('#id', 'nora\n');
      await sees(twin, 'ERR_ID_TAKEN', '#notice');
      await leave(first);
      await state(twin, 'Online as nora');
      assert.equal(await twin.$eval('#notice', (notice) => notice.textContent), '');
    });

    test('without the broker, conversations go on', async () => {
      const [olga, paul] = [await tab('olga'), await tab('paul')];
      await connect(olga, 'paul');
      const { port } = broker;
      await broker.close();
      await state(olga, 'Offline');
      await write(olga, 'still there?');
      await sees(paul, 'still there?', '.log');
      broker = await serve(port);
      await state(olga, 'Online as olga');
    });

    test('by keyboard alone', async () => {
      const page = await tab('quin');
      const press = async (...keys) => {
        for (const key of keys) await page.keyboard.press(key);
      };
      const order = [];
      for (let i = 0; i < 5; i++) {
        await press('Tab');
        order.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
      }
      assert.deepEqual(order, ['id', 'Change', 'copy', 'ask', 'other']);
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.equal(outline, 'solid');
      await page.keyboard.type('echo');
      await press('Enter');
      await focused(page, 'text');
      await page.keyboard.type('no mouse');
      await press('Enter');
      await page.waitForFunction(() => document.querySelectorAll('.log .entry:not(.mine, .note)').length === 1);
      await page.keyboard.down('Shift');
      await press('Tab');
      await focused(page, 'files');
      await press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'log');
      await page.keyboard.up('Shift');
      await page.keyboard.down('Shift');
      await press('Tab');
      await page.keyboard.up('Shift');
      await focused(page, 'end');
      await press('Enter');
      await sees(page, 'closed', '#talk-state');
      await focused(page, 'end');
    });

    /** What a screen reader and weak eyes need: names, labels, contrast. The list of what is wrong. */
    const audit = (page) =>
      page.evaluate(() => {
        const wrong = [];
        const shown = (element) => element.checkVisibility({ visibilityProperty: true });
        const name = (element) =>
          element.ariaLabel ||
          [...(element.labels ?? [])].map((label) => label.textContent).join('') ||
          element.textContent;
        for (const element of document.querySelectorAll('input, button, a, progress')) {
          if (shown(element) && !name(element)?.trim()) wrong.push(`no name: ${element.outerHTML}`);
          const { width, height } = element.getBoundingClientRect();
          if (shown(element) && element.matches('input, button') && Math.min(width, height) < 18)
            wrong.push(`tiny: ${element.outerHTML}`);
        }
        const levels = [...document.querySelectorAll('h1, h2, h3')].map((heading) => heading.tagName).join();
        if (!/^H1(,H2)*$/.test(levels)) wrong.push(levels);
        const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
        const rgba = (color) => {
          canvas.clearRect(0, 0, 1, 1);
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data];
        };
        const luminance = (color) => {
          const [r, g, b] = rgba(color).map((value) =>
            value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
          );
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const background = (element) => {
          for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (rgba(color)[3] === 255) return color;
          }
          return 'white';
        };
        for (const element of document.querySelectorAll('body *')) {
          const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          if (!(text || element.matches('input')) || !shown(element) || element.closest(':disabled')) continue;
          const [a, b] = [luminance(getComputedStyle(element).color), luminance(background(element))];
          const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)}: ${element.outerHTML}`);
        }
        const { scrollWidth, clientWidth } = document.documentElement;
        if (scrollWidth > clientWidth) wrong.push(`scrolls sideways: ${scrollWidth} > ${clientWidth}`);
        for (const element of document.querySelectorAll('body *')) {
          if (!shown(element) || element.closest('.sr, .file')) continue;
          const { right, left } = element.getBoundingClientRect();
          if (right > clientWidth + 1 || left < -1) wrong.push(`sticks out: ${element.outerHTML}`);
        }
        return wrong;
      });

    // Firefox can be told neither to be dark nor to be a phone; a narrow window it can be.
    for (const scheme of chromium ? ['light', 'dark'] : ['light']) {
      for (const [device, viewport] of Object.entries({ desk: DESK, phone: PHONE })) {
        test(`on a ${device}, ${scheme}`, async () => {
          const me = 'robin';
          const page = await tab(me, { viewport, scheme });
          assert.deepEqual(await audit(page), []);
          const light = await page.evaluate(
            () => getComputedStyle(document.documentElement).backgroundColor === 'rgb(244, 246, 248)',
          );
          assert.equal(light, scheme === 'light');

          const [sam, tess] = [await tab('sam'), await tab('tess')];
          await page.type('#other', 'sam\n');
          await sees(page, 'open', '#talk-state');
          await write(page, 'Hello Sam! No server in between?');
          await sees(sam, 'Hello Sam', '.log');
          await write(sam, 'None. The broker has only introduced us.');
          await choose(sam, { 'holiday-pictures-of-the-last-three-summers.zip': randomBytes(2_400_000) });
          await sees(page, 'Received', '.transfer');
          await connect(tess, me);
          await write(tess, 'Got a minute?');
          await page.waitForFunction(() => /\d/.test(document.querySelector('#up').textContent));
          assert.deepEqual(await audit(page), []);
          if (device === 'phone') {
            if (scheme === 'light') await shot(page, 'demo-phone.png');
          } else await shot(page, scheme === 'light' ? 'demo-desk.png' : 'demo-connected.png');
          const long = await tab('y'.repeat(100), { hash: `#${me}` });
          await write(long, 'x'.repeat(300));
          await page.evaluate(() => document.querySelector('#talks li:last-child button').click());
          await sees(page, 'xxx', '.log:not([hidden])');
          assert.deepEqual(await audit(page), []);
          await page.evaluate(() => document.querySelector('#talks button').click());

          if (device === 'phone') await page.click('#back');
          await sees(page, '1', '.badge:not(:empty)');
          await page.type('#other', 'nobody\n');
          await sees(page, 'ERR_PEER_NOT_FOUND', '#notice');
          assert.deepEqual(await audit(page), []);
          assert.deepEqual(page.problems, []);
        });
      }
    }
  });
});
