'use strict';
// As a user gets it: the packages that are published, in an empty project, without cargo and without a script; and what the README
// and the guide say to do with them, in Chromium, too.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { buildOidc } = require('../../scripts/build-oidc');
const { buildDemo } = require('../../scripts/build-demo');
const { buildPage } = require('../../scripts/build-page');
const { buildTest } = require('../../scripts/build-test');
const { target } = require('../../js/addon');
const { installed, launch } = require('../page/browser');
const { linkup, loopback, root, within } = require('./helpers');
const { commands, readPage } = require('./markdown');

const PLATFORMS = fs.readdirSync(path.join(root, 'npm'));
const MEGABYTE = 1e6;
/** Of the binary, in megabytes; 6 are the goal. Without LTO it has 8.7. */
const MAX_SIZE = 7.4;

let folder;
let project;
let installing;

/** Nothing may be fetched. */
const OFFLINE = { npm_config_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false' };

/** Runs it, and gives back what it printed. */
function run(command, args, cwd) {
  const env = { ...process.env, ...OFFLINE };
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env, encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error ?? ''}${stdout}${stderr}`);
  return stdout.trim();
}

const node = (...args) => run(process.execPath, args, project);
const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8'));

/** Packs a folder as `npm publish` would. */
function pack(from) {
  return path.join(folder, run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], from));
}

before(async () => {
  buildDemo();
  await Promise.all([buildPage(), buildOidc(), buildTest()]);
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-install-'));
  project = path.join(folder, 'project');
  const [main, platform] = [path.join(folder, 'main'), path.join(folder, 'platform')];
  for (const made of [project, main]) fs.mkdirSync(made);

  const binary = `linkup.${target()}.node`;
  fs.cpSync(path.join(root, 'npm', target()), platform, { recursive: true });
  fs.copyFileSync(path.join(root, binary), path.join(platform, binary));

  // What `napi pre-publish` adds.
  run('tar', ['xzf', pack(root), '-C', main], folder);
  const file = path.join(main, 'package', 'package.json');
  const about = read(file);
  about.optionalDependencies = Object.fromEntries(PLATFORMS.map((name) => [`linkup-${name}`, about.version]));
  fs.writeFileSync(file, JSON.stringify(about));

  fs.writeFileSync(path.join(project, 'package.json'), '{"private": true}');
  const packages = [pack(path.dirname(file)), pack(platform)];
  installing = performance.now();
  run('npm', ['install', ...packages], project);
  console.log(`npm install: ${Math.round(performance.now() - installing)} ms`);
  for (const tarball of packages) console.log(`${path.basename(tarball)}: ${fs.statSync(tarball).size} bytes`);
});
after(() => folder && fs.rmSync(folder, { recursive: true, force: true }));

test('the binary is no larger than it has to be', () => {
  const binary = `linkup.${target()}.node`;
  const size = fs.statSync(path.join(project, 'node_modules', `linkup-${target()}`, binary)).size / MEGABYTE;
  console.log(`${binary}: ${size.toFixed(1)} MB`);
  assert.ok(size < MAX_SIZE, `${size} MB of at most ${MAX_SIZE}`);
});

test('two packages, and nothing runs at the installation', () => {
  const modules = path.join(project, 'node_modules');
  const names = fs.readdirSync(modules).filter((name) => !name.startsWith('.'));
  assert.deepEqual(names.sort(), ['linkup', `linkup-${target()}`]);
  for (const name of names) {
    const { scripts = {}, dependencies } = read(path.join(modules, name, 'package.json'));
    for (const script of ['preinstall', 'install', 'postinstall']) assert.equal(scripts[script], undefined);
    assert.equal(dependencies, undefined);
  }
});

test('each platform has a package that says where it belongs', () => {
  const { version, napi } = read(path.join(root, 'package.json'));
  assert.equal(napi.targets.length, PLATFORMS.length);
  for (const name of PLATFORMS) {
    const about = read(path.join(root, 'npm', name, 'package.json'));
    const [platform, cpu, abi] = name.split('-');
    assert.deepEqual([about.name, about.version, about.os, about.cpu], [`linkup-${name}`, version, [platform], [cpu]]);
    const libc = { gnu: ['glibc'], gnueabihf: ['glibc'], musl: ['musl'] }[abi];
    assert.deepEqual(about.libc, platform === 'linux' ? libc : undefined, name);
    assert.deepEqual(about.files, [`linkup.${name}.node`]);
  }
});

const TALK = `
  const [a, b] = ['a', 'b'].map((name) => linkup.createPeer(name + process.pid, { brokerUrl: broker.url }));
  b.once('message', async ({ message }) => {
    console.log(message);
    await Promise.all([a.close(), b.close()]);
    await broker.close();
  });
  b.once('register', () => a.send(b.id, 'hello'));
`;

test('CommonJS: loaded quickly, and two peers talk', () => {
  const start =
    'const start = performance.now(); const linkup = require("linkup"); const ms = performance.now() - start;';
  const broker = 'linkup.createBroker({ port: 0, host: "localhost" }).ready.then((broker) => {';
  const said = node('-e', `${start} ${broker} ${TALK} console.log(Math.round(ms)); });`).split('\n');
  console.log(`require('linkup'): ${said[0]} ms`);
  assert.equal(said[1], 'hello');
  assert.equal(node('-p', 'typeof require("linkup/oidc").oidc'), 'function');
});

test('ES modules', () => {
  const file = path.join(project, 'talk.mjs');
  const code = `
    import linkup, { createBroker } from 'linkup';
    import { nonceOf } from 'linkup/oidc';
    import { createNetwork } from 'linkup/test';
    const broker = await createBroker({ port: 0, host: 'localhost' }).ready;
    if (typeof nonceOf !== 'function') throw new Error('no linkup/oidc');
    if (typeof createNetwork !== 'function') throw new Error('no linkup/test');
    ${TALK}`;
  fs.writeFileSync(file, code);
  assert.equal(node(file), 'hello');
});

test('TypeScript', () => {
  fs.writeFileSync(
    path.join(project, 'talk.ts'),
    `import { createPeer, type Connection } from 'linkup';
     import { oidc } from 'linkup/oidc';
     import { createNetwork } from 'linkup/test';
     const peer = createPeer('a', { identity: { oidc: oidc({ issuer: 'google', clientId: 'me' }) } });
     export const connection: Promise<Connection> = peer.connect('b');
     export const sent: Promise<void> = createNetwork({ loss: 0.1 }).createPeer('a').send('b', 1);
     // @ts-expect-error an id is a string
     createPeer(1);`,
  );
  const tsc = path.join(root, 'node_modules/@typescript/native/bin/tsc');
  const types = ['--typeRoots', path.join(root, 'node_modules/@types'), '--types', 'node'];
  node(tsc, '--noEmit', '--strict', '--module', 'nodenext', ...types, 'talk.ts');
});

test('linkup/test: two peers talk in memory', () => {
  const code = `
    const { LinkupError } = require('linkup');
    const { createNetwork } = require('linkup/test');
    const net = createNetwork();
    const [a, b] = ['a', 'b'].map((id) => net.createPeer(id));
    b.on('message', ({ message }) => console.log(message));
    net.run(async () => {
      await a.send('b', 'hello');
      await a.send('c', 1).catch((error) => console.log(error instanceof LinkupError, error.code));
    }).then(() => net.close());`;
  assert.equal(node('-e', code), 'hello\ntrue ERR_PEER_NOT_FOUND');
});

test('the files for pages are in it', () => {
  for (const file of ['linkup.js', 'linkup.mjs', 'oidc.js', 'oidc.mjs', 'index.html', 'demo.js']) {
    assert.ok(fs.statSync(path.join(project, 'node_modules/linkup/dist', file)).size > 1000, file);
  }
  assert.match(node('-p', 'require.resolve("linkup/dist/linkup.js")'), /linkup\.js$/);
});

test('the command', () => {
  const { version } = read(path.join(root, 'package.json'));
  assert.match(run('npx', ['--no-install', 'linkup', '--version'], project), new RegExp(version.replace(/\./g, '\\.')));
});

const chromium = installed().includes('chromium');
const skip = !chromium && 'chromium is not installed';

/** Writes the programs of a page of the documentation into the project. */
function follow(page, ...names) {
  const { blocks, programs } = readPage(page);
  for (const { name, code } of programs) {
    if (names.includes(name)) fs.writeFileSync(path.join(project, name), code);
  }
  return blocks.flatMap(({ language, code }) => (language === 'bash' ? commands(code) : []));
}

test('the README’s first message, literally', { skip, timeout: 120_000 }, async (t) => {
  // Port 5000 is free there. Chromium takes no address of loopback.
  const net = loopback({ wan: ['192.0.2.1/24'] });
  t.after(() => net.remove());
  const said = follow('README.md', 'desk.js', 'index.html');
  assert.deepEqual(said.slice(0, 3), ['npm install linkup', 'npx linkup broker --files .', 'node desk.js']);
  const start = (command) => net.shell(command, { cwd: project, env: OFFLINE, group: true });
  const broker = start(said[1]);
  await broker.line('listening on');
  const desk = start(said[2]);
  await desk.line('The desk is open.');
  const browser = await launch('chromium', { namespace: net.name });
  try {
    const page = await browser.page('http://localhost:5000');
    await page.waitForFunction(() => document.body.textContent.includes('Hello, page!'));
    await desk.line('page: Is anybody there?');
    const seconds = (performance.now() - installing) / 1000;
    console.log(`from npm install to the first message: ${seconds.toFixed(1)} s`);
  } finally {
    await browser.close();
    await Promise.all([desk.kill(), broker.kill()]);
  }
});

test('the guide’s page that sends a file', { skip, timeout: 120_000 }, async () => {
  follow('docs/guide.md', 'send.html');
  const content = Buffer.alloc(1_000_000, 'holiday');
  const file = path.join(folder, 'holiday.bin');
  fs.writeFileSync(file, content);
  const broker = await linkup.createBroker({ port: 0, host: 'localhost', files: project }).ready;
  const bob = linkup.createPeer('bob', { brokerUrl: broker.url });
  await once(bob, 'register');
  const received = new Promise((resolve) => {
    bob.on('connection', (connection) =>
      connection.on('stream', async (stream) => resolve([stream.name, Buffer.concat(await stream.toArray())])),
    );
  });
  const browser = await launch('chromium');
  try {
    const page = await browser.page(`${broker.url.replace('ws:', 'http:')}/send.html`);
    await (await page.$('input')).uploadFile(file);
    const [name, bytes] = await within(received, 60_000, 'the file');
    assert.equal(name, 'holiday.bin');
    assert.ok(bytes.equals(content));
    await page.waitForFunction(() => document.body.textContent.includes('holiday.bin is there'));
    await bob.close();
  } finally {
    await browser.close();
    await broker.close();
  }
});

test('where the platform’s package is missing, one sentence says so', () => {
  const moved = [path.join(project, 'node_modules', `linkup-${target()}`), path.join(folder, 'moved')];
  fs.renameSync(...moved);
  try {
    const say =
      'try { require("linkup") } catch ({ message, cause }) { console.log(message); if (!cause) process.exit(1); }';
    const said = node('-e', say);
    assert.match(said, new RegExp(`^[^\\n]*install the package linkup-${target()}, [^\\n]*$`));
  } finally {
    fs.renameSync(...moved.reverse());
  }
});
