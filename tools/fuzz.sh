#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS with libFuzzer, from its seeds in tests/fuzz/seeds if any.
set -eu
build=build-fuzz
[ -f $build/build.ninja ] ||
    CC=clang meson setup $build -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Doptimization=1 >/dev/null
targets=$(sed -n "s/^ *'\([a-z_]*\)': .*/\1/p" tests/fuzz/meson.build)
# shellcheck disable=SC2046
ninja -C $build $(for t in $targets; do echo "tests/fuzz/fuzz_$t"; done)
failed=0
for t in $targets; do
    corpus=$build/corpus/$t
    mkdir -p "$corpus"
    seeds=tests/fuzz/seeds/$t
    [ -d "$seeds" ] || seeds=
    if "$build/tests/fuzz/fuzz_$t" -max_total_time="${FUZZ_SECONDS:-10}" -max_len=65536 -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix=$build/ "$corpus" $seeds >"$build/fuzz_$t.log" 2>&1; then
        echo "fuzz_$t: $(tail -n 1 "$build/fuzz_$t.log")"
    else
        failed=1
        echo "fuzz_$t FAILED:"
        tail -n 40 "$build/fuzz_$t.log"
    fi
done
exit $failed
