"""The command line: options, environment, file, exit statuses and messages."""
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from conftest import PROGRAM, ROOT, Server, free_port

T = 1356998400


def run(*arguments, env=None, timeout=30):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BAROGRAPH_")}
    environment.update(env or {})
    return subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=environment, timeout=timeout)


class Serving:
    """A server started with exactly these arguments; everything it says is in .output at the end."""

    def __init__(self, port, *arguments, env=None, cwd=None):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAROGRAPH_")}
        environment.update(env or {})
        self.port = port
        self.process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env=environment, cwd=cwd)
        self.output = None

    def __enter__(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if run("health", "127.0.0.1", str(self.port)).returncode == 0:
                return self
            time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"not ready: {self.process.communicate()[0]}")

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        self.output = self.process.communicate(timeout=60)[0]
        if kind is None:
            assert self.process.returncode == 0, self.output

    def config(self, key):
        server = Server("/nonexistent")
        server.port = self.port
        return server.get("/api/config").json()[key]


def data(tmp_path):
    return str(tmp_path / "data")


# ---- the first minute ----

@pytest.mark.parametrize("arguments, env", [
    (("--port", "{port}", "--data-dir", "{data}"), {}),
    (("--auto-metric", "--set", "tsd.network.port={port}", "--data-dir={data}"), {}),
    ((), {"BAROGRAPH_PORT": "{port}", "BAROGRAPH_DATA_DIR": "{data}"}),
])
def test_what_a_newcomer_is_told_to_try_works(tmp_path, arguments, env):
    """`./dev run` ends in this script: the commands it prints are run as they are."""
    values = {"port": str(free_port()), "data": data(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BAROGRAPH_")}
    environment.update({k: v.format(**values) for k, v in env.items()})
    process = subprocess.Popen(["sh", str(ROOT / "tools" / "run.sh"), PROGRAM, *(a.format(**values) for a in arguments)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        said = ""
        while "Stop with" not in said:
            line = process.stdout.readline()
            assert line != "", said
            said += line
        assert f"http://127.0.0.1:{values['port']}/" in said and f"in {values['data']}/" in said
        commands = re.findall(r"^  .{15} ((?:echo|curl) .*)", said, re.M)
        answers = [subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30).stdout
                   for command in commands]
        assert len(answers) == 4 and answers[0] == ""
        assert json.loads(answers[1]) == {"success": 1, "failed": 0, "errors": []}
        assert [result["tags"]["room"] for result in json.loads(answers[2])] == ["north", "south"]
        assert json.loads(answers[3])[0]["metric"] == "host.load.1m"
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_a_newcomer_whose_port_is_taken_is_told_so_and_nothing_else(make_server, tmp_path):
    other = make_server()
    result = subprocess.run(["sh", str(ROOT / "tools" / "run.sh"), PROGRAM, "--port", str(other.port), "--data-dir",
                             data(tmp_path)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "is another server running there?" in result.stdout + result.stderr
    assert "Try:" not in result.stdout


# ---- ways to say it ----

@pytest.mark.sanitized
def test_the_contract(tmp_path):
    port = free_port()
    (tmp_path / "conf").write_text("# a comment\n\ntsd.core.auto_create_metrics = false\nstore.shards=2\n")
    with Serving(port, "serve", "--port", str(port), "--bind", "127.0.0.1", "--data-dir", data(tmp_path),
                 "--config", str(tmp_path / "conf"), "--set", "store.shards=3",
                 "--set", "tsd.storage.max_tags=12") as server:
        assert server.config("tsd.network.port") == str(port)
        assert server.config("tsd.network.bind") == "127.0.0.1"
        assert server.config("tsd.core.auto_create_metrics") == "false"
        assert server.config("store.shards") == "3"
        assert server.config("tsd.storage.max_tags") == "12"
        assert (tmp_path / "data").is_dir()
    assert "listens on 127.0.0.1 port" in server.output and str(port) in server.output


def test_options_with_an_equals_sign(tmp_path):
    port = free_port()
    with Serving(port, "serve", f"--port={port}", "--bind=127.0.0.1", f"--data-dir={data(tmp_path)}",
                 "--set=store.shards=3") as server:
        assert server.config("store.shards") == "3"


def test_the_environment_file_and_flags_in_their_order(tmp_path):
    port = free_port()
    (tmp_path / "conf").write_text("store.shards = 2\nstore.window = 2h\nlog.level = debug\ntsd.mode = ro\n")
    (tmp_path / "limit").write_text("300M\n")
    env = {"BAROGRAPH_PORT": str(port), "BAROGRAPH_TSD_NETWORK_BIND": "127.0.0.1",
           "BAROGRAPH_DATA_DIR": data(tmp_path), "BAROGRAPH_STORE_SHARDS": "5", "BAROGRAPH_STORE_WINDOW": "3h",
           "BAROGRAPH_MEMORY_LIMIT_FILE": str(tmp_path / "limit"), "BAROGRAPH_TSD_MODE": "rw"}
    with Serving(port, "serve", "--config", str(tmp_path / "conf"), "--set", "store.window=4h", env=env) as server:
        assert {key: server.config(key) for key in (
            "store.shards", "store.window", "log.level", "memory.limit", "tsd.mode", "store.data_dir")} == {
            "store.shards": "5", "store.window": "4h", "log.level": "debug", "memory.limit": "300M",
            "tsd.mode": "rw", "store.data_dir": data(tmp_path)}


def test_the_environment_names_the_configuration_file_unless_a_flag_does(tmp_path):
    port = free_port()
    (tmp_path / "one").write_text("store.shards = 2\ntsd.network.bind = 127.0.0.1\n")
    (tmp_path / "two").write_text("store.shards = 3\ntsd.network.bind = 127.0.0.1\n")
    env = {"BAROGRAPH_CONFIG": str(tmp_path / "one"), "BAROGRAPH_PORT": str(port)}
    with Serving(port, "serve", "--set", "store.mode=memory", env=env) as server:
        assert server.config("store.shards") == "2"
    with Serving(port, "serve", "--set", "store.mode=memory", "--config", str(tmp_path / "two"), env=env) as server:
        assert server.config("store.shards") == "3"
    result = run("serve", env={"BAROGRAPH_CONFIG": "/no/such/file"})
    assert (result.returncode, "/no/such/file" in result.stderr) == (2, True)


def test_every_key_is_an_environment_variable(tmp_path):
    """A value no key takes: the error must name the variable, so it was looked at."""
    keys = re.findall(r"^  ([a-z][\w.]*)", run("help", "serve").stdout, re.M)
    assert len(keys) > 30
    checked = 0
    for key in keys:
        name = "BAROGRAPH_" + re.sub(r"[^A-Z0-9]", "_", key.upper())
        result = run("serve", "--data-dir", data(tmp_path), "--bind", "no-such-address", env={name: "?"})
        if result.returncode == 2:
            assert key in result.stderr, (key, result.stderr)
            checked += 1
        else:  # a text: anything goes, and the address fails
            assert result.returncode == 1, (key, result)
    assert checked > 20


def test_an_opentsdb_conf_is_accepted_as_it_is(tmp_path):
    port = free_port()
    (tmp_path / "opentsdb.conf").write_text(f"""
# --------- NETWORK ----------
tsd.network.port = {port}
tsd.network.bind = 127.0.0.1
tsd.network.tcp_no_delay = true
tsd.network.async_io = true
tsd.http.staticroot = ./staticroot
tsd.http.cachedir = /tmp/opentsdb
tsd.core.auto_create_metrics = false
tsd.core.plugin_path = /usr/share/opentsdb/plugins
tsd.storage.enable_compaction = true
tsd.storage.flush_interval = 1000
tsd.storage.hbase.data_table = tsdb
tsd.storage.hbase.zk_quorum = localhost
""")
    with Serving(port, "tsd", "--config", str(tmp_path / "opentsdb.conf"), "--data-dir", data(tmp_path)) as server:
        assert server.config("tsd.core.auto_create_metrics") == "false"
    # What has no meaning here is named: a misspelt key would look like one of these.
    ignored = re.search(r"configuration keys without a meaning here: (.*)", server.output).group(1).split(", ")
    assert ignored == ["tsd.network.async_io", "tsd.http.staticroot", "tsd.http.cachedir", "tsd.core.plugin_path",
                       "tsd.storage.enable_compaction", "tsd.storage.flush_interval",
                       "tsd.storage.hbase.data_table", "tsd.storage.hbase.zk_quorum"]


# ---- what is wrong ----

@pytest.mark.sanitized
@pytest.mark.parametrize("arguments, message", [
    (("serve", "--nonsense", "1"), "unknown option --nonsense"),
    (("serve", "--nonsense"), "--nonsense needs a value"),
    (("serve", "--port"), "--port needs a value"),
    (("serve", "--port", "http"), '"http" is not a number'),
    (("serve", "--port", "65536"), "65536 is not between 0 and 65535"),
    (("serve", "--port", "-1"), '"-1" is not a number'),
    (("serve", "stray"), 'unexpected argument "stray"'),
    (("serve", "--set", "novalue"), '--set needs KEY=VALUE, not "novalue"'),
    (("serve", "--set", "no.such.key=1"), 'unknown configuration key "no.such.key"'),
    (("serve", "--set", "store.mode=tape"), 'store.mode: "tape" is not one of its values'),
    (("serve", "--set", "memory.limit=lots"), '"lots" is not a size such as'),
    (("serve", "--set", "memory.limit=99999999999999999999"), "is not a size such as"),
    (("serve", "--set", "log.commit_interval=soon"), '"soon" is not a duration such as'),
    (("serve", "--set", "log.commit_interval=2h"), "log.commit_interval: 2h is not between"),
    (("serve", "--set", "tsd.core.auto_create_metrics=perhaps"), '"perhaps" is neither true nor false'),
    (("serve", "--set", "store.shards=0"), "store.shards: 0 is not between 1 and 64"),
    (("serve", "--set", "http.body_bytes_max=0"), "http.body_bytes_max: 0 is not between 1 and 4294967295"),
    (("serve", "--set", "memory.limit=10M"), "memory.limit: 10M is not between 16777216 and "),
    (("serve", "--set", "tsd.core.socket.timeout=99999999999"), "tsd.core.socket.timeout: 99999999999 is not between"),
    (("serve", "--set", "server.drain=999999d"), "server.drain: 999999d is not between 0 and 86400000"),
    (("serve", "--set", "tsd.query.timeout=9999999999999999"), "tsd.query.timeout: 9999999999999999 is not between"),
    (("serve", "--set", "tsd.http.request.cors_domains=*,a.org"), '"*" must stand alone'),
    (("serve", "--config", "/no/such/file"), "/no/such/file"),
    (("nonsense",), 'unknown command "nonsense"'),
])
def test_what_is_wrong_is_said_and_ends_with_2(tmp_path, arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("barograph: ") and result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize("arguments, variables", [
    ((), {"BAROGRAPH_A_MISTAKE": "1", "BAROGRAPH_LOG_FORMAT": "json"}),
    (("--set", "log.format=json", "--set", "no.such=1"), {}),
    (("--port", "x"), {"BAROGRAPH_LOG_FORMAT": "json"}),
])
def test_what_is_wrong_is_said_in_json_where_the_log_is(arguments, variables):
    result = run("serve", *arguments, env=variables)
    assert (result.returncode, result.stderr) == (2, "")
    event = json.loads(result.stdout)
    assert set(event) == {"time", "level", "part", "message"} and event["level"] == "error"
    assert event["message"].startswith("cannot start: ")


def test_retention_that_is_wrong_is_named(tmp_path):
    for text in ("*", "*:soon", "*:0d", ":7d"):
        result = run("serve", "--port", str(free_port()), "--bind", "127.0.0.1", "--data-dir", data(tmp_path),
                     "--set", f"store.retention={text}", timeout=10)
        assert result.returncode in (1, 2) and "store.retention" in result.stdout + result.stderr, result


def test_errors_in_a_file_name_the_line(tmp_path):
    conf = tmp_path / "conf"
    conf.write_text("store.shards = 2\n\n# fine\nstore.shards = many\n")
    result = run("serve", "--config", str(conf))
    assert result.returncode == 2
    assert f"{conf} line 4" in result.stderr and '"many" is not a number' in result.stderr


def test_a_misspelt_variable_is_an_error():
    result = run("serve", env={"BAROGRAPH_MEMORY_LIMITS": "1G"})
    assert result.returncode == 2
    assert "BAROGRAPH_MEMORY_LIMITS" in result.stderr


def test_a_port_in_use_is_named(make_server, tmp_path):
    server = make_server()
    result = run("serve", "--port", str(server.port), "--bind", "127.0.0.1", "--data-dir", str(tmp_path / "other"))
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {server.port}: Address already in use" in result.stdout + result.stderr
    assert server.get("/api/version").status == 200


def test_an_address_that_is_not_ours_is_named(tmp_path):
    result = run("serve", "--port", str(free_port()), "--bind", "192.0.2.1", "--data-dir", data(tmp_path))
    assert result.returncode == 1
    assert "cannot listen on 192.0.2.1" in result.stdout + result.stderr


# ---- the other commands ----

def test_without_a_command_the_usage_is_shown():
    result = run()
    assert result.returncode == 2
    assert all(word in result.stdout + result.stderr for word in ("serve", "health", "version", "help"))


@pytest.mark.parametrize("arguments", [("help",), ("--help",), ("-h",)])
def test_help(arguments):
    result = run(*arguments)
    assert result.returncode == 0 and "usage: barograph COMMAND" in result.stdout


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_version(arguments):
    result = run(*arguments)
    assert result.returncode == 0
    assert re.fullmatch(r"barograph \d+\.\d+\.\d+ \(revision .+, .+\)\n", result.stdout), result.stdout


def test_help_serve_lists_every_key():
    """Every key of the table in the header, with its default, and no other."""
    table = (ROOT / "src" / "server" / "config.h").read_text()
    keys = re.findall(r'X\([A-Z_]+, "([^"]+)"', table)
    assert len(keys) > 30
    for arguments in (("help", "serve"), ("serve", "--help"), ("serve", "-h")):
        result = run(*arguments)
        assert result.returncode == 0
        assert re.findall(r"^  ([a-z][\w.]*)", result.stdout, re.M) == keys
        assert result.stdout.count('; default "') == len(keys)


def test_health(make_server):
    server = make_server()
    assert run("health", "127.0.0.1", str(server.port)).returncode == 0
    assert run("health", env={"BAROGRAPH_PORT": str(server.port)}).returncode == 0
    assert run("health", env={"BAROGRAPH_TSD_NETWORK_PORT": str(server.port),
                              "BAROGRAPH_PORT": "tcp://10.0.0.1:4242"}).returncode == 0
    beside_a_service = run("health", env={"BAROGRAPH_PORT": "tcp://10.0.0.1:4242"})
    assert beside_a_service.returncode == 1 or "200" in beside_a_service.stdout
    server.kill()
    result = run("health", "127.0.0.1", str(server.port))
    assert result.returncode == 1 and result.stderr.startswith("barograph: ")
    assert run("health", "127.0.0.1", "0").returncode == 2


# ---- start and end ----

@pytest.mark.sanitized
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_server_with_0(tmp_path, number):
    server = Server(tmp_path / "data", "self.interval=0").start()
    server.put([("kept.m", T, 1, {"h": "a"})])
    server.process.send_signal(number)
    assert server.process.wait(30) == 0
    assert server.log().rstrip().endswith("stopped")
    with server:
        assert server.query(T, T + 1, "sum:kept.m")[0]["dps"] == {str(T): 1}


def test_a_signal_during_the_start_ends_it_too(tmp_path):
    for delay in (0.0, 0.005, 0.01, 0.02, 0.05):
        server = Server(tmp_path / "data", "self.interval=0").start(wait=False)
        time.sleep(delay)
        server.process.send_signal(signal.SIGTERM)
        # Until its signals are set up a process dies of them, as any does.
        assert server.process.wait(30) in (0, -signal.SIGTERM), server.log()
    with server:
        assert server.get("/api/version").status == 200


@pytest.mark.sanitized
def test_memory_mode_leaves_nothing_on_disk(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "store.mode=memory").start()
    server.put([("volatile.m", T + i, i, {"h": "a"}) for i in range(5000)])
    assert len(server.query(T, T + 5000, "sum:volatile.m")[0]["dps"]) == 5000
    assert not (tmp_path / "data").exists()
    assert server.stop() == 0
    with server:
        assert server.get("/api/query", start=T, m="sum:volatile.m").status == 400


def test_port_0_takes_any(tmp_path):
    server = subprocess.Popen([PROGRAM, "serve", "--port", "0", "--bind", "127.0.0.1", "--data-dir", data(tmp_path)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in server.stdout:
            found = re.search(r"listens on 127\.0\.0\.1 port (\d+)", line)
            if found:
                break
        assert int(found.group(1)) > 0
        with socket.create_connection(("127.0.0.1", int(found.group(1))), timeout=10) as s:
            s.sendall(b"version\n")
            assert s.recv(100) != b""
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.stdout.close()


def test_the_report_as_json(tmp_path):
    port = free_port()
    with Serving(port, "serve", "--port", str(port), "--bind", "127.0.0.1", "--data-dir", data(tmp_path),
                 "--set", "log.format=json") as server:
        pass
    lines = [json.loads(line) for line in server.output.splitlines()]
    assert len(lines) >= 3
    assert all({"level", "message"} <= set(line) for line in lines), lines


def test_it_records_itself(tmp_path):
    with Server(tmp_path / "data", "self.interval=100ms") as server:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            names = server.get("/api/suggest", type="metrics", max=1000).json()
            if any(name.startswith("tsd.") for name in names) and len(names) > 10:
                break
            time.sleep(0.1)
        assert any(name.startswith("tsd.") for name in names), names
        reply = server.get("/api/query", start="1m-ago", m=f"sum:{names[0]}")
        assert reply.status == 200 and reply.json()[0]["dps"]


def test_the_data_directory_is_made_with_its_parents_and_private(tmp_path):
    port = free_port()
    directory = tmp_path / "a" / "b" / "data"
    with Serving(port, "serve", "--port", str(port), "--bind", "127.0.0.1", "--data-dir", str(directory)):
        modes = {p: p.stat().st_mode & 0o007 for p in [directory, *directory.rglob("*")]}
    assert len(modes) > 3 and not any(modes.values()), modes


def test_a_store_keeps_its_shards_and_says_so(tmp_path):
    with Server(tmp_path / "data", "self.interval=0", "store.shards=2"):
        pass
    with Server(tmp_path / "data", "self.interval=0", "store.shards=8") as server:
        assert "keeps the 2 shards it was made with; 8 are configured" in server.log()
