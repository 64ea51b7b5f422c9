'use strict';
// A peer in the laboratory: `node peer.js ID OPTIONS [BROWSER]`; with a browser, it is a page there. Does what the lines of its standard input say, and says as lines
// `WHAT {JSON}` what happens; ends with its standard input.
//
//   connect ID    connects and asks for an answer: `answered {path, ms, …}`, or `failed {code}`
//   relayed ID    waits until the statistics say that a relay is between: `relayed {}`
//   flood ID [MS] sends a number each MS ms, 5 by default: `flooding {}`; the other side says `flooded {}` when they come
//   stop ID       sends the last number: `stopped {count}`; the other side says `complete {count}`
//   alive ID      sends a message, which arrives in its turn: `alive {at}`
//   path ID PATH  waits until the connection goes that way: `path {}`
//   close ID      closes the connection: `closed {}`
//
// A connection that is interrupted says `reconnecting {at}` and `reconnected {at, path}`.

const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const linkup = require('../..');
const { launch } = require('../page/browser');
const { commandsOf } = require('./commands');

const root = path.join(__dirname, '../..');
const [id, text, name] = process.argv.slice(2);
const options = JSON.parse(text);
const say = (what, about = {}) => console.log(`${what} ${JSON.stringify(about)}`);

let browser;

/** The same commands, carried out in a page. */
async function inPage() {
  browser = await launch(name);
  const page = await browser.page('about:blank');
  for (const file of ['dist/linkup.js', '__test__/nat/commands.js']) {
    await page.evaluate(fs.readFileSync(path.join(root, file), 'utf8'));
  }
  await page.exposeFunction('say', say);
  await page.evaluate(
    (...args) => {
      globalThis.commands = commandsOf(linkup, ...args, say);
    },
    id,
    options,
  );
  const run = (command, ...args) => page.evaluate(async (command, args) => commands[command](...args), command, args);
  // As a promise's value it must not look like one itself.
  const get = (_, command) => (command === 'then' ? undefined : (...args) => run(command, ...args));
  return new Proxy({}, { get });
}

async function main() {
  const commands = name ? await inPage() : commandsOf(linkup, id, options, say);
  readline
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
      const [command, ...args] = line.split(' ');
      Promise.resolve(commands[command](...args)).catch(({ code, message }) =>
        say('failed', { command, code, message }),
      );
    })
    .on('close', async () => {
      await browser?.close();
      process.exit();
    });
}

main();
