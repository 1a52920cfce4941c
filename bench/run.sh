#!/bin/sh
# All benchmarks, as a table. Peers from Debian are installed if they are missing and can be.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build-bench}
[ -f "$build/build.ninja" ] || meson setup "$build" -Dbuildtype=release -Ddebug=true >/dev/null
ninja -C "$build" >/dev/null
if ! command -v victoria-metrics >/dev/null && [ "$(id -u)" = 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends victoria-metrics >/dev/null ||
        echo "victoria-metrics cannot be installed: no peer in the tables"
fi
scratch=$(mktemp -d "$build/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
micro() {
    echo "== $*"
    program=$build/bench/bench_$1
    shift
    "$program" "$@"
}
micro vector_scan
micro put_parse
micro log_commit "$scratch/log" 0.5
micro index
micro append "$scratch/append" 3 10000 40000 0  # integers
micro append "$scratch/append50" 3 10000 40000 50  # half of them doubles
micro library_put "$scratch/library" 3 0
micro library_put "$scratch/library50" 3 50
micro scan 4000 360
micro scan 1000 2048  # long vectors
micro query_run 4000 360 2
echo "== server and peer"
python3 bench/run.py "$build" "$@"
