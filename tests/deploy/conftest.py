"""Images built without a registry, a container engine of our own, and clients that stand outside.

Everything here needs root and Debian's docker.io, buildah and debootstrap. Where they are missing the tests
are skipped with the reason; in CI that is a failure.
"""
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import pytest

from needs import need, unavailable

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "images"
NAMES = ("barograph", "barograph-tools", "sensorlog")
BUILD_SECONDS = 1200
COMMAND_SECONDS = 120
WAIT_SECONDS = 60
# What every container here is run with unless a test says otherwise.
LOCKED_DOWN = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "512m",
               "--memory-swap", "512m")


def wait_for(condition, seconds=WAIT_SECONDS, what="it"):
    """Until condition() is true; returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {what}")


# ---- the engine ----

class Engine:
    """A Docker daemon with its own folders and socket, which touches neither the firewall nor any other
    daemon. Containers are reached through ports on 127.0.0.1 and reach each other on one bridge."""

    NETWORK = "barograph-test"
    BRIDGE = "barotest0"

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="baro-"))
        self.socket = f"unix://{self.folder}/sock"
        self.client = "/usr/bin/docker"  # Debian's: a newer one may not know its daemon
        self.daemon = None

    def start(self):
        (self.folder / "daemon.json").write_text("{}")
        with open(self.folder / "log", "ab") as log:
            self.daemon = subprocess.Popen(
                ["/usr/sbin/dockerd", "--config-file", self.folder / "daemon.json", "--data-root", self.folder / "data",
                 "--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid", "--host", self.socket,
                 "--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_SECONDS
        while self.run("version", check=False).returncode != 0:
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                unavailable("dockerd does not start:\n" + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        self.output("network", "create", "--opt", f"com.docker.network.bridge.name={self.BRIDGE}", self.NETWORK)
        self.forwarding("-I")

    def forwarding(self, action):
        """Lets our bridge through where the machine's firewall forwards nothing."""
        if shutil.which("iptables"):
            subprocess.run(["iptables", action, "FORWARD", "-i", self.BRIDGE, "-o", self.BRIDGE, "-j", "ACCEPT"],
                           check=False, capture_output=True, timeout=COMMAND_SECONDS)

    def stop(self):
        if self.daemon.poll() is None:
            containers = self.run("ps", "-aq", check=False).stdout.split()
            if containers:
                self.run("rm", "-fv", *containers, check=False)
            self.run("network", "rm", self.NETWORK, check=False)
            self.daemon.terminate()
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait(10)
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.folder / "exec/containerd/containerd.pid").read_text()), signal.SIGKILL)
        self.forwarding("-D")
        mounts = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(str(self.folder))), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False, timeout=COMMAND_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments, check=True, timeout=COMMAND_SECONDS, **options):
        result = subprocess.run([self.client, "--host", self.socket, *map(str, arguments)], capture_output=True,
                                text=True, timeout=timeout, **options)
        if check and result.returncode != 0:
            raise AssertionError(f"docker {' '.join(map(str, arguments))}: {result.returncode}\n"
                                 f"{result.stdout}{result.stderr}")
        return result

    def output(self, *arguments, **options):
        return self.run(*arguments, **options).stdout.strip()

    def volume(self, *options):
        return self.output("volume", "create", *options)


@dataclasses.dataclass
class Image:
    name: str
    tag: str
    archive: pathlib.Path
    identity: str
    bill: pathlib.Path


@pytest.fixture(scope="session")
def engine():
    if os.getuid() != 0:
        unavailable("containers are run by root here")
    need("dockerd")
    running = Engine()
    try:
        running.start()
        yield running
    finally:
        if running.daemon is not None:
            running.stop()


def build_images(root, *, builder, environment=(), names=NAMES):
    """tools/images.sh in a tree, without looking for a registry."""
    env = {**os.environ, "BASE": "debootstrap", "BUILDER": builder, "IMAGES": " ".join(names), **dict(environment)}
    result = subprocess.run(["sh", "tools/images.sh"], cwd=root, env=env, capture_output=True, text=True,
                            timeout=BUILD_SECONDS, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr
    version = next(line.split("'")[1] for line in (root / "meson.build").read_text().splitlines() if "version: '" in line)
    out = root / "build" / "images"
    return {name: Image(name, f"localhost/{name}:{version}", out / f"{name}.tar", (out / f"{name}.id").read_text().strip(),
                        out / f"{name}.spdx.json") for name in names}


@pytest.fixture(scope="session")
def archives():
    """All images, built by buildah without a daemon; what it compiled is kept in build/images."""
    if os.getuid() != 0:
        unavailable("the base is made by root")
    need("buildah", "debootstrap")
    OUT.mkdir(parents=True, exist_ok=True)
    storage = OUT / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{OUT}/storage"\nrunroot = "{OUT}/storage-run"\n')
    return build_images(ROOT, builder="buildah", environment={"CONTAINERS_STORAGE_CONF": str(storage)})


@pytest.fixture(scope="session")
def images(engine, archives):
    """The tags of all images, loaded into the engine: {"barograph": "localhost/barograph:0.1.0", ...}"""
    for image in archives.values():
        engine.output("load", "-qi", image.archive)
    return {name: image.tag for name, image in archives.items()}


# ---- containers ----

class Reply:
    def __init__(self, status, body):
        self.status = status
        self.body = body

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Container:
    """A running container; its port is published on 127.0.0.1."""

    def __init__(self, engine, image, *options, command=(), name=None, port=4242, locked_down=LOCKED_DOWN):
        self.engine = engine
        self.inner_port = port
        self.outer_port = None
        named = ("--name", name) if name else ()
        self.id = engine.output("run", "-d", *named, "--network", engine.NETWORK, "-p", f"127.0.0.1::{port}",
                                *locked_down, *options, image, *command)

    @property
    def port(self):
        if self.outer_port is None:
            shown = self.engine.output("port", self.id, f"{self.inner_port}/tcp")
            self.outer_port = int(shown.splitlines()[0].rsplit(":", 1)[1])
        return self.outer_port

    def state(self):
        return json.loads(self.engine.output("inspect", "-f", "{{json .State}}", self.id))

    def running(self):
        return self.state()["Running"]

    def logs(self):
        result = self.engine.run("logs", self.id)
        return result.stdout + result.stderr

    def ready(self, seconds=WAIT_SECONDS):
        def answers():
            assert self.running(), f"the container has ended: {self.state()}\n{self.logs()}"
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/ready", timeout=5).status == 200
        wait_for(answers, seconds, "the server to be ready")
        return self

    def wait(self, seconds=WAIT_SECONDS):
        """Until it has ended; its exit status."""
        wait_for(lambda: not self.running(), seconds, "the container to end")
        return self.state()["ExitCode"]

    def stop(self, grace=30):
        """SIGTERM, and SIGKILL after the grace period; the exit status."""
        self.engine.output("stop", "-t", grace, self.id)
        return self.state()["ExitCode"]

    def kill(self):
        self.engine.output("kill", self.id)

    def start(self):
        self.outer_port = None
        self.engine.output("start", self.id)
        return self

    def remove(self):
        self.engine.run("rm", "-fv", self.id, check=False)

    def processes(self):
        """Host process ids: the container's first process and its children."""
        first = self.state()["Pid"]
        return first, [int(p) for p in pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()]

    # ---- clients ----

    def request(self, method, target, body=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, target, body=body.encode() if isinstance(body, str) else body,
                               headers={"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return Reply(response.status, response.read())

    def get(self, target, timeout=60, **parameters):
        if parameters:
            target += "?" + urllib.parse.urlencode(parameters, doseq=True)
        return self.request("GET", target, timeout=timeout)

    def put(self, points, flags="details", timeout=60):
        """Points are (metric, time, value, tags)."""
        body = [dict(metric=m, timestamp=t, value=v, tags=tags) for m, t, v, tags in points]
        return self.request("POST", "/api/put?" + flags, json.dumps(body), timeout)

    def query(self, start, end, m):
        reply = self.get("/api/query", start=start, end=end, m=m)
        assert reply.status == 200, reply
        return reply.json()

    def telnet(self, text):
        with contextlib.closing(socket.create_connection(("127.0.0.1", self.port), timeout=30)) as s:
            s.sendall(text.encode() + b"exit\n")
            received = b""
            while part := s.recv(65536):
                received += part
            return received.decode(errors="replace")

    def metrics(self):
        """/metrics as {'name{labels}': number}."""
        lines = self.get("/metrics").text.splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and line[0] != "#"}


@pytest.fixture
def run(engine, images):
    """Starts containers of an image by its name; removes them and their nameless volumes."""
    started = []

    def start(image, *options, **more):
        container = Container(engine, images[image], *options, **more)
        started.append(container)
        return container

    yield start
    for container in started:
        container.remove()


@pytest.fixture
def volume(engine):
    """Makes volumes and removes them."""
    made = []

    def make(*options):
        made.append(engine.volume(*options))
        return made[-1]

    yield make
    for name in made:
        engine.run("volume", "rm", "-f", name, check=False)
