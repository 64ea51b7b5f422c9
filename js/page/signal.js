'use strict';
// What peers write to each other through the broker: simple-peer's JSON with one extra member, `linkup`, which
// simple-peer passes over. Reads and checks what may come from anybody; knows nothing of what follows from it.
// The same rules in Rust: crates/proto/src/signal.rs.

const { isObject } = require('../check');
const { LINKUP, PLAIN } = require('./states');

const VERSION = 1;
const MAX_SIGNAL = 64 * 1024;
const MAX_REASON = 1024;
/** What a linkup peer takes that does not say, and the least window. */
const USUAL_MESSAGE = 256 * 1024;
const USUAL_WINDOW = 1024 * 1024;
const LEAST_WINDOW = 256 * 1024;

/** An error as the engine reports it. */
const failure = (code, message, details) => ({ code, message, details });

/** A number of 32 bits, as that of a message's bytes is. */
const numberOr = (value, otherwise) => (value >>> 0 === value ? value : otherwise);

/** A code that somebody else sent, if it is one. */
const codeOf = (code, otherwise) => (/^ERR_[A-Z_]{1,40}$/.test(code) ? code : otherwise);

/** A text of an application that every JSON parser takes, and not a long one. */
const reasonOf = (text) => text.slice(0, MAX_REASON).replace(/\p{Surrogate}/gu, '\ufffd');

const wrong = (what) => failure('ERR_PROTOCOL', `a signal ${what}`);

/**
 * Reads a signal; throws a `failure`.
 *
 * @returns {{kind: number, session?: string, metadata?: any, receive?: object, offer?: string, answer?: string, candidate?: object,
 *   bye?: {code: string, reason: string}}} one of the last four, or none of them where it is of no use here
 */
function readSignal(text) {
  if (text.length > MAX_SIGNAL) throw wrong('is too large');
  let signal;
  try {
    signal = JSON.parse(text);
  } catch (error) {
    throw wrong(`is not JSON: ${error.message}`);
  }
  if (!isObject(signal)) throw wrong('is not an object');
  const { linkup, candidate, sdp, type } = signal;
  const result = { kind: PLAIN };
  if (linkup !== undefined) {
    const { v, session, metadata, bye, receive } = linkup ?? {};
    if (!Number.isInteger(v) || typeof session !== 'string' || session === '' || session.length > 64) {
      throw wrong('has no `v` or `session`');
    }
    const message = numberOr(receive?.message, USUAL_MESSAGE);
    const window = Math.max(numberOr(receive?.window, USUAL_WINDOW), LEAST_WINDOW);
    Object.assign(result, { kind: LINKUP, session, metadata, receive: { message, window } });
    if (isObject(bye)) {
      const reason = typeof bye.reason === 'string' ? reasonOf(bye.reason) : '';
      result.bye = { code: codeOf(bye.code, 'ERR_CONNECTION_CLOSED'), reason };
      return result;
    }
  }
  // simple-peer itself tells the kinds apart by their members, not by `type`.
  if (isObject(candidate)) result.candidate = readCandidate(candidate);
  else if (typeof sdp === 'string') {
    if (type === 'offer') {
      result.offer = sdp;
      result.session ??= plainSession(sdp);
    } else if (type === 'answer' || type === 'pranswer') result.answer = sdp;
    else throw wrong('has no `type`');
  } else if (!linkup && !('renegotiate' in signal) && !('transceiverRequest' in signal)) {
    // A newer linkup may say more than we know.
    throw wrong('has no `sdp` or `candidate`');
  }
  return result;
}

function readCandidate({ candidate, sdpMid, sdpMLineIndex }) {
  const line = candidate ?? '';
  if (typeof line !== 'string' || line.length > 1024) throw wrong('has no short `candidate`');
  return {
    candidate: line,
    sdpMid: typeof sdpMid === 'string' ? sdpMid : null,
    sdpMLineIndex: Number.isInteger(sdpMLineIndex) ? sdpMLineIndex : null,
  };
}

/**
 * What names an attempt of a plain client: the user name and session id of its `o=` line, which stay the same as long
 * as its RTCPeerConnection lives (RFC 8829, section 5.2.2).
 */
function plainSession(sdp) {
  return (/^o=\S* \S*/m.exec(sdp)?.[0] ?? 'o=').slice(0, 64);
}

/** The text of a signal: `body` is simple-peer's, `extra` goes into the member `linkup` of what linkup peers get. */
function writeSignal(kind, session, body, extra) {
  return JSON.stringify(kind === PLAIN ? body : { ...body, linkup: { v: VERSION, session, ...extra } });
}

module.exports = { VERSION, failure, codeOf, reasonOf, readSignal, writeSignal };
