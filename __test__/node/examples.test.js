// Each example runs by the command on its first line, with no broker started by hand.
'use strict';

const assert = require('node:assert/strict');
const { test, beforeEach, afterEach } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { commandOf, loopback, root } = require('./helpers');

let net;
beforeEach(() => {
  net = loopback();
});
afterEach(() => net.remove());

test('the specification’s example, verbatim but for the ids', async () => {
  // The code of the specification is in the README of shared/, which is not here at run time: kept beside this test.
  const spec = fs.readFileSync(path.join(__dirname, 'specification-example.txt'), 'utf8');
  const body = (file) => fs.readFileSync(path.join(root, file), 'utf8').split('\n').slice(1).join('\n');
  const verbatim = (text, me, other) =>
    text
      .replace("require('linkup')", "require('../..')")
      .replace("createPeer('peer1')", `createPeer('${me}')`)
      .replace(/'peer2', 'hi peer2!'/, `'${other}', 'hi ${other}!'`);
  assert.equal(body('examples/hello/peer1.js').trim(), verbatim(spec, 'peer1', 'peer2').trim());
  assert.equal(body('examples/hello/peer2.js').trim(), verbatim(spec, 'peer2', 'peer1').trim());

  const peer2 = net.run(commandOf('examples/hello/peer2.js'));
  await peer2.line('ERR_PEER_NOT_FOUND'); // peer1 is not there yet
  const peer1 = net.run(commandOf('examples/hello/peer1.js'));
  await peer2.line('Received message from peer1 : hi peer2!');
  await peer1.kill();
  await peer2.kill();
});

test('the specification’s page, verbatim but for the place of its script', () => {
  const spec = fs.readFileSync(path.join(__dirname, 'specification-page.txt'), 'utf8');
  const [, ...page] = fs.readFileSync(path.join(root, 'examples/page/index.html'), 'utf8').split('\n');
  assert.equal(page.join('\n'), spec.replace('src="dist/', 'src="../../dist/'));
});

test('chat', async () => {
  const [file, alice, bob] = commandOf('examples/chat.js');
  const one = net.run([file, alice, bob]);
  const two = net.run([file, bob, alice]);
  await one.line('You are alice');
  await two.line('You are bob');
  one.process.stdin.write('hello\n');
  await two.line('alice: hello');
  two.process.stdin.end('hello yourself\nbye\n');
  await one.line('bob: hello yourself');
  await one.line('bob: bye');
  assert.equal((await two.exited).code, 0);
  one.process.stdin.end();
  assert.equal((await one.exited).code, 0);
});

test('echo', async () => {
  const echo = net.run(commandOf('examples/echo.js'));
  await echo.line('echo is waiting');
  const chat = net.run(['examples/chat.js', 'carol', 'echo']);
  await chat.line('You are carol');
  chat.process.stdin.write('anybody?\n');
  await chat.line('echo: anybody?');
  await chat.kill();
  await echo.kill();
});

test('request and reply', async () => {
  const child = net.run(commandOf('examples/request-reply.js'));
  await child.line('[ 1, 4, 9 ]');
  assert.equal((await child.exited).code, 0);
});
