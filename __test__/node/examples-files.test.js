'use strict';
// examples/file-drop between processes: what arrives is what was sent, under a name that does no harm.

const assert = require('node:assert/strict');
const { createHash, randomBytes } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const { safeName } = require('../../examples/file-drop/safe-name');
const { commandOf, loopback, scriptArgs } = require('./helpers');

const SEND = 'examples/file-drop/send.js';
const RECEIVE = 'examples/file-drop/receive.js';

let net;
let folder;
let inbox;
let bob;
before(async () => {
  net = loopback();
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-files-'));
  inbox = path.join(folder, 'inbox');
  const [file, me] = commandOf(RECEIVE);
  bob = net.run([file, me, inbox, 'alice', 'mallory']);
  await bob.line('bob is waiting');
});
after(async () => {
  await bob.kill();
  net.remove();
  fs.rmSync(folder, { recursive: true });
});

const hash = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

/** A file to send. */
function make(name, content) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  return file;
}

/** Runs send.js as its first line says, with other files, until it has ended. */
async function send(me, ...files) {
  const [program, , other] = commandOf(SEND);
  return net.run([program, me, other, ...files]).exited;
}

test('files arrive, large and empty, and a name that is taken takes nothing away', async () => {
  const large = make('photo.jpg', randomBytes(3_000_000));
  const empty = make('nothing', '');
  const { code, output } = await send('alice', large, empty, large);
  assert.equal(code, 0, output);
  // It ends only when the receiver has said that it has them.
  assert.equal(hash(path.join(inbox, 'photo.jpg')), hash(large));
  assert.equal(hash(path.join(inbox, 'photo (1).jpg')), hash(large));
  assert.equal(fs.readFileSync(path.join(inbox, 'nothing')).length, 0);
  await bob.line('photo (1).jpg, 3000000 bytes, from alice');
});

test('who is not meant to send is refused', async () => {
  const { code, output } = await send('eve', make('from-eve', 'x'));
  assert.equal(code, 1);
  assert.match(output, /not allowed/);
  assert.equal(fs.existsSync(path.join(inbox, 'from-eve')), false);
});

test('a hostile sender writes nowhere else, and leaves nothing behind where it lies about the size', async () => {
  const before = fs.readdirSync(inbox);
  const mallory = net.run(
    scriptArgs(`
      const peer = linkup.createPeer('mallory');
      const offer = async (meta, content, name = 'file') => {
        const stream = connection.createStream(name, meta);
        const answer = new Promise((resolve) => {
          stream.on('error', (error) => resolve(error.message));
          stream.on('end', () => resolve('taken'));
        });
        stream.resume();
        stream.end(content);
        console.log(JSON.stringify([meta, await answer]));
      };
      let connection;
      peer.connect('bob').then(async (made) => {
        connection = made;
        await offer({ name: '../../escaped', size: 3 }, 'out');
        await offer({ name: 'more', size: 3 }, 'more');
        await offer({ name: 'less', size: 9 }, 'less');
        await offer({ name: 'huge', size: 1e15 }, '');
        await offer({ name: { length: 1 }, size: 1 }, '');
        await offer(undefined, '');
        await offer({ name: 'other', size: 0 }, '', 'no file');
        await peer.close();
      });
    `),
  );
  const { output } = await mallory.exited;
  const answers = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line)[1]);
  assert.deepEqual(answers, [
    'taken',
    'more than the 3 bytes that were announced',
    'only 4 of 9 bytes',
    'too large',
    'this is no file',
    'this is no file',
    'this is no file',
  ]);
  assert.equal(fs.existsSync(path.join(folder, 'escaped')), false);
  assert.deepEqual(fs.readdirSync(inbox).toSorted(), [...before, 'escaped'].toSorted());
  // And the receiver goes on.
  assert.equal((await send('alice', make('afterwards', 'yes'))).code, 0);
});

test('names of strangers', () => {
  const names = {
    'photo.jpg': 'photo.jpg',
    'Ünïcode 漢字 🎉.txt': 'Ünïcode 漢字 🎉.txt',
    '../../.bashrc': 'bashrc',
    '/etc/passwd': 'passwd',
    'C:\\Windows\\win.ini': 'win.ini',
    '..': 'file',
    '': 'file',
    'folder/': 'file',
    '...': 'file',
    'a\0b\nc': 'a_b_c',
    'invoice\u202Efdp.exe': 'invoice_fdp.exe',
    'half \uD83C': 'half _',
    'what?.txt:stream': 'what_.txt_stream',
    'CON.txt': '_CON.txt',
    nul: '_nul',
    'end. . ': 'end',
    [`${'x'.repeat(16_000)}.jpg`]: `${'x'.repeat(196)}.jpg`,
    [`${'漢'.repeat(100)}.txt`]: `${'漢'.repeat(65)}.txt`,
    [`x.${'y'.repeat(300)}`]: `x.${'y'.repeat(198)}`,
  };
  for (const [given, safe] of Object.entries(names)) assert.equal(safeName(given), safe);
});
