"""Starting, draining and ending: what a supervisor and the clients see."""
import contextlib
import http.client
import signal
import socket
import threading
import time

import pytest

from conftest import Server

T = 1356998400


def fill(server, series, points):
    """Some millions of points by telnet: their log takes a moment to recover."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as s:
        for t in range(points):
            s.sendall(b"".join(b"put start.m %d %d h=h%d\n" % (T + t, t, h) for h in range(series)))
        s.sendall(b"version\nexit\n")
        while s.recv(65536):
            pass


@pytest.mark.sanitized
def test_while_it_recovers_it_is_alive_but_not_ready(tmp_path):
    settings = ("self.interval=0", "log.bytes_max=1G", "store.checkpoint_interval=1d", "log.commit_interval=10ms")
    server = Server(tmp_path / "data", *settings).start()
    fill(server, 1000, 1000)
    time.sleep(0.5)
    server.kill()
    server.start(wait=False)
    seen = set()
    early = None
    deadline = time.monotonic() + 60
    while ("ready", 200) not in seen and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            ready = server.get("/ready")
            seen.add(("ready", ready.status))
            if ready.status != 503:
                continue
            assert ready.text == "starting\n"
            seen.add(("health", server.get("/health").status))
            if early is None:
                early = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                early.sendall(b"put start.early %d 1 h=a\nversion\n" % T)
            refused = server.get("/api/version")
            if refused.status == 503:
                seen.add(("version", 503))
                assert refused.json()["error"]["message"] == "The server is starting, retry later"
                assert refused.headers["retry-after"] == "5"
    assert seen == {("ready", 503), ("ready", 200), ("health", 200), ("version", 503)}
    # What telnet said early has waited at the door.
    assert b"net.opentsdb" in early.recv(1000)
    early.close()
    assert server.query(T, T + 10, "sum:start.early")[0]["dps"] == {str(T): 1}
    assert server.query(T, T + 999, "count:start.m")[0]["dps"] == {str(T + t): 1000 for t in range(1000)}
    assert server.stop() == 0


# ---- the end ----

@pytest.mark.sanitized
def test_while_it_drains_it_works_but_is_not_ready(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "server.drain_delay=1500ms").start()
    assert server.get("/ready").status == 200
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while server.get("/ready").status == 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    ready = server.get("/ready")
    assert (ready.status, ready.text) == (503, "draining\n")
    reply = server.post("/api/put?summary", {"metric": "drain.m", "timestamp": T, "value": 1, "tags": {"h": "a"}})
    assert reply.json() == {"success": 1, "failed": 0}
    assert reply.headers["connection"].lower() == "close"
    assert server.process.wait(30) == 0
    with server:
        assert server.query(T, T + 1, "sum:drain.m")[0]["dps"] == {str(T): 1}


@pytest.mark.sanitized
def test_writers_lose_no_acknowledged_point_when_it_ends(tmp_path):
    server = Server(tmp_path / "data", "self.interval=0", "server.drain_delay=300ms").start()
    acknowledged = [[] for _ in range(4)]

    def write(number):
        i = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                point = {"metric": "drain.load", "timestamp": T + i, "value": i, "tags": {"w": f"w{number}"}}
                if server.post("/api/put", point).status == 204:
                    acknowledged[number].append(i)
                i += 1

    writers = [threading.Thread(target=write, args=(n,)) for n in range(len(acknowledged))]
    for writer in writers:
        writer.start()
    time.sleep(0.5)
    assert server.stop() == 0
    for writer in writers:
        writer.join(30)
    with server:
        for number, points in enumerate(acknowledged):
            assert len(points) > 5
            stored = server.query(T, T + 100000, f"sum:drain.load{{w=w{number}}}")[0]["dps"]
            assert {str(T + i): i for i in points}.items() <= stored.items()


# ---- telling others ----

def stat(server, metric):
    return [s for s in server.get("/api/stats").json() if s["metric"] == metric]


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.sanitized
def test_statistics_go_to_another_server_named_by_a_service_and_follow_it(tmp_path):
    watcher = Server(tmp_path / "watcher", "self.interval=0").start()
    environment = {"WATCHER_SERVICE_HOST": "localhost", "WATCHER_SERVICE_PORT": str(watcher.port),
                   "BAROGRAPH_SELF_FORWARD": "${WATCHER_SERVICE_HOST}:${WATCHER_SERVICE_PORT}"}
    with Server(tmp_path / "watched", "self.interval=100ms", env=environment) as watched:
        def recorded():
            reply = watcher.get("/api/query", start="1h-ago", m="sum:tsd.process.uptime_seconds")
            return len(reply.json()[0]["dps"]) if reply.status == 200 and reply.json() else 0

        assert wait_for(lambda: recorded() >= 2)
        assert stat(watched, "tsd.address.self_forward") == [
            {"metric": "tsd.address.self_forward", "timestamp": stat(watched, "tsd.address.self_forward")[0]["timestamp"],
             "value": "1", "tags": {"address": f"127.0.0.1:{watcher.port}", "host": socket.gethostname()}}]
        assert stat(watched, "tsd.address.tsd_network_bind")[0]["tags"]["address"] == f"127.0.0.1:{watched.port}"
        watcher.stop()
        assert wait_for(lambda: stat(watched, "tsd.address.self_forward")[0]["value"] == "0")
        time.sleep(1.2)  # a whole second without the watcher
        watcher.start()
        before = recorded()
        assert wait_for(lambda: recorded() >= before + 3)
        seconds = sorted(int(t) for t in watcher.query("1h-ago", None, "sum:tsd.process.uptime_seconds")[0]["dps"])
        assert all(b - a <= 1 for a, b in zip(seconds, seconds[1:])), "what was recorded meanwhile was kept"
        assert all(s["value"] == "0" for s in stat(watched, "tsd.forward.lines") if s["tags"]["type"] == "dropped")
    watcher.stop()


def test_an_address_that_names_no_variable_is_an_error_that_says_so(tmp_path):
    server = Server(tmp_path / "data", env={"BAROGRAPH_SELF_FORWARD": "${GRAFANA_SERVICE_HOST}"}).start(wait=False)
    assert server.process.wait(30) == 2
    assert ("environment variable BAROGRAPH_SELF_FORWARD: self.forward: the environment has no variable "
            "GRAFANA_SERVICE_HOST") in server.log()
    server.process = None
