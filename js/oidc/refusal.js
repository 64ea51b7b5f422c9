'use strict';
// Why an ID token is refused: one sentence each.

const { LinkupError } = require('../errors');

const CODE = 'ERR_IDENTITY_MISMATCH';
const wrongAudience = 'wrong audience: it is for another application';

/** What verify() rejects with. */
function refusal(reason, cause) {
  return new LinkupError(CODE, `the ID token is refused: ${reason}`, { cause });
}

/** Text of a stranger's, fit for a message. */
function quoted(value) {
  return JSON.stringify(String(value).slice(0, 200));
}

/** What jose says, as a refusal. */
function refusalOf(error) {
  if (error?.code === CODE) return error;
  return refusal(reasonOf(error), error);
}

function reasonOf({ code, claim, reason, message }) {
  switch (code) {
    case 'ERR_JWT_EXPIRED':
      return 'it has expired';
    case 'ERR_JWT_CLAIM_VALIDATION_FAILED':
      if (reason === 'missing') return `it is malformed: no claim ${claim}`;
      if (reason === 'invalid') return `it is malformed: the claim ${claim} is not a number`;
      return claim === 'nbf' ? 'it is not valid yet' : wrongAudience;
    case 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED':
      return 'bad signature';
    case 'ERR_JOSE_ALG_NOT_ALLOWED':
      return 'its algorithm is not allowed';
    case 'ERR_JWS_INVALID':
    case 'ERR_JWT_INVALID':
    case 'ERR_JOSE_NOT_SUPPORTED':
      return `it is malformed: ${message}`;
    default:
      return `its issuer's key cannot be used here: ${message}`;
  }
}

module.exports = { quoted, refusal, refusalOf, wrongAudience };
