'use strict';
// Asks a server for JSON that it may not make large, late or somebody else's.

const { inTime } = require('../waiting');

const MAX_BYTES = 256 * 1024;

/** The JSON at `url`; rejects where it does not come whole within `timeout` ms. */
async function fetchJson(url, { fetch, timeout }) {
  const controller = new AbortController();
  try {
    return await inTime(read(url, fetch, controller.signal), timeout, true);
  } finally {
    // Ends what is still under way: there is nothing more to learn from it.
    controller.abort();
  }
}

async function read(url, fetch, signal) {
  const response = await fetch(url, {
    // Only headers with which a page may ask another origin without asking first.
    headers: { accept: 'application/json' },
    // Whoever can make the issuer redirect must not choose its keys.
    redirect: 'error',
    credentials: 'omit',
    // What is kept, and how long, is decided in issuer.js.
    cache: 'no-store',
    signal,
  });
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return JSON.parse(await textOf(response.body));
}

async function textOf(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let size = 0;
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.byteLength;
    if (size > MAX_BYTES) throw new Error(`more than ${MAX_BYTES} bytes`);
    text += decoder.decode(value, { stream: true });
  }
}

module.exports = { fetchJson };
