#!/bin/sh
# The house rules that a program can check. Each finding says what to do.
set -u
build=$1
findings=0
report() {
    echo "lint: $*"
    findings=$((findings + 1))
}

# Layout: clang-format decides.
if ! command -v clang-format >/dev/null; then
    report "clang-format is not installed (./dev lint installs it)"
elif ! git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror >/dev/null 2>&1; then
    git ls-files '*.c' '*.h' | while read -r f; do
        clang-format --dry-run --Werror "$f" >/dev/null 2>&1 || echo "lint: $f: run \`make format\`"
    done
    findings=$((findings + 1))
fi

# Include ranks, banned calls, lengths, names.
python3 tools/tidy.py || findings=$((findings + 1))

# Export prefixes, read from the object files.
python3 tools/exports.py "$build" || findings=$((findings + 1))

# Every header compiles alone.
for h in $(git ls-files 'src/*.h' 'include/*.h'); do
    echo "#include \"${h#*/}\"" |
        cc -std=gnu17 -D_GNU_SOURCE -Isrc -Iinclude -I"$build/src" -Wall -Wextra -Wno-unused-parameter \
            -Wno-missing-field-initializers -Werror -fsyntax-only -xc - ||
        report "$h does not compile alone: include what it uses"
done

# Defects that clang-tidy sees in the syntax. (The path-sensitive analyser is left out: it looks at one
# file at a time and so cannot know that a function of another always returns an error.)
if [ -n "${CI:-}" ] || [ -n "${TIDY:-}" ]; then
    checks='-*,bugprone-infinite-loop,bugprone-integer-division,bugprone-misplaced-*,bugprone-posix-return,bugprone-signal-handler,bugprone-sizeof-container,bugprone-string-literal-with-embedded-nul,bugprone-suspicious-memset-usage,bugprone-suspicious-semicolon,bugprone-suspicious-string-compare,bugprone-suspicious-realloc-usage,misc-redundant-expression'
    command -v clang-tidy >/dev/null || report "clang-tidy is not installed (./dev lint installs it)"
    git ls-files 'src/*.c' | xargs -P 2 -n 8 clang-tidy --quiet -p "$build" --checks="$checks" \
        --warnings-as-errors='*' 2>/dev/null | grep -E 'warning:|error:' && report "clang-tidy: see above"
fi

[ $findings = 0 ] && echo "lint: nothing to say"
[ $findings = 0 ]
