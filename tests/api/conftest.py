"""The real server, started for a test, and small clients for its two protocols."""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TEST_PROGRAM", str(ROOT / "build" / "barograph"))
START_SECONDS = 60


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def unavailable(reason):
    """Skips a test that the machine has not got what it needs for; in CI, which must run all, it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(reason)


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        """Numbers keep their text form apart: ints are ints, and 3.0 is a float."""
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Server:
    """One server process on a free port of 127.0.0.1."""

    def __init__(self, data_dir, *settings, env=None, args=()):
        self.data_dir = pathlib.Path(data_dir)
        self.port = free_port()
        self.settings = settings
        self.env = env or {}
        self.args = args
        self.process = None
        self.log_path = self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self, wait=True):
        command = [PROGRAM, "serve", "--port", str(self.port), "--bind", "127.0.0.1", "--data-dir",
                   str(self.data_dir)]
        for setting in self.settings:
            command += ["--set", setting]
        command += self.args
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAROGRAPH_")}
        environment.update(self.env)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log()}")
            try:
                if self.get("/api/version").status == 200:
                    return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"the server does not answer:\n{self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        if self.process is not None:
            status = self.stop()
            if exception[0] is None:
                assert status == 0, f"exit status {status}:\n{self.log()}"

    # ---- HTTP ----

    def request(self, method, target, body=None, headers=None, timeout=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if isinstance(body, str):
                body = body.encode()
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            data = response.read()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, data)
        finally:
            connection.close()

    def get(self, target, **parameters):
        if parameters:
            target += "?" + urllib.parse.urlencode(parameters, doseq=True)
        return self.request("GET", target)

    def post(self, target, value, headers=None):
        body = value if isinstance(value, (str, bytes)) else json.dumps(value)
        return self.request("POST", target, body, {"Content-Type": "application/json", **(headers or {})})

    def put(self, points, flags="details"):
        """Stores points, each (metric, time, value, tags); all must be accepted."""
        for start in range(0, len(points), 5000):
            body = [dict(metric=m, timestamp=t, value=v, tags=tags)
                    for m, t, v, tags in points[start:start + 5000]]
            reply = self.post("/api/put?" + flags, body)
            assert reply.status in (200, 204), reply

    def query(self, start, end, *ms, **flags):
        """GET /api/query; must succeed."""
        parameters = [("start", start)] + ([("end", end)] if end is not None else [])
        parameters += [("m", m) for m in ms]
        parameters += [(k, "" if v is True else v) for k, v in flags.items()]
        reply = self.request("GET", "/api/query?" + urllib.parse.urlencode(parameters))
        assert reply.status == 200, reply
        return reply.json()

    # ---- telnet ----

    def telnet(self, text, read_seconds=0.0, read_until=None):
        """Sends text on a new connection, ends it, and returns everything the server says."""
        data = text if isinstance(text, bytes) else text.encode()
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), timeout=30)) as s:
            s.sendall(data)
            received = b""
            if read_until is not None:
                while read_until not in received:
                    part = s.recv(65536)
                    if not part:
                        break
                    received += part
            s.sendall(b"exit\n")
            while True:
                part = s.recv(65536)
                if not part:
                    return received
                received += part


@pytest.fixture
def make_server(tmp_path):
    """Makes servers with their own data directories; stops those still running."""
    servers = []

    def make(*settings, name=None, start=True, **options):
        server = Server(tmp_path / (name or f"data{len(servers)}"), "self.interval=0", *settings, **options)
        servers.append(server)
        return server.start() if start else server

    yield make
    for server in servers:
        if server.process is not None:
            server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all tests of a module."""
    with Server(tmp_path_factory.mktemp("server") / "data", "self.interval=0") as running:
        yield running


def gzipped(text):
    return gzip.compress(text if isinstance(text, bytes) else text.encode())
