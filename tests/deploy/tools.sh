#!/bin/sh
# What the tests of the manifests need, below DIRECTORY (build/deploy): bin/helm, bin/kubectl and the
# wheel with the schemas. Fetched once for a state of package-lock.json and requirements.txt; versions
# and checksums are theirs.
set -eu
directory=${1:?usage: tools.sh DIRECTORY}
here=$(cd "$(dirname "$0")" && pwd)
state=$(cat "$here/package-lock.json" "$here/requirements.txt" "$0" | sha256sum | cut -d ' ' -f 1)
[ "$(cat "$directory/state" 2>/dev/null)" = "$state" ] && exit 0

# A registry may not answer the first time.
trying() {
    for pause in 5 20; do
        "$@" && return
        sleep $pause
    done
    "$@"
}

rm -rf "$directory"
mkdir -p "$directory/node" "$directory/bin"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$directory/node/"
(cd "$directory/node" && trying npm ci --silent)
${PYTHON:-python3} - "$directory" <<'END'
import pathlib, sys, zipfile
directory = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(directory.glob("node/node_modules/@aws-cdk/*/lib/layer.zip"))) as layer:
    for name in ("helm", "kubectl"):
        program = directory / "bin" / name
        program.write_bytes(layer.read(f"{name}/{name}"))
        program.chmod(0o755)
END
rm -rf "$directory/node"
trying ${PYTHON:-python3} -m pip download --quiet --no-input --disable-pip-version-check --no-deps --require-hashes \
    --requirement "$here/requirements.txt" --dest "$directory"
echo "$state" >"$directory/state"
