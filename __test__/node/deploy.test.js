// What is deployed: `npm run deploy`, and the files that say how the broker is run.
'use strict';

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { root } = require('./helpers');

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8');

/** Runs `body` with a folder of its own. */
function inFolder(body) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'linkup-deploy-'));
  try {
    body(folder);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('npm run deploy pushes what is committed to heroku', () => {
  inFolder((folder) => {
    const env = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
    const run = (command, args, cwd = path.join(folder, 'app')) => {
      const { status, stdout, stderr } = spawnSync(command, args, { cwd, env, encoding: 'utf8' });
      return { status, output: stdout + stderr };
    };
    const deploy = () => run(process.execPath, [path.join(root, 'scripts/deploy.js')]);
    fs.mkdirSync(path.join(folder, 'app'));
    run('git', ['init', '-q', '--bare', 'heroku.git'], folder);
    run('git', ['init', '-q', '-b', 'work']);
    assert.match(deploy().output, /no commit/);
    const identity = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    assert.equal(run('git', [...identity, 'commit', '-q', '--allow-empty', '-m', 'first']).status, 0);
    const missing = deploy();
    assert.equal(missing.status, 1);
    assert.match(missing.output, /heroku git:remote -a/);
    run('git', ['remote', 'add', 'heroku', path.join(folder, 'heroku.git')]);
    const { status, output } = deploy();
    assert.equal(status, 0, output);
    const pushed = run('git', ['rev-parse', 'main'], path.join(folder, 'heroku.git'));
    assert.equal(pushed.output, run('git', ['rev-parse', 'HEAD']).output);
  });
});

test('every option that the files name is one', () => {
  const table = read('docs/operators.md');
  const flags = ['Procfile', 'heroku.yml', 'Dockerfile', 'deploy/linkup-broker.service'].flatMap((file) =>
    [...read(file).matchAll(/(?:broker|server)\S* .*?$/gm)].flatMap(([line]) => line.match(/--[a-z-]+/g) ?? []),
  );
  const variables = ['Dockerfile', 'deploy/compose.yaml'].flatMap((file) => read(file).match(/\bLINKUP_[A-Z_]+/g));
  const keys = [...read('deploy/linkup-broker.toml').matchAll(/^([a-z-]+) =/gm)].map(([, key]) => `--${key}`);
  assert.ok(flags.length > 3 && variables.length > 3 && keys.length > 3);
  for (const flag of [...flags, ...keys]) {
    if (flag !== '--network') assert.match(table, new RegExp(`\`${flag}[ \`]`), flag);
  }
  for (const variable of variables) assert.match(table, new RegExp(`\`${variable}\``), variable);
});

test('the example of a file is read', () => {
  inFolder((folder) => {
    // It is read to its last line: what cannot be used is the certificate.
    const file = path.join(root, 'deploy/linkup-broker.toml');
    const args = [
      '-e',
      `process.exitCode = require(${JSON.stringify(root)} + '/binding.js').runBroker(process.argv.slice(1))`,
    ];
    const options = ['--config', file, '--port', '0', '--host', '127.0.0.1', '--log', 'off'];
    const { status, stderr } = spawnSync(process.execPath, [...args, '--', ...options], {
      cwd: folder,
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.match(stderr, /cannot start: cannot use .*fullchain\.pem/);
  });
});

test('what is copied into the image is there', () => {
  const scripts = [...read('Dockerfile').matchAll(/node (scripts\/\S+)/g)].map(([, file]) => file);
  const copied = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, files]) =>
    files.split(' '),
  );
  for (const file of [...scripts, ...copied]) assert.ok(fs.existsSync(path.join(root, file)), file);
  assert.match(read('Cargo.toml'), new RegExp(`rust-version = "${/rust:(\d+\.\d+)/.exec(read('Dockerfile'))[1]}"`));
});

test('nginx and systemd take their files', { skip: process.platform !== 'linux' }, (t) => {
  inFolder((folder) => {
    // The names of the brokers are those of the compose file.
    const config = read('deploy/nginx.conf')
      .replaceAll(/broker-\d:/g, '127.0.0.1:')
      .replace('http {', () =>
        ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].reduce(
          (text, kind) => `${text}\n${kind}_temp_path ${folder}/${kind};`,
          'http {\naccess_log off;',
        ),
      );
    const file = path.join(folder, 'nginx.conf');
    fs.writeFileSync(file, `error_log stderr; pid ${folder}/pid;\n${config}`);
    const nginx = spawnSync('nginx', ['-t', '-c', file], { encoding: 'utf8' });
    if (nginx.error) return t.skip(`nginx: ${nginx.error.message}`);
    assert.equal(nginx.status, 0, nginx.stderr);
  });
  const unit = path.join(root, 'deploy/linkup-broker.service');
  const systemd = spawnSync('systemd-analyze', ['verify', unit], { encoding: 'utf8' });
  if (systemd.error) return t.skip(`systemd-analyze: ${systemd.error.message}`);
  const complaints = systemd.stderr.split('\n').filter((line) => line.includes('linkup-broker.service'));
  assert.deepEqual(
    complaints.filter((line) => !/linkup-broker is not executable/.test(line)),
    [],
  );
});
