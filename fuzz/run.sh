#!/usr/bin/env bash
# Fuzzes: bash fuzz/run.sh [SECONDS [TARGET…]]. Without a nightly toolchain the stable one is asked to do as one.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
(($#)) || set -- frame incoming signal broker turn stranger sctp
export RUSTC_BOOTSTRAP=1
# Thousands of tiny files, kept as one.
[[ -d corpus ]] || tar xzf corpus.tar.gz
for target in "$@"; do
  echo "── $target for $seconds s"
  cargo fuzz run "$target" -- -max_total_time="$seconds" -max_len=4096 -print_final_stats=1
  cargo fuzz cmin "$target" >/dev/null 2>&1
done
# Nothing of this machine or hour in it: the same corpus is the same file.
tar c --sort=name --owner=0 --group=0 --mtime=@0 corpus | gzip -9n >corpus.tar.gz
