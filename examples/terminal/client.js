// node examples/terminal/client.js - shows your key, for the host; followed by the host's id and perhaps a command, it runs a shell there
'use strict';

const { randomUUID } = require('node:crypto');
const os = require('node:os');
const path = require('node:path');
const { pipeline } = require('node:stream/promises');
const { createPeer, loadIdentity } = require('../..');

/** What ssh ends with where it is not the command that has failed. */
const FAILED = 255;

/** Runs a command, or a shell, on the host: its exit code. */
async function run(connection, command) {
  const { columns = 80, rows = 24 } = process.stdout;
  const ended = new Promise((resolve, reject) => {
    connection.on('message', resolve);
    connection.on('close', ({ reason }) => reject(new Error(reason || 'the host is gone')));
  });
  const errors = new Promise((resolve, reject) => {
    connection.on('stream', (stream) => pipeline(stream, process.stderr, { end: false }).then(resolve, reject));
  });
  const stream = connection.createStream('shell', { command, columns, rows });
  process.stdin.pipe(stream);
  const [{ code, signal }] = await Promise.all([ended, pipeline(stream, process.stdout, { end: false }), errors]);
  return code ?? 128 + os.constants.signals[signal];
}

async function main([host, ...command]) {
  const identity = await loadIdentity(path.join(os.homedir(), '.linkup-terminal-client.key'));
  if (!host) return console.log(`node examples/terminal/host.js ${identity.publicKey}`);
  // The key says who we are; the id may be any, so that there can be many of us.
  const peer = createPeer(`terminal-${randomUUID()}`, { identity });
  peer.on('error', (error) => console.error(error.message));
  // The host ends what it runs when we are gone.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => peer.close().catch(() => {}));
  try {
    process.exitCode = await run(await peer.connect(host), command.length > 0 ? command.join(' ') : undefined);
  } catch (error) {
    console.error(`${error.code ?? error.name}: ${error.message}`);
    process.exitCode = FAILED;
  }
  // An open standard input would keep the process.
  process.stdin.destroy();
  await peer.close();
}

main(process.argv.slice(2));
