'use strict';
// Every block of code in the README, the guide and the pages beside it is run: JavaScript as it stands there, and it prints what
// its comments with an arrow say; commands; and what another test runs is named. markdown.js says what belongs together. A block
// that nothing here knows fails.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { buildOidc } = require('../../scripts/build-oidc');
const { buildTest } = require('../../scripts/build-test');
const { text } = require('../../bin/doctor');
const { judge } = require('../../bin/doctor/verdict');
const { parse } = require('../../bin/doctor/servers');
const { loopback, node, root, selfSigned, startBroker, within } = require('./helpers');
const { commands, promised, readPage } = require('./markdown');

const PAGES = ['README.md', 'docs/guide.md', 'docs/migration.md', 'docs/security.md', 'docs/testing.md'];
const LIMIT = 30_000;

let folder;
before(async () => {
  await Promise.all([buildOidc(), buildTest()]);
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-docs-'));
  // As after `npm install linkup`.
  fs.mkdirSync(path.join(folder, 'node_modules/.bin'), { recursive: true });
  fs.symlinkSync(root, path.join(folder, 'node_modules/linkup'));
  const command = `#!/bin/sh\nexec ${process.execPath} ${path.join(root, 'bin/linkup.js')} "$@"\n`;
  fs.writeFileSync(path.join(folder, 'node_modules/.bin/linkup'), command, { mode: 0o755 });
});
// Where it could not be made, the error of that is what counts.
after(() => folder && fs.rmSync(folder, { recursive: true }));

/** Writes a program where it finds linkup; its file's name. */
function write({ name, code }) {
  fs.writeFileSync(path.join(folder, name), code);
  return name;
}

/** It runs to its end, and prints what it promises. */
async function alone(program, net) {
  const lines = promised(program.code);
  assert.ok(lines.length > 0, 'a program that promises nothing cannot fail');
  const { code, output } = await within(net.run([write(program)], { cwd: folder }).exited, LIMIT, program.name);
  assert.deepEqual(output.trim().split('\n').toSorted(), lines);
  assert.equal(code, 0);
}

/** Another test runs it: the one with this title in this file. */
function elsewhere(file, title) {
  return () => assert.ok(fs.readFileSync(path.join(root, file), 'utf8').includes(title), `${file} has no ${title}`);
}

/** The first block: in one process as it is, in another with the names exchanged. */
async function exchanged({ code }, net) {
  const names = { alice: 'bob', bob: 'alice' };
  const other = code.replace(/alice|bob/g, (name) => names[name]);
  const alice = net.run([write({ name: 'alice.js', code })], { cwd: folder });
  await alice.line('ERR_PEER_NOT_FOUND'); // bob is not there yet
  const bob = net.run([write({ name: 'bob.js', code: other })], { cwd: folder });
  await alice.line('bob: { hi: 1 }');
  await Promise.all([alice.kill(), bob.kill()]);
}

/** alice's program stays connected to a bob that says nothing for a while. */
async function silence(program) {
  const broker = await startBroker();
  const env = { LINKUP_BROKER_URL: broker.url };
  const start = (made) => node([write(made)], { cwd: folder, env });
  const bob = start({
    name: 'bob.js',
    code: `const bob = require('linkup').createPeer('bob');
      bob.on('register', () => console.log('bob is there'));
      bob.on('message', ({ from, message }) => console.log(from, message));
      process.stdin.resume().once('end', () => bob.close());`,
  });
  await bob.line('bob is there');
  const alice = start(program);
  await alice.line('connected');
  bob.process.kill('SIGSTOP');
  await alice.line('one moment');
  bob.process.kill('SIGCONT');
  await alice.line('there again');
  await bob.line('alice meanwhile');
  bob.process.stdin.end();
  await alice.line('bob has closed it');
  await alice.kill();
  await broker.close();
}

const firstMessage = elsewhere('__test__/node/install.test.js', "test('the README’s first message, literally'");
const fromPage = elsewhere('__test__/node/install.test.js', "test('the guide’s page that sends a file'");

/** How programs are run that are not run by themselves; of pages, all. */
const PROGRAMS = {
  'README.md hello.js': exchanged,
  'README.md desk.js': firstMessage,
  'README.md index.html': firstMessage,
  'docs/guide.md send.html': fromPage,
  'docs/guide.md lasting.mjs': silence,
};

/** Runs a command of the shell until it prints a line. */
async function until(line, command, net) {
  const PATH = `${path.join(folder, 'node_modules/.bin')}:${process.env.PATH}`;
  const child = net.shell(`exec ${command.replace(/^npx /, '')}`, { cwd: folder, env: { PATH } });
  await child.line(line);
  await child.kill();
}

const listens =
  (port, scheme = 'ws') =>
  (command, net) =>
    until(new RegExp(`listening on ${scheme}://[^ ]*:${port}\\b`), command, net);

/** The same, with the certificate that the command names. */
const listensSecurely = (port) => (command, net) => {
  const { certificate } = selfSigned(folder, '127.0.0.1');
  fs.renameSync(certificate, path.join(folder, 'cert.pem'));
  return listens(port, 'wss')(command, net);
};

/** The doctor, of a broker that is there; it wants the token of the command. */
async function doctor(command, net) {
  const [, token] = /--token (\S+)/.exec(command) ?? [];
  // TURN that works: the doctor takes his time where something does not.
  const turn = ['--turn-port', '0', '--turn-allow', '127.0.0.0/8'];
  const flags = ['--host', 'localhost', ...turn, ...(token ? ['--auth-secret', token] : [])];
  const broker = net.run([path.join(root, 'bin/linkup.js'), 'broker', ...flags]);
  await broker.line('listening on ws://');
  const here = command.replace('wss://broker.example.org', 'ws://localhost:5000');
  await until('Peers on this network will reach everybody', here, net);
  await broker.kill();
}

const installed = elsewhere('__test__/node/install.test.js', "run('npm', ['install', ...packages], project)");
const hello = elsewhere('__test__/node/examples.test.js', 'the specification’s example, verbatim but for the ids');

/** What runs the commands of the blocks for the shell. */
const COMMANDS = {
  'npm install linkup': installed,
  'npx linkup broker --files .': firstMessage,
  'node desk.js': firstMessage,
  'npm start': elsewhere('__test__/node/commands.test.js', "test('npm start'"),
  'npm test': elsewhere('.ci/run', '\nnpm test\n'),
  'node examples/hello/peer1.js': hello,
  'node examples/hello/peer2.js': hello,
  'npx linkup broker --port 5000': listens(5000),
  'npx linkup broker --turn-address 198.51.100.7 --turn-name turn.example.org --tls-cert cert.pem --tls-key key.pem':
    listensSecurely(5000),
  'npx linkup broker --no-turn --ice-url turn:turn.example.org:3478?transport=udp --turn-secret S': listens(5000),
  'npx linkup doctor wss://broker.example.org': doctor,
  'npx linkup doctor wss://broker.example.org --token S': doctor,
  'npx linkup broker --port 443 --tls-cert cert.pem --tls-key key.pem --origin https://example.org --auth-secret S':
    listensSecurely(443),
};

/** What the doctor finds in a network that lets no UDP out: the README has what he says then. */
function withoutUdp() {
  const server = (url, reach, relay) => ({
    ...parse(url),
    addresses: [{ address: '192.0.2.1', port: 3478 }],
    reach,
    relay,
  });
  const works = (connect, message) => [{ reached: true }, { path: 'turn', connect, message }];
  return judge({
    broker: { url: 'ws://192.0.2.1:443', register: 3, answer: 0 },
    servers: [
      server('stun:192.0.2.1:3478'),
      server('turn:192.0.2.1:3478?transport=udp', { reached: false }),
      server('turn:192.0.2.1:3478?transport=tcp', ...works(4, 0)),
      server('turns:192.0.2.2:443?transport=tcp', ...works(10, 1)),
    ],
    nat: { 4: { kind: 'unknown', answers: [] } },
  });
}

/** Blocks without a language are what is printed. */
const OUTPUTS = { 'README.md': [() => `${text(withoutUdp())}\n`] };

const used = new Set();
for (const page of PAGES) {
  const { blocks, programs } = readPage(page);

  for (const program of programs) {
    const key = `${page} ${program.name}`;
    used.add(key);
    test(key, { timeout: 2 * LIMIT }, async () => {
      const net = loopback();
      try {
        const isPage = program.name.endsWith('.html');
        await (PROGRAMS[key] ?? (isPage ? () => assert.fail('nothing runs this page') : alone))(program, net);
      } finally {
        net.remove();
      }
    });
  }

  for (const command of blocks.filter(({ language }) => language === 'bash').flatMap(({ code }) => commands(code))) {
    used.add(command);
    test(`${page}: ${command}`, { timeout: LIMIT }, async () => {
      assert.ok(Object.hasOwn(COMMANDS, command), 'nothing runs this command');
      const net = loopback();
      try {
        await COMMANDS[command](command, net);
      } finally {
        net.remove();
      }
    });
  }

  test(`${page}: what is printed, and other languages`, () => {
    const others = blocks.filter(({ language }) => !['js', 'html', 'bash'].includes(language));
    const expected = (OUTPUTS[page] ?? []).map((made) => ({ language: '', code: made() }));
    assert.deepEqual(
      others.map(({ language, code }) => ({ language, code })),
      expected,
    );
    for (const { language, name } of blocks) {
      if (language === 'html') assert.ok(Object.hasOwn(PROGRAMS, `${page} ${name}`), `nothing runs ${name}`);
    }
  });
}

test('the tables name nothing that is not there', () => {
  const known = [...Object.keys(PROGRAMS), ...Object.keys(COMMANDS)];
  assert.deepEqual(
    known.filter((key) => !used.has(key)),
    [],
  );
});
