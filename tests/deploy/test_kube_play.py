"""Rendered manifests run for real, as far as one machine goes: by `podman kube play`.

Podman plays Pods, Deployments, ConfigMaps and claims. So a StatefulSet is played as the pod and the claim
that its controller would make, a Secret as a ConfigMap, probes are left out (podman would run curl
inside), and the container's port is published on the loopback of this machine. Everything else, above all who the
server runs as and what it may write to, is what was rendered.
"""
import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import pytest
import requests
import yaml

from manifests import PROGRAM, ROOT, VERSION, api_tests, rendered, workload
from needs import need, unavailable

IMAGE = f"localhost/barograph:{VERSION}"
BUILT_IMAGE = ROOT / "build" / "images" / "barograph.tar"
NETWORK = "barograph-play"
SUBNET = "10.213.76.0/24"


class Podman:
    """A podman with storage and a network of its own, so that nothing else on the machine is touched."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'[network]\nnetwork_config_dir = "{folder}/networks"\n')
        (self.folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n')
        (self.folder / "networks").mkdir()
        self.environment = dict(os.environ, CONTAINERS_CONF=f"{folder}/containers.conf",
                                CONTAINERS_STORAGE_CONF=f"{folder}/storage.conf")

    def run(self, *command, check=True):
        done = subprocess.run(["podman", *map(str, command)], text=True, capture_output=True,
                              env=self.environment, timeout=300)
        assert not check or done.returncode == 0, f"podman {command}\n{done.stdout}{done.stderr}"
        return done

    def inspect(self, container):
        return json.loads(self.run("container", "inspect", container).stdout)[0]


def make_image(podman):
    """The image that `make images` built, or one of the program and the libraries it needs."""
    if BUILT_IMAGE.exists():
        podman.run("load", "--input", BUILT_IMAGE)
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        tree.chmod(0o755)  # it becomes the image's /
        (tree / "data").mkdir()
        os.chown(tree / "data", 65532, 65532)
        shutil.copy(PROGRAM, tree / "barograph")
        linked = subprocess.run(["ldd", PROGRAM], text=True, capture_output=True, check=True).stdout
        for word in linked.split():
            if word.startswith("/"):
                (tree / word[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, tree / word[1:])
        archive = shutil.make_archive(str(podman.folder / "image"), "tar", tree)
        podman.run("import", "--change", 'ENTRYPOINT ["/barograph"]', "--change", 'CMD ["serve"]',
                   "--change", "USER 65532:65532", "--change", "VOLUME /data", archive, IMAGE)
        os.unlink(archive)


@pytest.fixture(scope="module")
def podman():
    if os.geteuid() != 0:
        unavailable("running containers needs root here")
    need("podman", "runc")
    folder = tempfile.mkdtemp(prefix="bgplay")  # short: sockets lie below it
    podman = Podman(folder)
    try:
        podman.run("network", "create", "--disable-dns", "--subnet", SUBNET, NETWORK)
        make_image(podman)
        yield podman
    finally:
        for command in (("pod", "rm", "-fa"), ("rm", "-fa"), ("volume", "rm", "-fa"), ("rmi", "-fa"),
                        ("network", "rm", "-f", NETWORK)):
            podman.run(*command, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def publish(spec, port):
    (container,) = spec["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        del container[probe]
    container["image"] = IMAGE
    container["ports"][0] |= {"hostPort": port, "hostIP": "127.0.0.1"}
    for volume in spec.get("volumes", ()):
        if "secret" in volume:
            volume["configMap"] = {"name": volume.pop("secret")["secretName"] + "-secret", "optional": False}


def playable(manifests, port):
    """(documents, claims) for podman: what the cluster's controllers would make of the manifests."""
    owner = workload(manifests)
    publish(owner["spec"]["template"]["spec"], port)
    kept = [one for one in manifests if one["kind"] in ("ConfigMap", "Secret")]
    for secret in (one for one in kept if one["kind"] == "Secret"):  # podman 4.3 would mount it undecoded
        secret["kind"] = "ConfigMap"
        del secret["type"]
        secret["metadata"]["name"] += "-secret"
        secret["data"] = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    if owner["kind"] == "Deployment":
        return [*kept, owner], []
    name = owner["metadata"]["name"] + "-0"
    claims, spec = [], owner["spec"]["template"]["spec"]
    for template in owner["spec"]["volumeClaimTemplates"]:
        claim = f"{template['metadata']['name']}-{name}"
        spec.setdefault("volumes", []).append({
            "name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim}})
        claims.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                       "metadata": {"name": claim}, "spec": template["spec"]})
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
        "name": name, "labels": owner["spec"]["template"]["metadata"]["labels"]}}
    return [*kept, pod], claims


@contextlib.contextmanager
def played(podman, docs, port):
    path = podman.folder / "play.yaml"
    path.write_text(yaml.safe_dump_all(docs))
    try:
        podman.run("kube", "play", "--network", NETWORK, path)
        names = podman.run("ps", "--all", "--format", "{{.Names}}").stdout.split()
        (name,) = [name for name in names if name.endswith("-barograph")]
        deadline = time.monotonic() + 60
        while True:
            try:
                if requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200:
                    break
            except requests.RequestException:
                pass
            log = podman.run("logs", name, check=False)
            assert time.monotonic() < deadline, log.stdout + log.stderr
            time.sleep(0.05)
        yield name
        podman.run("stop", "--time", "30", name)
        state = podman.inspect(name)["State"]
        assert state["ExitCode"] == 0 and not state["OOMKilled"]
    finally:
        podman.run("kube", "down", path, check=False)


def put_and_query(port, value):
    point = {"metric": "played", "timestamp": int(time.time()), "value": value, "tags": {"by": "podman"}}
    reply = requests.post(f"http://127.0.0.1:{port}/api/put?details", json=point, timeout=30)
    assert reply.json() == {"success": 1, "failed": 0, "errors": []}
    assert str(value) in query(port)


def query(port):
    reply = requests.get(f"http://127.0.0.1:{port}/api/query?start=1h-ago&m=none:played%7Bby=*%7D", timeout=30)
    return reply.text


def assert_confined(podman, name):
    """As the manifest says, seen from outside: by the kernel's word about the process."""
    found = podman.inspect(name)
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    status = pathlib.Path(f"/proc/{found['State']['Pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4 and fields["Gid"].split() == ["65532"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"


def memory_limit(port):
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return next(float(line.split()[1]) for line in text.splitlines()
                if line.startswith('barograph_memory_bytes{type="limit"}'))


@pytest.mark.parametrize("renderer", ["kustomize single with secret", "helm defaults", "barograph kube"])
def test_the_durable_server_runs_confined_and_keeps_its_data(podman, renderer):
    port = api_tests().free_port()
    docs, claims = playable(rendered(renderer), port)
    podman.run("volume", "rm", "--all", "--force")
    with played(podman, docs + claims, port) as name:
        assert_confined(podman, name)
        assert 0.5 * 2**31 < memory_limit(port) <= 2**31  # from the limit of 2 GiB
        config = requests.get(f"http://127.0.0.1:{port}/api/config", timeout=30).json()
        assert config["store.mode"] == "durable" and config["store.data_dir"] == "/data"
        if "secret" in renderer:
            assert config["tsd.http.request.cors_domains"] == "https://grafana.example"
        put_and_query(port, 4711)
    with played(podman, docs, port):  # podman keeps the claim's volume, and makes none twice
        assert "4711" in query(port)
        put_and_query(port, 4712)


@pytest.mark.parametrize("renderer", ["kustomize memory", "helm memory", "barograph kube memory"])
def test_the_server_without_a_disk_runs_as_a_deployment(podman, renderer):
    port = api_tests().free_port()
    docs, claims = playable(rendered(renderer), port)
    assert claims == []
    with played(podman, docs, port) as name:
        assert_confined(podman, name)
        put_and_query(port, 4711)
    with played(podman, docs, port):
        assert "4711" not in query(port)


@contextlib.contextmanager
def docker_api(podman):
    """The address at which podman answers as Docker does."""
    address = f"unix://{podman.folder}/api"
    service = subprocess.Popen(["podman", "system", "service", "--time", "0", address], env=podman.environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (podman.folder / "api").exists():
            assert service.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield address
    finally:
        service.terminate()
        service.wait(30)


def test_the_compose_file_works_with_podman_too(podman):
    need("docker-compose")
    port = api_tests().free_port()
    with docker_api(podman) as address:
        environment = dict(podman.environment, DOCKER_HOST=address, COMPOSE_PROJECT_NAME="bgcompose", BAROGRAPH_PORT=str(port))

        def compose(*arguments):
            done = subprocess.run(["/usr/bin/docker-compose", "-f", ROOT / "deploy" / "compose.yaml", *arguments], text=True,
                                  env=environment, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        try:
            for value in (4711, 4712):
                compose("up", "-d", "--no-build")
                deadline = time.monotonic() + 60
                while True:
                    with contextlib.suppress(requests.RequestException):
                        if requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).status_code == 200:
                            break
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                assert value == 4711 or "4711" in query(port)
                assert_confined(podman, compose("ps", "-q").strip())
                assert memory_limit(port) <= 2**31
                put_and_query(port, value)
                compose("down", "-t", "20")  # and the volume stays
        finally:
            compose("down", "-v", "-t", "20")
