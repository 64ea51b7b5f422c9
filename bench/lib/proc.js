'use strict';
// What the kernel says a process uses.

const fs = require('node:fs');

/** Microseconds of CPU of all threads of a process, those that have ended left out. */
function cpuOf(pid) {
  let nanoseconds = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch {
      // It has just ended.
    }
  }
  return nanoseconds / 1000;
}

/** Bytes of memory that a process has in use. */
function residentOf(pid) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) * 1024;
}

/** Threads and open file descriptors of this process. */
function countsOfSelf() {
  try {
    const count = (folder) => fs.readdirSync(`/proc/self/${folder}`).length;
    return { threads: count('task'), files: count('fd') };
  } catch {
    return { threads: null, files: null };
  }
}

module.exports = { cpuOf, residentOf, countsOfSelf };
