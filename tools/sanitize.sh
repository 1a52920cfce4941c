#!/bin/sh
# Builds with a sanitizer, runs the unit tests, then the API tests marked for it. "address" includes
# "undefined": they are compatible, and one build is faster than two.
set -eu
case $1 in
    address) kinds=address,undefined ;;
    *) kinds=$1 ;;
esac
build=build-$1
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$PWD/tools/tsan.supp
# With little optimisation files compile in a third of the time, and the checks are the same.
[ -f "$build/build.ninja" ] ||
    meson setup "$build" -Db_sanitize=$kinds -Db_lundef=false -Doptimization=1 >/dev/null
ninja -C "$build"
meson test -C "$build" --print-errorlogs --timeout-multiplier 4
TEST_PROGRAM=$PWD/$build/barograph ${PYTHON:-/usr/bin/python3} -m pytest -q -m sanitized tests/api
