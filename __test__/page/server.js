'use strict';
// The HTTP server of the page tests: dist/, a blank page that loads dist/linkup.js, bundles of test files, and brokers
// that a page may have made, stopped and started again.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const esbuild = require('esbuild');
const { createBroker } = require('../../index.js');
const { buildPage } = require('../../scripts/build-page');

const root = path.join(__dirname, '../..');

/** Bundles a test file for a page; `./harness` is ours. */
async function bundle(file) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [path.join(root, file)],
    bundle: true,
    write: false,
    format: 'iife',
    sourcemap: 'inline',
    plugins: [
      {
        name: 'harness',
        setup(build) {
          build.onResolve({ filter: /^\.\/harness$/ }, () => ({ path: path.join(__dirname, 'harness-page.js') }));
        },
      },
    ],
  });
  return outputFiles[0].text;
}

/** Starts it; `broker` is the one that the pages' peers use. Connections go over it only where `relay` says so. */
async function serve({ relay = 0 } = {}) {
  await buildPage();
  const brokers = new Map();
  const begin = async (port) => createBroker({ port, host: 'localhost', limits: { relay } }).ready;
  const broker = await begin(0);

  const blank = (url) => `<!doctype html><meta charset="utf-8"><title>linkup</title>
<script>brokerUrl = ${JSON.stringify(broker.url)};</script>
<script src="/dist/linkup.js"></script>
${[...url.searchParams.getAll('script')].map((file) => `<script src="/bundle/${file}"></script>`).join('\n')}`;

  const manage = async (what, key) => {
    if (what === 'new') {
      const made = await begin(0);
      brokers.set(String(made.port), made);
      return { key: String(made.port), url: made.url };
    }
    if (what === 'stop') await brokers.get(key).close();
    else brokers.set(key, await begin(Number(key)));
    return {};
  };

  const answer = async (request) => {
    const url = new URL(request.url, 'http://localhost');
    const [, folder, ...rest] = url.pathname.split('/');
    if (folder === '') return ['text/html', blank(url)];
    if (folder === 'bundle') return ['text/javascript', await bundle(rest.join('/'))];
    if (folder === 'dist') return ['text/javascript', fs.readFileSync(path.join(root, 'dist', rest.join('/')))];
    if (folder === 'broker') return ['application/json', JSON.stringify(await manage(rest[0], url.search.slice(1)))];
    throw new Error(`no ${url.pathname}`);
  };

  const server = http.createServer((request, response) => {
    answer(request).then(
      ([type, body]) => response.setHeader('content-type', `${type}; charset=utf-8`).end(body),
      (error) => response.writeHead(404).end(String(error)),
    );
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://localhost:${server.address().port}`,
    broker,
    async close() {
      server.closeAllConnections();
      server.close();
      await Promise.allSettled([broker, ...brokers.values()].map((each) => each.close()));
    },
  };
}

module.exports = { serve };
