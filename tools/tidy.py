#!/usr/bin/env python3
"""House rules read off the text: include ranks, banned calls, lengths, comments, leftovers.

Each finding says what to do. Exit status 1 if there is any.
"""
import pathlib
import re
import subprocess
import sys

RANK = {"base": 0, "os": 1, "model": 1, "codec": 2, "wire": 2, "medium": 3, "store": 4, "query": 5,
        "embed": 6, "kube": 6, "sql": 6, "cluster": 6, "access": 6, "server": 7, "cli": 8}
MAY_CALL_SYSTEM = {"os", "medium", "server", "cli"}
SYSTEM_HEADERS = {"unistd.h", "fcntl.h", "dirent.h", "sys/socket.h", "sys/stat.h", "sys/mman.h",
                  "sys/file.h", "sys/statvfs.h", "netinet/in.h", "arpa/inet.h", "poll.h", "netdb.h"}
BANNED = {"strcpy": "copy with a length (memcpy, snprintf)", "strcat": "use buf_str",
          "sprintf": "use snprintf", "vsprintf": "use vsnprintf", "atoi": "use strtol or number_parse_int",
          "atol": "use strtol", "gets": "use fgets", "strtok": "use str_find", "alloca": "use an arena",
          "system": "never shell out", "popen": "never shell out"}
FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100
# Flat tables and switches, and tests of a single long list.
LONG_FUNCTIONS = set()

findings = []


def say(path, line, text):
    findings.append(f"lint: {path}:{line}: {text}")


def strip_comments(text):
    """Blanks comments and string contents, keeping line numbers."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_includes(path, text):
    parts = path.parts
    if parts[0] != "src" or len(parts) < 3:
        return
    folder = parts[1]
    if folder not in RANK:
        say(path, 1, f"folder src/{folder} has no rank: add it to tools/tidy.py and ARCHITECTURE.md")
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#include\s+([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        kind, name = match.groups()
        if kind == '"':
            if name == "barograph.h":
                continue
            other = name.split("/")[0]
            if "/" not in name or other not in RANK:
                say(path, number, f'write the include from src/ ("{folder}/{name}")')
            elif other != folder and RANK[other] >= RANK[folder]:
                say(path, number, f"{folder} (rank {RANK[folder]}) may not see {other} "
                                  f"(rank {RANK[other]}): move the code down or pass a callback")
        elif name in SYSTEM_HEADERS and folder not in MAY_CALL_SYSTEM:
            say(path, number, f"<{name}> belongs to src/os: add a wrapper there")


def check_functions(path, code):
    lines = code.splitlines()
    start = name = None
    for number, line in enumerate(lines, 1):
        if line.rstrip().endswith("{") and not line.startswith((" ", "}", "#")) and "(" in " ".join(
                lines[max(0, number - 4):number]) and not re.match(r"(struct|enum|union|typedef|static const|const|extern)\b[^()]*\{?$", line):
            head = " ".join(lines[max(0, number - 4):number])
            match = re.findall(r"(\w+)\s*\(", head)
            start, name = number, match[0] if match else "?"
        elif line.startswith("}") and start is not None:
            if number - start > FUNCTION_LINES_MAX and name not in LONG_FUNCTIONS:
                say(path, start, f"function of {number - start} lines (at most {FUNCTION_LINES_MAX}): "
                                 "give its parts names")
            start = None


def check(path):
    text = path.read_text(errors="replace")
    code = strip_comments(text)
    lines = text.splitlines()
    if len(lines) > FILE_LINES_MAX:
        say(path, 1, f"{len(lines)} lines (at most {FILE_LINES_MAX}): split it by what it is about")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and "STR(" not in line and '"' not in line:
            say(path, number, f"{len(line)} columns (at most {COLUMNS_MAX})")
        if re.search(r"\b(FIXME|XXX|TODO|HACK)\b", line):
            say(path, number, "finish it or write down why not")
    for number, line in enumerate(code.splitlines(), 1):
        for match in re.finditer(r"\b(\w+)\s*\(", line):
            if match.group(1) in BANNED and path.parts[0] == "src":
                say(path, number, f"{match.group(1)}: {BANNED[match.group(1)]}")
    if re.search(r"^\s*//", re.sub(r"/\*.*?\*/", "", text, flags=re.S), flags=re.M):
        say(path, 1, "comments are /* */")
    if path.suffix == ".h" and path.parts[0] != "include" and "#pragma once" not in text:
        say(path, 1, "headers have #pragma once")
    check_includes(path, text)
    if path.parts[0] == "src":
        check_functions(path, code)


def main():
    names = subprocess.run(["git", "ls-files", "*.c", "*.h"], check=True, capture_output=True,
                           text=True).stdout.split()
    for name in names:
        path = pathlib.Path(name)
        if path.exists():
            check(path)
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
