// node examples/terminal/host.js - gives a shell on this machine to the keys that follow; to nobody where none does
'use strict';

const { spawn } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');
const { pipeline } = require('node:stream/promises');
const { createPeer, loadIdentity } = require('../..');

// What Node.js can do by itself on every machine: pipes. There is no terminal at this end, so the shell has no prompt and
// no job control, full-screen programs do not work, and a later change of the window's size is nobody's business. The
// package node-pty makes a terminal: exchange `spawn` here for its own.
const WINDOWS = process.platform === 'win32';

/** Runs a command, or a shell that reads commands, in a process group of its own. */
function start(command, { columns, rows }) {
  const shell = WINDOWS ? process.env.ComSpec : (process.env.SHELL ?? '/bin/sh');
  return spawn(command ?? shell, {
    shell: command !== undefined,
    detached: !WINDOWS,
    windowsHide: true,
    cwd: os.homedir(),
    env: { ...process.env, TERM: 'dumb', COLUMNS: String(columns), LINES: String(rows) },
  });
}

/** Ends it with all that it has started. */
function stop(child) {
  if (WINDOWS) return spawn('taskkill', ['/pid', String(child.pid), '/t', '/f']).on('error', console.error);
  try {
    process.kill(-child.pid, 'SIGHUP');
  } catch {
    // All of it has ended.
  }
}

/** One session: bytes both ways in the client's stream, what goes to stderr in a second one, last how it ended. */
async function serve(connection, stream) {
  const { command, columns, rows } = stream.meta ?? {};
  const wrong = ![columns, rows].every(Number.isSafeInteger) || typeof (command ?? '') !== 'string';
  if (stream.name !== 'shell' || wrong) throw new Error('this is no session');
  const errors = connection.createStream('stderr');
  const child = start(command, { columns, rows });
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  // It need not read all that it is sent: the rest is let go, so that the client can end its stream.
  child.stdin.on('error', () => {});
  child.stdin.on('close', () => stream.unpipe(child.stdin).resume());
  stream.pipe(child.stdin);
  try {
    const [end] = await Promise.all([ended, pipeline(child.stdout, stream), pipeline(child.stderr, errors)]);
    await connection.send(end);
  } catch (error) {
    // The client has gone.
    stop(child);
    throw error;
  }
}

async function main(keys) {
  const identity = await loadIdentity(path.join(os.homedir(), '.linkup-terminal-host.key'));
  // An id that is a key: nobody else can answer to it, whatever the broker does.
  const peer = createPeer(`key:${identity.publicKey}`, {
    identity,
    accept: { allow: keys.map((key) => `key:${key}`) },
  });
  peer.on('register', (id) => console.log(`node examples/terminal/client.js ${id}`));
  peer.on('error', (error) => console.error(error.message));
  peer.on('connection', (connection) => {
    const who = connection.identity.publicKey;
    connection.on('stream', async (stream) => {
      console.log(`${who} runs ${stream.meta?.command ?? 'a shell'}`);
      // serve() rejects with it.
      stream.on('error', () => {});
      try {
        await serve(connection, stream);
      } catch (error) {
        stream.destroy(error);
        console.error(`${who}: ${error.message}`);
      }
    });
  });
}

main(process.argv.slice(2));
