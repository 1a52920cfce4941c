#!/bin/sh
# All tests that CI runs, in order of how much a failure tells. Every step runs even if one before it
# failed; the last line counts them.
set -u
passed=0
failed=0
names=

step() {
    name=$1
    shift
    start=$(date +%s)
    echo "==== $name"
    if "$@"; then
        passed=$((passed + 1))
        echo "---- $name: passed ($(($(date +%s) - start)) s)"
    else
        failed=$((failed + 1))
        names="$names $name"
        echo "---- $name: FAILED ($(($(date +%s) - start)) s)"
    fi
}

step build make --no-print-directory build
step lint make --no-print-directory lint
step unit make --no-print-directory unit
step api make --no-print-directory api
step deploy make --no-print-directory check-deploy
step clang make --no-print-directory check-clang
step asan-ubsan make --no-print-directory check-asan
step tsan make --no-print-directory check-tsan
step fuzz make --no-print-directory fuzz

[ -z "$names" ] || echo "failed:$names"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
