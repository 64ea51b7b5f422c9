// `npm start`: installs, builds, runs the broker on port 5000 with the demo page, and a peer `echo` that answers everything.
'use strict';

const path = require('node:path');
const { buildDemo } = require('./build-demo');
const { root, must, install, buildAddon, openInBrowser } = require('./tools');

install();
buildAddon();
must(process.execPath, [path.join(__dirname, 'build-page.js')]);
buildDemo();

const { createBroker } = require('../index.js');
const { startEcho } = require('../examples/echo.js');

const port = Number(process.env.PORT || 5000);
const broker = createBroker({ port, files: path.join(root, 'dist') });

broker.ready.then(
  () => {
    const echo = startEcho(broker.url);
    const page = broker.url.replace('ws:', 'http:');
    console.log(`
The linkup broker listens on ${broker.url}, and a peer named echo answers whatever it is sent.

Try it in a browser:

  ${page}

or in two other terminals of this folder:

  node examples/chat.js alice bob
  node examples/chat.js bob alice

or talk to the echo:

  node examples/chat.js carol echo

Your own programs need no more than require('linkup').createPeer('some-id'). Ctrl+C ends the broker.
`);
    if (process.stdout.isTTY && !process.env.CI) openInBrowser(page);
    for (const signal of ['SIGTERM', 'SIGINT']) {
      process.once(signal, async () => {
        await echo.close().catch(() => {});
        await broker.close();
      });
    }
  },
  (error) => {
    console.error(`\n${error.message}\nIs another broker running? Set PORT to use another port: PORT=5001 npm start`);
    process.exitCode = 1;
  },
);
