'use strict';
// Processes of the bench: each is bounded in time, answers questions over IPC, and is killed by its id.

const { spawn } = require('node:child_process');
const path = require('node:path');

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(130));

/** A process with an IPC channel. `onSignal(data)` hears what it wants its counterpart to get. */
class Child {
  #asked = new Map();
  #next = 1;
  #ended;

  /** `limit`: after so many ms it is killed. `namespace`: the network namespace that it runs in. */
  constructor(command, args, { limit, namespace, env }) {
    const full = namespace ? ['ip', 'netns', 'exec', namespace, command, ...args] : [command, ...args];
    this.name = path.basename(command === process.execPath ? args.find((arg) => !arg.startsWith('-')) : command);
    this.output = '';
    this.process = spawn(full[0], full.slice(1), {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    alive.add(this);
    const timer = setTimeout(() => this.#fail(new Error(`killed after ${limit} ms`)), limit);
    this.exited = new Promise((resolve) => {
      const over = (why) => {
        clearTimeout(timer);
        alive.delete(this);
        this.#fail(new Error(/^\w*Error: .*$/m.exec(this.output)?.[0] ?? why, { cause: this.output }));
        resolve();
      };
      this.process.once('error', (error) => over(error.message));
      this.process.once('close', (code, signal) => over(`${this.name} ended with ${signal ?? code}`));
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.output = (this.output + text).slice(-10_000);
        this.onOutput?.();
      });
    }
    this.process.on('message', (message) => this.#hear(message));
  }

  get pid() {
    return this.process.pid;
  }

  /** Asks it to do something; resolves with its answer. */
  ask(command, args = {}) {
    return this.#wait(this.#next++, (id) => this.process.send({ id, command, args }, () => {}));
  }

  /** Resolves with the match of what it prints. */
  prints(pattern) {
    const id = this.#next++;
    return this.#wait(id, () => {
      this.onOutput = () => {
        const match = pattern.exec(this.output);
        if (match) this.#hear({ id, result: match });
      };
      this.onOutput();
    });
  }

  /** Tells it what its counterpart wants it to get. */
  signal(signal) {
    if (this.process.connected) this.process.send({ signal }, () => {});
  }

  kill() {
    this.process.kill('SIGKILL');
    return this.exited;
  }

  #wait(id, start) {
    if (this.#ended) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      start(id);
    });
  }

  #hear({ id, result, error, signal }) {
    if (signal !== undefined) return this.onSignal?.(signal);
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (error === undefined) asked?.resolve(result);
    else asked?.reject(new Error(error));
  }

  #fail(error) {
    this.#ended ??= error;
    for (const { reject } of this.#asked.values()) reject(this.#ended);
    this.#asked.clear();
    this.process.kill('SIGKILL');
  }
}

/** The other side of it: answers with the functions of `commands`. Returns what hands on signals. */
function answer(commands, onSignal) {
  process.on('disconnect', () => process.exit());
  process.on('message', async ({ id, command, args, signal }) => {
    if (signal !== undefined) return onSignal(signal);
    try {
      process.send({ id, result: await commands[command](args) });
    } catch (error) {
      process.send({ id, error: error?.stack ?? String(error) });
    }
  });
  return (signal) => process.send({ signal });
}

module.exports = { Child, answer };
