'use strict';
// A fleet of workers on any number of machines: whoever connects to the coordinator's peer is one. Knows nothing of what a
// job is. Each job's result comes once; a job whose worker vanishes is run again, so running one twice must do no harm.

/** Workers that may vanish with a job before it is the job that is to blame. */
const MAX_TRIES = 3;

class Fleet {
  #waiting = [];
  #idle = new Set();

  /** `peer`: the workers connect to it. `log` is told what happens. */
  constructor(peer, log = () => {}) {
    this.log = log;
    peer.on('connection', (connection) => this.#join(connection));
  }

  /** Has some worker run a job, anything JSON: resolves with its result. */
  run(job) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, tries: 0, resolve, reject });
      this.#assign();
    });
  }

  #join(connection) {
    const worker = { connection, task: undefined };
    this.log(`${connection.id} has come`);
    connection.on('message', (message) => this.#finished(worker, message));
    connection.on('close', () => this.#left(worker));
    this.#idle.add(worker);
    this.#assign();
  }

  #assign() {
    for (const worker of this.#idle) {
      const task = this.#waiting.shift();
      if (!task) return;
      this.#idle.delete(worker);
      worker.task = task;
      task.tries += 1;
      // Where it does not arrive the connection ends, and `close` says so.
      worker.connection.send({ job: task.job }).catch(() => {});
    }
  }

  #finished(worker, message) {
    const { task } = worker;
    // A worker is a program like any other: it may say anything, at any time.
    if (!task) return;
    worker.task = undefined;
    this.#idle.add(worker);
    if (typeof message?.error === 'string') task.reject(new Error(message.error));
    else task.resolve(message?.result);
    this.#assign();
  }

  #left(worker) {
    const { connection, task } = worker;
    this.#idle.delete(worker);
    this.log(`${connection.id} has gone${task ? `, and left ${JSON.stringify(task.job)}` : ''}`);
    if (!task) return;
    worker.task = undefined;
    if (task.tries < MAX_TRIES) this.#waiting.unshift(task);
    else task.reject(new Error(`${task.tries} workers have vanished with ${JSON.stringify(task.job)}`));
    this.#assign();
  }
}

module.exports = { Fleet };
