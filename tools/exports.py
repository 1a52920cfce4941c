#!/usr/bin/env python3
"""A file foo_bar.c exports only symbols that begin with foo_ or foo_bar (read from the objects)."""
import pathlib
import re
import subprocess
import sys

# One source compiled under several names, and the entry points of programs.
EXEMPT = {"main"}


def allowed(stem, symbol):
    parts = stem.split("_")
    prefixes = ["_".join(parts[:n]) for n in range(1, len(parts) + 1)]
    return any(symbol == p or symbol.startswith(p + "_") for p in prefixes)


def main():
    build = pathlib.Path(sys.argv[1])
    archives = sorted((build / "src").glob("*/lib*.a"))
    if not archives:
        print(f"lint: there are no libraries in {build}/src to read export prefixes from: run `make build`")
        return 1
    findings = 0
    for archive in archives:
        text = subprocess.run(["nm", "--defined-only", "-g", str(archive)], capture_output=True,
                              text=True, check=True).stdout
        stem = None
        for line in text.splitlines():
            match = re.match(r"(?:.*/)?([\w-]+)\.c\.o:$", line)
            if match:
                stem = match.group(1)
                continue
            fields = line.split()
            if len(fields) < 3 or stem is None:
                continue
            symbol = fields[2]
            if symbol in EXEMPT or symbol.startswith(("_", "asan.", "__")):
                continue
            if not allowed(stem, symbol):
                print(f"lint: {archive.parent.name}/{stem}.c exports {symbol}: make it static or "
                      f"name it {stem}_...")
                findings += 1
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
