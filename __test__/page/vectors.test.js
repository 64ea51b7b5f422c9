'use strict';
// The frames of vectors/frames.json in the browsers themselves: what decodes, to what, and what is refused. And the signals of
// vectors/identity.json: which of them a browser takes as signed.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const esbuild = require('esbuild');
const { launch, sideBySide } = require('./browser');
const { serve } = require('./server');
const signals = require('../../vectors/identity.json');
const vectors = require('../../vectors/frames.json');

const KINDS = ['ack', 'fin', 'fin-ack', 'binary', 'begin', 'more', 'ping', 'open', 'data', 'end', 'reset', 'credit'];
KINDS.push('bundle');

/** A file of js/ as a script that leaves it in a global. */
async function script(file, globalName) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [path.join(__dirname, '../../js', file)],
    bundle: true,
    write: false,
    format: 'iife',
    globalName,
  });
  return outputFiles[0].text;
}

/** In the page: the kind and the body of each frame as it decodes; null where it is refused. */
function decodeAll(texts) {
  return texts.map((text) => {
    const bytes = Uint8Array.from(text.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    try {
      const [kind, body, a, b] = frame.decodeFrame(bytes);
      return { kind, body: Array.from(body, (byte) => byte.toString(16).padStart(2, '0')).join(''), a, b };
    } catch {
      return null;
    }
  });
}

/** In the page: which are signed with their key. */
function verifyAll(signals) {
  const check = async ({ from, to, text, key }) => keys.KEY.test(key) && (await identity.verify(key, from, to, text));
  return Promise.all(signals.map(check));
}

sideBySide((name) => {
  test(`${name}: ${vectors.length} frames, ${signals.length} signals`, { timeout: 120_000 }, async () => {
    const server = await serve();
    const browser = await launch(name);
    try {
      const page = await browser.page(`${server.url}/`);
      await page.addScriptTag({ content: await script('page/frame.js', 'frame') });
      await page.addScriptTag({ content: await script('page/identity.js', 'identity') });
      await page.addScriptTag({ content: await script('identity.js', 'keys') });
      const verified = await page.evaluate(verifyAll, signals);
      assert.deepEqual(
        signals.filter(({ valid }, i) => valid !== verified[i]).map(({ name }) => name),
        [],
      );
      const decoded = await page.evaluate(
        decodeAll,
        vectors.map(({ hex }) => hex),
      );
      for (const [i, { hex, frame, body = '', received, handed, binary, total }] of vectors.entries()) {
        if (frame === null) {
          assert.equal(decoded[i], null, hex);
          continue;
        }
        assert.equal(KINDS[decoded[i].kind - 1], frame, hex);
        assert.equal(decoded[i].body, body, hex);
        if (frame === 'ack') assert.deepEqual([decoded[i].a, decoded[i].b], [received, handed], hex);
        if (frame === 'begin') assert.deepEqual([decoded[i].a, decoded[i].b], [Number(binary), total], hex);
      }
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
