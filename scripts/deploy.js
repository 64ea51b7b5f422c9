// `npm run deploy`: pushes what is committed to the git remote `heroku`, which builds and runs the broker.
'use strict';

const { spawnSync } = require('node:child_process');

const git = (args, stdio = ['ignore', 'pipe', 'ignore']) => spawnSync('git', args, { encoding: 'utf8', stdio });

/** Ends with a sentence that says what to do. */
function fail(why) {
  console.error(`npm run deploy: ${why}`);
  process.exit(1);
}

if (git(['rev-parse', '--verify', 'HEAD']).status !== 0) fail('there is no commit here that could be deployed');
if (git(['remote', 'get-url', 'heroku']).status !== 0) {
  fail(`there is no git remote named heroku. Once:

  heroku git:remote -a my-heroku-app
  heroku stack:set container

or, for Heroku's own builds with Node.js and Rust in place of the second:

  heroku config:set NPM_CONFIG_PRODUCTION=false
  heroku buildpacks:add https://github.com/emk/heroku-buildpack-rust
  heroku buildpacks:add heroku/nodejs`);
}
if (git(['status', '--porcelain', '--untracked-files=no']).stdout.trim()) {
  console.warn('npm run deploy: what is not committed is not deployed');
}
process.exitCode = git(['push', 'heroku', 'HEAD:main'], 'inherit').status ?? 1;
