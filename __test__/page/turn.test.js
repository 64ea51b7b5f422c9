'use strict';
// Browsers and the TURN server beside a broker: two peers that may use nothing but the relay.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');
const linkup = require('../../index.js');
const { installed, launch } = require('./browser');

/** Runs in the page: asks the broker for its servers and connects two RTCPeerConnections by one URL of theirs. */
async function relay(index) {
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  const ask = async (message) => {
    socket.send(JSON.stringify({ id: '1', message }));
    return JSON.parse(
      (await new Promise((resolve) => socket.addEventListener('message', resolve, { once: true }))).data,
    );
  };
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  await ask({ type: 'register', id: 'alice' });
  const [server] = (await ask({ type: 'ice' })).message.iceServers;
  const iceServers = [{ ...server, urls: [server.urls[index]] }];
  const [a, b] = [0, 1].map(() => new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' }));
  const errors = [];
  for (const [one, other] of [
    [a, b],
    [b, a],
  ]) {
    one.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
    one.onicecandidateerror = ({ url, errorCode, errorText }) => errors.push(`${url}: ${errorCode} ${errorText}`);
  }
  const channel = a.createDataChannel('test');
  const got = new Promise((resolve, reject) => {
    b.ondatachannel = (event) => {
      event.channel.onmessage = ({ data }) => resolve(data);
    };
    setTimeout(() => reject(new Error(`no relay by ${server.urls[index]}: ${errors}`)), 20_000);
  });
  channel.onopen = () => channel.send('x'.repeat(100_000));
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const { length } = await got;
  const types = [];
  for (const report of (await a.getStats()).values()) {
    if (report.type === 'local-candidate') types.push(report.candidateType);
  }
  a.close();
  b.close();
  socket.close();
  return { url: server.urls[index], length, types: [...new Set(types)] };
}

/** An address of this machine that is not loopback: browsers do not use that one. */
function address() {
  const all = Object.values(os.networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

for (const name of installed()) {
  describe(name, { timeout: 300_000 }, () => {
    test('a page with iceTransportPolicy relay', async (t) => {
      const host = address();
      if (host === undefined) return t.skip('this machine has no network');
      const files = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-turn-'));
      fs.copyFileSync(path.join(__dirname, '../../dist/linkup.js'), path.join(files, 'linkup.js'));
      fs.writeFileSync(path.join(files, 'index.html'), '<!doctype html><script src="linkup.js"></script>');
      // No `allow`, although that address is private: the two relayed addresses meet inside the server.
      const broker = await linkup.createBroker({ port: 0, host, files, turn: { port: 0 } }).ready;
      const browser = await launch(name);
      try {
        const page = await browser.page(`${broker.url.replace('ws', 'http')}/`);
        let wrong;
        for (const [index, transport] of [
          [1, 'udp'],
          [2, 'tcp'],
        ]) {
          const { url, length, types } = await page.evaluate(relay, index);
          assert.match(url, new RegExp(`transport=${transport}$`));
          wrong = url;
          assert.equal(length, 100_000);
          assert.deepEqual(types, ['relay']);
        }
        // A peer that names no servers uses those of its broker, on both sides.
        const node = linkup.createPeer('node', { brokerUrl: broker.url, iceTransportPolicy: 'relay' });
        node.on('message', ({ from, message }) => node.send(from, message).catch(() => {}));
        await new Promise((resolve) => node.once('register', resolve));
        const heard = await page.evaluate(async () => {
          // At once: what is asked for before the registration waits for the servers, too.
          const peer = linkup.createPeer('page', { iceTransportPolicy: 'relay' });
          const connection = await peer.connect('node');
          const echo = new Promise((resolve) => connection.once('message', resolve));
          await connection.send({ relayed: 'é' });
          const paths = [connection.path, (await connection.stats()).path];
          const result = { message: await echo, paths };
          await peer.close();
          return result;
        });
        assert.deepEqual(heard, { message: { relayed: 'é' }, paths: ['turn', 'turn'] });
        // Before it would go over the broker.
        const { code, message, details } = await page.evaluate(async (urls) => {
          const iceServers = [{ urls, username: 'x', credential: 'wrong' }];
          const options = { iceServers, iceTransportPolicy: 'relay', timeouts: { connect: 3000 } };
          const peer = linkup.createPeer('stranger', options);
          const { code, message, details } = await peer.connect('node').catch((error) => error);
          await peer.close();
          return { code, message, details };
        }, wrong);
        assert.equal(code, 'ERR_CONNECT_TIMEOUT');
        assert.ok(message.endsWith(details.advice), message);
        assert.match(message, /: no path between 0 addresses here and \d of the remote works\. Look at /);
        assert.deepEqual(details.local, []);
        const [{ type, address: far, port, protocol }] = details.remote;
        assert.deepEqual([type, far, typeof port, protocol], ['relay', host, 'number', 'udp']);
        const [{ error, ...server }] = details.servers;
        assert.deepEqual(server, { url: wrong, answered: true });
        assert.match(error, /^401 /);
        assert.equal(details.advice, `Look at the credentials for ${wrong}: it refuses.`);
        await node.close();
      } finally {
        await browser.close();
        await broker.close();
        fs.rmSync(files, { recursive: true });
      }
    });
  });
}
