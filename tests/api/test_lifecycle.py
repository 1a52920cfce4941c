"""Starting, draining and ending: what a supervisor and the clients see."""
import contextlib
import json
import os
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
