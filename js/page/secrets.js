'use strict';
// What proves to a broker that it is the same owner of an id who comes back after a reload. Knows sessionStorage, which a
// page may not have.
//
// It lies in sessionStorage only while the page is away: a tab that is duplicated, or opened by a script, gets a copy of
// all that is there, and two tabs must not take the id from each other for ever.

const { uuid } = require('./random');

const held = new Map();

const key = (id) => `linkup:${id}`;

function storage(act) {
  try {
    return act(globalThis.sessionStorage);
  } catch {
    // Absent, forbidden or full: then a reload waits until the broker has noticed that the old page is gone.
  }
}

/** The secret for a new peer with that id. */
function takeSecret(id) {
  const secret = storage((session) => session.getItem(key(id))) ?? uuid();
  if (held.has(id)) return uuid();
  held.set(id, secret);
  forgetStored();
  // The same listener again is none more.
  globalThis.addEventListener?.('pagehide', store);
  // It was only put aside, with all its peers.
  globalThis.addEventListener?.('pageshow', forgetStored);
  return secret;
}

/** The peer has given up its id. */
function dropSecret(id, secret) {
  if (held.get(id) === secret) held.delete(id);
}

function store() {
  for (const [id, secret] of held) storage((session) => session.setItem(key(id), secret));
}

function forgetStored() {
  for (const id of held.keys()) storage((session) => session.removeItem(key(id)));
}

module.exports = { takeSecret, dropSecret };
