"""Real clients: collectd feeding the server, and what Grafana, tcollector, Telegraf, Bosun and
scollector send (transcripts/README tells the format)."""
import gzip
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import unavailable

T = 1356998400
TRANSCRIPTS = pathlib.Path(__file__).parent / "transcripts"


def load(server):
    server.put([("cpu.load", T + 60 * i, i, {"host": "a", "dc": "x"}) for i in range(5)])
    server.put([("cpu.load", T + 60 * i, 10 * i + 0.5, {"host": "b", "dc": "x"}) for i in range(5)])
    server.put([("net.bytes", T + 60 * i, 1000 + 600 * i, {"host": "a"}) for i in range(5)])


@pytest.fixture
def loaded(make_server):
    server = make_server()
    load(server)
    return server


# ---- transcripts ----

def mismatch(expected, got, where="$"):
    """None, or where and how the two differ."""
    if expected == "<any>":
        return None
    if type(expected) is not type(got):
        return f"{where}: expected {expected!r}, got {got!r}"
    if isinstance(expected, dict):
        expected = dict(expected)
        open_ended = expected.pop("...", False)
        if not set(expected) <= set(got) or (not open_ended and len(expected) != len(got)):
            return f"{where}: expected members {sorted(expected)}, got {sorted(got)}"
        pairs = [(expected[k], got[k], f"{where}.{k}") for k in expected]
    elif isinstance(expected, list):
        open_ended = expected[-1:] == ["..."]
        expected = expected[:-1] if open_ended else expected
        if len(got) < len(expected) or (not open_ended and len(got) != len(expected)):
            return f"{where}: expected {len(expected)} elements, got {len(got)}: {got}"
        pairs = [(e, g, f"{where}[{i}]") for i, (e, g) in enumerate(zip(expected, got))]
    else:
        return None if expected == got else f"{where}: expected {expected!r}, got {got!r}"
    return next((found for found in (mismatch(*pair) for pair in pairs) if found), None)


def test_the_comparison_of_transcripts_sees_differences():
    assert mismatch({"a": [1, "..."], "...": True}, {"a": [1, 2], "b": 0}) is None
    for expected, got in (({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": 1, "b": 2}), ({"a": 1, "...": True}, {}),
                          ([1], [1, 2]), ([1, 2, "..."], [1]), ("x", "y"), ({"a": {"b": "<any>"}}, {"a": {}})):
        assert mismatch(expected, got) is not None


def exchanges(path):
    for text in path.read_text().split("\n====\n"):
        request, reply = text.split("\n----\n")
        head, body = request.split("\n\n", 1) if "\n\n" in request else (request.rstrip("\n"), "")
        status, _, expected = reply.strip().partition("\n")
        data = body.encode()
        lines = head.split("\n")
        if "Content-Encoding: gzip" in lines:
            data = gzip.compress(data)
        if data:
            lines.append(f"Content-Length: {len(data)}")
        yield "\r\n".join(lines).encode() + b"\r\n\r\n" + data, int(status), expected


@pytest.mark.sanitized
@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.http")), ids=lambda p: p.stem)
def test_http_transcripts(loaded, path):
    count = 0
    with socket.create_connection(("127.0.0.1", loaded.port), timeout=30) as s:
        for request, status, expected in exchanges(path):
            s.sendall(request)
            response = http.client.HTTPResponse(s)
            response.begin()
            body = response.read()
            where = f"{path.name}, {request.splitlines()[0].decode()} (exchange {count + 1})"
            assert response.status == status, (where, body)
            if expected == "":
                assert body == b"", where
            else:
                assert response.getheader("Content-Type") == "application/json; charset=UTF-8", where
                assert mismatch(json.loads(expected), json.loads(body)) is None, \
                    f"{where}: {mismatch(json.loads(expected), json.loads(body))}"
            count += 1
    assert count >= 3


@pytest.mark.sanitized
@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.glob("*.telnet")), ids=lambda p: p.stem)
def test_telnet_transcripts(loaded, path):
    lines, expected = path.read_text().split("----\n")
    got = loaded.telnet(lines).decode().splitlines()
    patterns = expected.splitlines()
    assert len(got) == len(patterns), got
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, got)), got
    for line in lines.splitlines():
        if not line.startswith("put ") or any(bad in line for bad in ("not-a-number", "18446744073709551615")):
            continue
        _, metric, t, value, *tags = line.split()
        m = f"sum:{metric}{{{','.join(tags)}}}"
        number = int(value) if re.fullmatch(r"\d+", value) else float(value)
        assert loaded.query(t, int(t) + 1, m)[0]["dps"] == {t: number}


# ---- habits that a transcript cannot show ----

@pytest.mark.sanitized
def test_scollector_gets_exactly_204_for_500_compressed_points(loaded):
    """Anything else, even 200, makes it send the batch again for ever."""
    points = [{"metric": "os.cpu", "timestamp": T + i, "value": v, "tags": {"host": "sc"}}
              for i, v in enumerate([1, 2.5, "3", "4.5", 18e3] * 100)]
    reply = loaded.request("POST", "/api/put", gzip.compress(json.dumps(points).encode()), {
        "User-Agent": "Scollector/0.9.0", "Content-Type": "application/json", "Content-Encoding": "gzip"})
    assert (reply.status, reply.body) == (204, b"")
    dps = loaded.query(T, T + 500, "sum:os.cpu")[0]["dps"]
    assert list(dps.values()) == [1, 2.5, 3, 4.5, 18000.0] * 100


@pytest.mark.sanitized
def test_telegraf_tries_the_port_and_leaves(loaded):
    for _ in range(20):
        socket.create_connection(("127.0.0.1", loaded.port), timeout=10).close()
    for i in range(20):  # a connection for each flush, closed without reading
        with socket.create_connection(("127.0.0.1", loaded.port), timeout=10) as s:
            s.sendall(f"put telegraf.flush {T + i} {i} host=t3\n".encode())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        reply = loaded.get("/api/query", start=T, end=T + 60, m="sum:telegraf.flush")
        if reply.status == 200 and sum(len(r["dps"]) for r in reply.json()) == 20:
            break
        time.sleep(0.05)
    assert reply.json()[0]["dps"] == {str(T + i): i for i in range(20)}
    assert "warn" not in loaded.log() and "error" not in loaded.log(), loaded.log()


@pytest.mark.sanitized
def test_tcollector_gets_its_version_while_it_puts(loaded):
    """The reply to `version` comes although puts go on and error lines lie before it."""
    with socket.create_connection(("127.0.0.1", loaded.port), timeout=15) as s:
        for minute in range(5):
            batch = "".join(f"put tc.steady {T + minute * 60 + i} {i} host=tc3\n" for i in range(60))
            s.sendall((batch + "put tc.steady bad 1 host=tc3\nversion\n").encode())
            received = b""
            while not received.endswith(b"\n") or b"Built on" not in received:
                part = s.recv(4096)
                assert part != b"", received
                received += part
            assert received.startswith(b"put: ") and b"net.opentsdb.tools" in received
    assert len(loaded.query(T, T + 300, "sum:tc.steady")[0]["dps"]) == 300


def test_collectd_lines_have_crlf_double_spaces_and_a_space_at_the_end(loaded):
    """A full buffer of write_tsdb, cut into segments in the middle of lines; no reply is read."""
    text = "".join(f"put load.load.shortterm {T + i} 0.{i:02d} fqdn=cd  status=production deviceclass=www \r\n"
                   for i in range(1, 60)).encode()
    with socket.create_connection(("127.0.0.1", loaded.port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(text), 1428):
            s.sendall(text[at:at + 1428])
            time.sleep(0.01)
        s.sendall(b"version\r\n")
        assert s.recv(4096).startswith(b"net.opentsdb.tools")
    result = loaded.query(T, T + 60, "sum:load.load.shortterm")[0]
    assert result["tags"] == {"fqdn": "cd", "status": "production", "deviceclass": "www"}
    assert result["dps"] == {str(T + i): float(f"0.{i:02d}") for i in range(1, 60)}


# ---- collectd itself ----

COLLECTD = shutil.which("collectd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
COLLECTD_CONF = """
Hostname "cd.example.org"
FQDNLookup false
Interval 1
WriteThreads 1
BaseDir "{directory}"
PIDFile "{directory}/pid"
TypesDB "/usr/share/collectd/types.db"
LoadPlugin logfile
LoadPlugin load
LoadPlugin memory
LoadPlugin cpu
LoadPlugin uptime
LoadPlugin csv
LoadPlugin write_tsdb
<Plugin logfile>
  LogLevel info
  File "{directory}/log"
</Plugin>
<Plugin csv>
  DataDir "{directory}/csv"
  StoreRates false
</Plugin>
<Plugin write_tsdb>
  <Node>
    Host "127.0.0.1"
    Port "{port}"
    HostTags "status=production deviceclass=www"
    StoreRates false
  </Node>
</Plugin>
"""


def collectd_metric(plugin, kind, source, sources):
    """The name write_tsdb makes of collectd's parts."""
    plugin, _, instance = plugin.partition("-")
    kind, _, kind_instance = kind.partition("-")
    if instance and kind_instance:
        parts = [plugin, instance, kind, kind_instance]
    elif kind_instance:
        parts = [plugin, kind_instance, kind]
    else:
        parts = [plugin, *([instance] if instance else []), kind]
    return ".".join(parts + ([source] if sources > 1 else []))


def collected(directory):
    """What collectd's own files say it collected: metric -> second -> value."""
    values = {}
    for path in directory.glob("*/*/*"):
        kind = re.sub(r"-\d{4}-\d\d-\d\d$", "", path.name)
        header, *rows = path.read_text().splitlines()
        sources = header.split(",")[1:]
        for row in rows:
            t, *columns = row.split(",")
            for source, column in zip(sources, columns):
                metric = collectd_metric(path.parent.name, kind, source, len(sources))
                values.setdefault(metric, {})[str(round(float(t)))] = float(column)
    return values


def test_collectd_feeds_the_server(make_server, tmp_path):
    if COLLECTD is None:
        unavailable("collectd is not installed (./dev test installs it)")
    server = make_server()
    (tmp_path / "collectd.conf").write_text(COLLECTD_CONF.format(directory=tmp_path, port=server.port))
    collectd = subprocess.Popen([COLLECTD, "-f", "-C", str(tmp_path / "collectd.conf")])
    try:
        time.sleep(4.5)
        collectd.send_signal(signal.SIGTERM)
        assert collectd.wait(30) == 0
    finally:
        if collectd.poll() is None:
            collectd.kill()
    said = (tmp_path / "log").read_text()
    assert "write_tsdb plugin: error" not in said and "failed" not in said, said
    expected = collected(tmp_path / "csv")
    assert {"load.load.shortterm", "load.load.longterm", "memory.free.memory", "cpu.0.cpu.user",
            "uptime.uptime"} <= set(expected)
    assert all(len(points) >= 3 for points in expected.values()), expected
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        metrics = server.get("/api/suggest", type="metrics", max=1000).json()
        if metrics == sorted(expected):
            break
        time.sleep(0.1)
    assert metrics == sorted(expected)
    for metric, points in expected.items():
        answer = server.query("1h-ago", None, f"none:{metric}")
        assert [r["tags"] for r in answer] == [
            {"fqdn": "cd.example.org", "status": "production", "deviceclass": "www"}]
        assert set(answer[0]["dps"]) == set(points), metric
        for t, value in points.items():
            # Its files have six decimals.
            assert answer[0]["dps"][t] == pytest.approx(value, abs=5.1e-7, rel=1e-14), (metric, t)
    counters = server.query("1h-ago", None, "none:cpu.0.cpu.user")[0]["dps"].values()
    assert all(isinstance(value, int) for value in counters)
    # The calls of a panel on these data.
    panel = server.post("/api/query?arrays=true", {"start": int(time.time()) - 60, "end": int(time.time()) + 1, "queries": [
        {"aggregator": "sum", "metric": "load.load.shortterm", "downsample": "1s-avg", "tags": {"fqdn": "*"}}]})
    assert len(panel.json()[0]["dps"]) == len(expected["load.load.shortterm"])
    assert "warn" not in server.log() and "error" not in server.log(), server.log()
