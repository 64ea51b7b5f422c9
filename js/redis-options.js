'use strict';
// createBroker's option `redis`: checked here, read by src/servers.rs. Node.js only.

const { check, checkNames, checkText } = require('./check');

const NAMES = ['url', 'prefix', 'lease'];

/** What the addon takes: undefined where the broker is alone. */
function redisOptions(redis) {
  if (redis === undefined) return undefined;
  const { url, prefix, lease } = typeof redis === 'string' || Array.isArray(redis) ? { url: redis } : named(redis);
  const urls = Array.isArray(url) ? url : [url];
  check(urls.length > 0, 'options.redis.url', 'must be a URL, or a list of them');
  for (const one of urls) checkText(one, 'options.redis.url');
  if (prefix !== undefined) checkText(prefix, 'options.redis.prefix');
  const valid = lease === undefined || (typeof lease === 'number' && lease >= 0.1 && lease <= 3600);
  check(valid, 'options.redis.lease', 'must be a number of seconds from 0.1 to 3600');
  return { urls, prefix, lease };
}

function named(redis) {
  checkNames(redis, NAMES, 'options.redis');
  return redis;
}

module.exports = { redisOptions };
