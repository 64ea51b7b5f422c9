// createBroker's options for the public: who may register, limits, TLS, the end. What they do is tested in crates/broker.
'use strict';

const assert = require('node:assert/strict');
const { createSign, generateKeyPairSync } = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { test } = require('node:test');
const WebSocket = require('ws');
const { linkup, script, selfSigned, within } = require('./helpers');

async function serve(options) {
  return linkup.createBroker({ port: 0, host: '127.0.0.1', ...options }).ready;
}

/** Registers an id with plain JSON; resolves with null or the error. */
async function register(broker, id, token, headers) {
  const socket = new WebSocket(broker.url, { headers });
  await once(socket, 'open');
  socket.send(JSON.stringify({ id: '1', message: { type: 'register', id, token } }));
  const [data] = await within(once(socket, 'message'), 10_000, 'the answer to register');
  socket.terminate();
  return JSON.parse(data).error;
}

test('authorize decides, and is told who asks', async () => {
  const asked = [];
  const verdicts = {
    yes: () => true,
    nothing: () => undefined,
    no: () => false,
    why: () => 'not today',
    throws: () => {
      throw new Error('no such user');
    },
    rejects: () => Promise.reject(new Error('no database')),
    late: () => new Promise(() => {}),
  };
  const authorize = async (request) => {
    asked.push(request);
    return verdicts[request.token]();
  };
  const broker = await serve({ authorize, timeouts: { authorize: 200 } });
  for (const [token, reason] of [
    ['yes', null],
    ['nothing', null],
    ['no', 'does not let'],
    ['why', 'not today'],
    ['throws', 'no such user'],
    ['rejects', 'no database'],
    ['late', 'in time'],
  ]) {
    const error = await register(broker, `id-${token}`, token, { origin: 'https://example.org' });
    if (reason === null) {
      assert.equal(error, null);
    } else {
      assert.equal(error.code, 'ERR_NOT_AUTHORIZED');
      assert.match(error.message, new RegExp(reason));
    }
  }
  const request = { id: 'id-yes', token: 'yes', origin: 'https://example.org', address: '127.0.0.1' };
  assert.deepEqual(asked[0], request);
  await broker.close();
});

test('a peer sends its token, and hears that it is refused', async () => {
  const authorize = ({ token }) => token === 'good' || 'wrong token';
  const broker = await serve({ authorize });
  const good = linkup.createPeer('good', { brokerUrl: broker.url, token: 'good' });
  await within(once(good, 'register'), 10_000, 'registration');
  const bad = linkup.createPeer('bad', { brokerUrl: broker.url, token: 'bad' });
  const [error] = await within(once(bad, 'error'), 10_000, 'the refusal');
  assert.deepEqual([error.code, error.message], ['ERR_NOT_AUTHORIZED', 'wrong token']);
  await Promise.all([good.close(), bad.close()]);
  await broker.close();
});

test('a JSON web token of RS256 names the ids that it is for', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-jwt-'));
  try {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const file = path.join(folder, 'key.pem');
    fs.writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const tokenOf = (claims) => {
      const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}`;
      return `${text}.${createSign('sha256').update(text).sign(privateKey, 'base64url')}`;
    };
    const broker = await serve({ auth: { jwtKeys: [file], audience: 'chat', secrets: ['master'] } });
    const exp = Math.floor(Date.now() / 1000) + 100;
    const good = tokenOf({ ids: ['team-*'], aud: 'chat', exp });
    for (const [id, token, allowed] of [
      ['team-1', good, true],
      ['other', good, false],
      ['other', 'master', true],
      ['team-2', tokenOf({ aud: 'mail', exp }), false],
      ['team-2', tokenOf({ aud: 'chat', exp: exp - 1000 }), false],
      ['team-2', `${good.slice(0, -2)}AA`, false],
      ['team-2', undefined, false],
    ]) {
      const error = await register(broker, id, token);
      assert.equal(error?.code, allowed ? undefined : 'ERR_NOT_AUTHORIZED', `${id} ${token}: ${error?.message}`);
    }
    await broker.close();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('limits are set, kept and counted', async () => {
  const broker = await serve({ limits: { socketMessages: 1, sockets: 2, addressSockets: 0 } });
  const socket = new WebSocket(broker.url);
  await once(socket, 'open');
  const ping = JSON.stringify({ id: '1', message: { type: 'ping' } });
  const answers = [];
  socket.on('message', (data) => answers.push(JSON.parse(data)));
  for (let n = 0; n < 100; n++) socket.send(ping);
  const [code] = await within(once(socket, 'close'), 10_000, 'the close');
  assert.equal(code, 1008);
  assert.equal(answers.find(({ error }) => error)?.error.code, 'ERR_PROTOCOL');
  const page = await (await fetch(`${broker.url.replace('ws:', 'http:')}/metrics`)).text();
  assert.match(page, /linkup_dropped_total\{reason="limit"\} 1\n/);
  await broker.close();
});

test('TLS, and a certificate that is read again', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-broker-tls-'));
  try {
    const { key, certificate: cert } = selfSigned(folder, '127.0.0.1');
    const broker = await serve({ tls: { cert, key } });
    assert.match(broker.url, /^wss:/);
    const fingerprint = async () => {
      const request = https.get(`${broker.url.replace('wss:', 'https:')}/healthz`, {
        rejectUnauthorized: false,
        agent: false,
      });
      const [response] = await within(once(request, 'response'), 10_000, 'the response');
      response.resume();
      assert.equal(response.statusCode, 200);
      return response.socket.getPeerCertificate().fingerprint256;
    };
    const old = await fingerprint();
    selfSigned(folder, '127.0.0.1');
    assert.equal(await fingerprint(), old);
    await broker.reload();
    assert.notEqual(await fingerprint(), old);
    fs.writeFileSync(key, '');
    await assert.rejects(broker.reload(), { code: 'ERR_UNSUPPORTED', message: /key\.pem/ });
    await broker.close();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('peers talk over wss:, and take no certificate that nobody has vouched for', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-broker-tls-'));
  try {
    const { key, certificate: cert } = selfSigned(folder, '127.0.0.1');
    const broker = await serve({ tls: { cert, key } });
    const code = `
      const [a, b] = ['a', 'b'].map((id) => linkup.createPeer(id, { brokerUrl: process.argv.at(-1) }));
      a.once('offline', ({ reason }) => {
        console.log('offline: ' + reason);
        process.exit(0);
      });
      b.once('register', () => {
        b.once('message', ({ message }) => {
          console.log('heard: ' + message);
          Promise.all([a.close(), b.close()]);
        });
        a.send('b', 'hello');
      });`;
    const heard = async (env) => {
      const { output } = await within(script(code, { args: [broker.url], env }).exited, 20_000, 'the end');
      return output;
    };
    assert.match(await heard({ SSL_CERT_FILE: cert }), /^heard: hello$/m);
    assert.match(await heard({}), /^offline: .*certificate/im);
    await broker.close();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('only pages of `origins` get in, and what they say is not compressed', async () => {
  const broker = await serve({ origins: ['https://good.example'] });
  const status = async (origin) => {
    const socket = new WebSocket(broker.url, { origin, perMessageDeflate: true });
    const answer = Promise.race([
      once(socket, 'open').then(() => 101),
      once(socket, 'unexpected-response').then(([, response]) => response.statusCode),
    ]);
    socket.on('error', () => {});
    const code = await within(answer, 10_000, 'an answer');
    assert.equal(socket.extensions, '');
    socket.terminate();
    return code;
  };
  assert.equal(await status('https://good.example'), 101);
  assert.equal(await status(undefined), 101, 'no page at all');
  assert.equal(await status('https://bad.example'), 403);
  await broker.close();
});

test('a drain moves the peers to another broker', async () => {
  const [first, second] = [await serve(), await serve()];
  const peer = linkup.createPeer('a', { brokerUrl: [first.url, second.url] });
  await within(once(peer, 'register'), 10_000, 'registration');
  const again = once(peer, 'register');
  await within(first.close({ drain: 5000 }), 10_000, 'the drain');
  await within(again, 10_000, 'the other registration');
  const finder = linkup.createPeer('b', { brokerUrl: second.url });
  assert.equal(await finder.find('a'), true);
  await Promise.all([peer.close(), finder.close()]);
  await second.close();
});

test('createBroker says which option is wrong', async () => {
  for (const [options, name] of [
    [{ prot: 1 }, 'options.prot'],
    [{ authorize: true }, 'options.authorize'],
    [{ tls: { cert: 'cert.pem' } }, 'options.tls.key'],
    [{ trustedProxies: '10.0.0.0/8' }, 'options.trustedProxies'],
    [{ limits: { socketBytes: -1 } }, 'options.limits.socketBytes'],
    [{ limits: { sockets: 0 } }, 'options.limits.sockets'],
    [{ limits: { socketBits: 1 } }, 'options.limits.socketBits'],
    [{ limits: { loopback: 1 } }, 'options.limits.loopback'],
    [{ timeouts: { ping: 0 } }, 'options.timeouts.ping'],
    [{ auth: { secrets: [''] } }, 'options.auth.secrets'],
    [{ auth: { jwtSecrets: ['short'] } }, 'options.auth.jwtSecrets'],
    [{ auth: { issuer: 1 } }, 'options.auth.issuer'],
    [{ metricsFrom: [1] }, 'options.metricsFrom'],
  ]) {
    assert.throws(() => linkup.createBroker(options), { name: 'TypeError', message: new RegExp(`^${name}`) });
  }
  for (const [options, part] of [
    [{ trustedProxies: ['10.0.0.0/33'] }, '10.0.0.0/33'],
    [{ tls: { cert: '/no/cert.pem', key: '/no/key.pem' } }, '/no/cert.pem'],
    [{ auth: { jwtKeys: ['/no/key.pem'] } }, '/no/key.pem'],
    [{ auth: { audience: 'chat' } }, 'audience'],
  ]) {
    await assert.rejects(serve(options), (error) => error.message.includes(part));
  }
});
