'use strict';
// The options of oidc(): each wrong one is a TypeError that names it.

const { check, checkNames, checkText, checkType } = require('../check');

const NAMES = ['issuer', 'clientId', 'trust', 'token', 'clockTolerance', 'fetch'];
/** Issuers that have a short name. */
const PRESETS = new Map([
  ['google', 'https://accounts.google.com'],
  ['facebook', 'https://www.facebook.com'],
]);
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];
const MAX_TOLERANCE = 3600;

function parsed(text) {
  try {
    return new URL(text);
  } catch {
    return undefined;
  }
}

/** Whether a URL is one whose answers nobody on the way can change. */
function isSafe(text, { loopback = true } = {}) {
  const { protocol, hostname } = parsed(text) ?? {};
  return protocol === 'https:' || (loopback && protocol === 'http:' && LOOPBACK.includes(hostname));
}

/** Whether a URL leads to this machine. */
function isLoopback(text) {
  return LOOPBACK.includes(parsed(text)?.hostname);
}

function readIssuer(issuer, name) {
  checkText(issuer, name);
  const url = PRESETS.get(issuer) ?? issuer;
  const presets = [...PRESETS.keys()].map((preset) => `'${preset}'`).join(' or ');
  check(isSafe(url), name, `must be an https: URL, an http: URL of this machine, or ${presets}`);
  const { search, hash, username, password } = new URL(url);
  const plain = !search && !hash && !username && !password && !/[?#]/.test(url);
  check(plain, name, 'must have no query, fragment or user');
  return url;
}

function readClientId(clientId, name) {
  const list = Array.isArray(clientId) ? clientId : [clientId];
  check(list.length > 0, name, 'must be a client id, or a list of them');
  for (const id of list) {
    checkText(id, name);
    check(id !== '', name, 'must not be empty');
  }
  return list;
}

/** Client ids by issuer. */
function readTrust({ issuer, clientId, trust }) {
  if (trust === undefined)
    return new Map([[readIssuer(issuer, 'options.issuer'), readClientId(clientId, 'options.clientId')]]);
  const lonely = issuer === undefined && clientId === undefined;
  check(lonely, 'options.trust', 'goes without issuer and clientId');
  check(Array.isArray(trust) && trust.length > 0, 'options.trust', 'must be an array of {issuer, clientId}');
  const result = new Map();
  for (const [index, one] of trust.entries()) {
    const name = `options.trust[${index}]`;
    checkNames(one, ['issuer', 'clientId'], name);
    const url = readIssuer(one.issuer, `${name}.issuer`);
    check(!result.has(url), `${name}.issuer`, 'is there twice');
    result.set(url, readClientId(one.clientId, `${name}.clientId`));
  }
  return result;
}

/** `{trust, token, clockTolerance, fetch}`, where `trust` has the accepted client ids by issuer. */
function readOptions(options) {
  checkNames(options, NAMES);
  const { token, clockTolerance = 60, fetch = globalThis.fetch } = options;
  if (typeof token !== 'function') checkType(token, 'string', 'options.token');
  const tolerable = typeof clockTolerance === 'number' && clockTolerance >= 0 && clockTolerance <= MAX_TOLERANCE;
  check(tolerable, 'options.clockTolerance', `must be a number of seconds from 0 to ${MAX_TOLERANCE}`);
  check(typeof fetch === 'function', 'options.fetch', 'must be of type function');
  return { trust: readTrust(options), token, clockTolerance, fetch };
}

module.exports = { isLoopback, isSafe, readOptions };
