#!/usr/bin/env bash
# Runs Node.js with the addon under valgrind, in workers that end in several ways: fails where memory is read, written or freed that
# is not there. Values that nobody has set are not looked for: the assembly of cryptography looks like that to valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

guests=''
for state in 'messages go both ways' 'streams go both ways' 'more than the mark waits to be sent' 'a peer is registered'; do
  for end in terminate exit natural; do
    guests+="${guests:+,}{\"state\":\"$state\",\"end\":\"$end\"}"
  done
done

# Without a compiler there is no code that changes under valgrind's feet.
exec valgrind --quiet --undef-value-errors=no --error-exitcode=9 --num-callers=30 \
  node --jitless __test__/node/guest.js "[$guests]"
