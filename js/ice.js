'use strict';
// ICE servers, as RTCConfiguration has them. Knows their shape only.

const { check, checkTypes } = require('./check');

/** A checked copy of a list of ICE servers, `urls` always a list. `name` is the option, for the TypeError. */
function iceServersOf(servers, name) {
  check(Array.isArray(servers), name, 'must be a list');
  return servers.map((server, i) => {
    const urls = [server?.urls ?? server?.url].flat();
    const valid = urls.length > 0 && urls.every((url) => typeof url === 'string' && /^(stun|turn)s?:/.test(url));
    check(valid, `${name}[${i}].urls`, 'must be one or more stun: or turn: URLs');
    const { username, credential } = server;
    checkTypes(server, { username: 'string', credential: 'string' }, `${name}[${i}]`);
    const asks = urls.some((url) => url.startsWith('turn'));
    check(!asks || (username && credential), `${name}[${i}]`, 'a TURN server needs username and credential');
    return { urls, username, credential };
  });
}

module.exports = { iceServersOf };
