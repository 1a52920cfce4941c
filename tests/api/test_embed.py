"""libbarograph from outside: the example is compiled against the static and the shared library with
nothing but the public header, and run."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import PROGRAM, ROOT, Server, unavailable

BUILD = pathlib.Path(PROGRAM).resolve().parent
EXAMPLE = ROOT / "examples" / "embedded.c"
# Rooms of 24 hours; each hour's values rise by a tenth a minute, so its mean is base + 2.95.
PRINTED = ("office.temperature floor=2 room=north: 24 hours, first 20.950, last 20.950\n"
           "office.temperature floor=2 room=south: 24 hours, first 24.450, last 24.450\n")

COMPILER = os.environ.get("CC") or shutil.which("cc") or "gcc"
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}/include"]
# What the engine stands on; an application that links the archive names it.
ENGINE_LIBRARIES = ["-lxxhash", "-lzstd", "-lz", "-lpcre2-8", "-ljansson", "-lroaring", "-lm", "-pthread"]


@pytest.fixture(scope="module", autouse=True)
def libraries():
    subprocess.run(["ninja", "-C", str(BUILD), "src/embed/libbarograph.a", "src/embed/libbarograph.so.0.1.0"],
                   check=True, stdout=subprocess.DEVNULL, timeout=600)


def compile_program(source, output, *link):
    subprocess.run([COMPILER, *FLAGS, str(source), "-o", str(output), *map(str, link)], check=True, timeout=120)
    return output


def link_static():
    return [BUILD / "src/embed/libbarograph.a", *ENGINE_LIBRARIES]


def link_shared():
    directory = BUILD / "src/embed"
    return [f"-L{directory}", "-lbarograph", f"-Wl,-rpath,{directory}"]


def run(program, *arguments):
    return subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("link", [link_static, link_shared], ids=["static", "shared"])
def test_the_example_prints_the_same_twice(tmp_path, link):
    program = compile_program(EXAMPLE, tmp_path / "embedded", *link())
    for _ in range(2):
        result = run(program, tmp_path / "data")
        assert (result.returncode, result.stdout, result.stderr) == (0, PRINTED, "")
    in_memory = run(program)
    assert (in_memory.returncode, in_memory.stdout) == (0, PRINTED)


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_an_installed_library_is_found_by_pkg_config(tmp_path, static):
    root = tmp_path / "root"
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", str(root)],
                   check=True, timeout=120)
    (found,) = root.rglob("barograph.pc")
    prefix = next(parent for parent in found.parents if (parent / "include" / "barograph.h").exists())
    asked = ["pkg-config", "--cflags", "--libs", "--define-variable", f"prefix={prefix}", "barograph"]
    environment = dict(os.environ, PKG_CONFIG_PATH=str(found.parent))
    flags = subprocess.run(asked + ["--static"] * static, check=True, capture_output=True, text=True,
                           env=environment, timeout=60).stdout.split()
    if static:
        archive = found.parents[1] / "libbarograph.a"
        flags = [str(archive) if flag == "-lbarograph" else flag for flag in flags]
    program = tmp_path / "embedded"
    subprocess.run([COMPILER, *FLAGS[:-1], str(EXAMPLE), "-o", str(program), *flags,
                    f"-Wl,-rpath,{found.parents[1]}"], check=True, timeout=120)
    result = run(program)
    assert (result.returncode, result.stdout, result.stderr) == (0, PRINTED, "")


def test_what_the_library_wrote_the_server_serves(tmp_path):
    program = compile_program(EXAMPLE, tmp_path / "embedded", *link_static())
    assert run(program, tmp_path / "data").returncode == 0
    with Server(tmp_path / "data", "self.interval=0") as server:
        answer = server.query("2023/11/15", "2023/11/16", "avg:1h-avg:office.temperature{room=*}")
        assert [(r["tags"], len(r["dps"])) for r in answer] == [
            ({"floor": "2", "room": "north"}, 24), ({"floor": "2", "room": "south"}, 24)]
        refused = run(program, tmp_path / "data")
        assert refused.returncode == 1 and "in use by another process" in refused.stderr


def test_a_program_built_for_the_shared_library_needs_no_other(tmp_path):
    """Only barograph_* is exported, so that the engine's names cannot meet the application's."""
    names = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", str(BUILD / "src/embed/libbarograph.so")],
                           check=True, capture_output=True, text=True).stdout
    exported = {line.split()[0].split("@")[0] for line in names.splitlines()
                if line.split()[1] != "A"}
    functions = {"barograph_options_default", "barograph_open", "barograph_close", "barograph_series_open",
                 "barograph_put", "barograph_query", "barograph_delete"}
    assert exported == functions


def test_the_header_is_fit_for_c_plus_plus(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        unavailable("there is no C++ compiler")
    source = tmp_path / "plus.cc"
    source.write_text("""#include <barograph.h>
int main() {
    barograph_options options;
    barograph_error error;
    barograph *db = nullptr;
    barograph_options_default(&options);
    if (barograph_open(&options, &db, &error) != BAROGRAPH_OK) return 1;
    return barograph_close(db, &error) == BAROGRAPH_OK ? 0 : 1;
}
""")
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", str(source), "-o",
                    str(tmp_path / "plus"), *map(str, link_shared())], check=True, timeout=120)
    assert run(tmp_path / "plus").returncode == 0


ERRORS = r"""
#include <barograph.h>
#include <stdio.h>
#include <string.h>

#define EXPECT(condition)                                                                              \
    do {                                                                                               \
        if (!(condition)) {                                                                            \
            printf("line %d: %s (%d: %s)\n", __LINE__, #condition, error.code, error.message);         \
            return 1;                                                                                  \
        }                                                                                              \
    } while (0)

static int count(void *context, const barograph_result *result) {
    *(size_t *)context += result->count;
    return 0;
}

static int stop(void *context, const barograph_result *result) {
    (void)context;
    (void)result;
    return 1;
}

int main(int argc, char **argv) {
    barograph_options options;
    barograph_error error = {0, ""};
    barograph *db, *again;
    barograph_tag tag = {"k", "v"}, bad = {"k!", "v"}, nothing = {"k", NULL};
    barograph_series series;
    size_t found = 0;
    uint64_t deleted = 0;
    (void)argc;
    barograph_options_default(&options);
    EXPECT(barograph_open(NULL, &db, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_open(&options, NULL, &error) == BAROGRAPH_INVALID);
    options.directory = argv[1];
    EXPECT(barograph_open(&options, &db, &error) == BAROGRAPH_OK);
    EXPECT(barograph_open(&options, &again, &error) == BAROGRAPH_CONFLICT);
    EXPECT(error.code == BAROGRAPH_CONFLICT && strstr(error.message, argv[1]) != NULL);
    EXPECT(barograph_series_open(db, "m", NULL, 0, &series, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_series_open(db, NULL, &tag, 1, &series, &error) == BAROGRAPH_INVALID);
    EXPECT(strcmp(error.message, "metric is NULL") == 0);
    EXPECT(barograph_series_open(db, "m", NULL, 1, &series, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_series_open(db, "m", &nothing, 1, &series, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_put(db, NULL, 1, 0, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_put(NULL, NULL, 0, 0, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_query(db, NULL, NULL, "sum:m", count, &found, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_query(db, "1", NULL, NULL, count, &found, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_query(db, "1", NULL, "sum:m", NULL, NULL, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_delete(db, "1", NULL, NULL, &deleted, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_series_open(db, "m", &bad, 1, &series, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_series_open(db, "a b", &tag, 1, &series, NULL) == BAROGRAPH_INVALID);
    EXPECT(barograph_series_open(db, "m", &tag, 1, &series, &error) == BAROGRAPH_OK && series != 0);
    barograph_point points[3] = {{series, 0, 1000, {.integer = 41}},
                                 {series, 0, 2000, {.integer = 42}},
                                 {series, 1, 3000, {.real = 0.5}}};
    EXPECT(barograph_put(db, points, 3, BAROGRAPH_DURABLE, &error) == BAROGRAPH_OK);
    points[0].time_ms = 0;
    EXPECT(barograph_put(db, points, 1, 0, &error) == BAROGRAPH_INVALID);
    points[0].time_ms = 1000;
    points[0].series = series + 1000;
    EXPECT(barograph_put(db, points, 1, 0, &error) == BAROGRAPH_NOT_FOUND);
    EXPECT(barograph_query(db, "1", NULL, "sum:m", count, &found, &error) == BAROGRAPH_OK && found == 3);
    EXPECT(barograph_query(db, "1", NULL, "sum:m", stop, NULL, &error) == BAROGRAPH_CANCELLED);
    EXPECT(barograph_query(db, "1", NULL, "sum:unknown", count, &found, &error) == BAROGRAPH_NOT_FOUND);
    EXPECT(strstr(error.message, "unknown") != NULL);
    EXPECT(barograph_query(db, "1", NULL, "nosuch:m", count, &found, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_query(db, "tomorrow", NULL, "sum:m", count, &found, &error) == BAROGRAPH_INVALID);
    EXPECT(barograph_delete(db, "2", "3", "sum:m", &deleted, &error) == BAROGRAPH_OK && deleted == 2);
    found = 0;
    EXPECT(barograph_query(db, "1", NULL, "sum:m", count, &found, &error) == BAROGRAPH_OK && found == 1);
    EXPECT(barograph_close(db, &error) == BAROGRAPH_OK);
    EXPECT(barograph_close(NULL, &error) == BAROGRAPH_OK);
    printf("fine\n");
    return 0;
}
"""


def test_what_goes_wrong_is_said_by_code_and_text(tmp_path):
    (tmp_path / "errors.c").write_text(ERRORS)
    program = compile_program(tmp_path / "errors.c", tmp_path / "errors", *link_shared())
    result = run(program, tmp_path / "data")
    assert (result.returncode, result.stdout) == (0, "fine\n")
