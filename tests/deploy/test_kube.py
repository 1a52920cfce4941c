"""`barograph kube`: labels in, manifests out; the built program, driven from outside.

TEST_PROGRAM names another program than build/barograph.
"""
import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import re
import subprocess
import tarfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("TEST_PROGRAM", str(ROOT / "build" / "barograph"))
PREFIX = "io.barograph.cluster."


def kube(*arguments, stdin=b"", env=None, cwd=None):
    environment = {**os.environ, **(env or {})}
    result = subprocess.run([PROGRAM, "kube", *map(str, arguments)], input=stdin, capture_output=True,
                            env=environment, cwd=cwd, timeout=60)
    result.out, result.err = result.stdout.decode(), result.stderr.decode()
    return result


def dockerfile(**labels):
    """A Dockerfile with these labels; __ stands for a dot, and _ for - unless it is a key of the server."""
    def name(keyword):
        return keyword.replace("__", ".") if keyword.startswith("config__") else keyword.replace("_", "-")
    pairs = " ".join(f'{PREFIX}{name(k)}="{v}"' for k, v in labels.items())
    return f"FROM scratch\nLABEL {pairs}\n".encode()


def objects(result):
    assert result.returncode == 0 and result.err == "", result.err
    return list(yaml.safe_load_all(result.out))


def manifests(**labels):
    """kind, or kind and a number for the second and later of its kind -> object"""
    named = {}
    for item in objects(kube("-", stdin=dockerfile(**labels))):
        kind = item["kind"]
        named[kind if kind not in named else f"{kind} 2"] = item
    return named


def errors(**labels):
    result = kube("-", stdin=dockerfile(**labels))
    assert result.returncode == 1 and result.out == ""
    return result.err.splitlines()


def pod_of(named):
    workload = named.get("StatefulSet") or named["Deployment"]
    return workload["spec"]["template"]["spec"]


# ---- what is printed ----

def test_the_example_of_the_documentation_works():
    text = (ROOT / "docs" / "kube.md").read_text()
    example = re.search(r"^    FROM .*?(?=^\S)", text, re.M | re.S).group(0)
    named = {o["kind"]: o for o in objects(kube("-", stdin=re.sub("^    ", "", example, flags=re.M).encode()))}
    assert named["Namespace"]["metadata"]["name"] == "metrics"
    assert pod_of(named)["containers"][0]["resources"]["limits"]["memory"] == "2Gi"


@pytest.mark.parametrize("name", ["io.barograph.clustr.memory", "io.barograph.memory", "io.barograph", "IO.Barograph.Cluster.memory"])
def test_a_label_below_our_name_that_is_none_of_ours_is_an_error(name):
    text = f'FROM scratch\nLABEL {PREFIX}name="db" \\\n      {name}="4Gi" \\\n      io.barographs.memory="1Gi"\n'
    for result in (kube("-", stdin=text.encode()), kube("-", stdin=docker_archive({PREFIX + "name": "db", name: "4Gi"}))):
        assert result.returncode == 1 and result.out == ""
        line, = result.err.splitlines()
        assert line.startswith((f"-:3: {name}: no such label", f"-: {name}: no such label"))


def test_the_order_and_the_versions_of_objects():
    text = kube("-", stdin=dockerfile(ingress_host="tsdb.example.org", service_monitor="true"))
    assert [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in objects(text)] == [
        ("v1", "Namespace", "barograph"),
        ("v1", "ServiceAccount", "barograph"),
        ("v1", "ConfigMap", "barograph"),
        ("networking.k8s.io/v1", "NetworkPolicy", "barograph"),
        ("apps/v1", "StatefulSet", "barograph"),
        ("v1", "Service", "barograph"),
        ("v1", "Service", "barograph-headless"),
        ("policy/v1", "PodDisruptionBudget", "barograph"),
        ("networking.k8s.io/v1", "Ingress", "barograph"),
        ("monitoring.coreos.com/v1", "ServiceMonitor", "barograph")]


@pytest.mark.parametrize("storage", ["20Gi", "none"])
def test_pods_are_as_restricted_as_can_be(storage):
    named = manifests(storage=storage)
    pod = pod_of(named)
    assert pod["automountServiceAccountToken"] is False and pod["serviceAccountName"] == "barograph"
    assert named["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}}
    container, = pod["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert not any(key in pod for key in ("hostNetwork", "hostPID", "hostIPC", "enableServiceLinks"))
    assert {k: v for k, v in named["Namespace"]["metadata"]["labels"].items() if k.startswith("pod-")} == {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    for probe, path in (("startupProbe", "/ready"), ("readinessProbe", "/ready"), ("livenessProbe", "/health")):
        assert container[probe]["httpGet"] == {"path": path, "port": "tsdb"}
    assert not container["image"].endswith(":latest") and ":" in container["image"]


def test_selectors_are_found_by_labels_and_never_change():
    selector = {"app.kubernetes.io/name": "barograph", "app.kubernetes.io/instance": "db",
                "app.kubernetes.io/component": "database"}
    named = manifests(name="db", image="app:7", service_monitor="true")
    workload = named["StatefulSet"]["spec"]
    assert workload["selector"]["matchLabels"] == selector
    assert workload["template"]["metadata"]["labels"] == {
        **selector, "app.kubernetes.io/version": "7", "app.kubernetes.io/managed-by": "barograph-kube"}
    assert workload["volumeClaimTemplates"][0]["metadata"]["labels"] == selector
    assert workload["serviceName"] == named["Service 2"]["metadata"]["name"] == "db-headless"
    assert named["Service"]["spec"]["selector"] == named["Service 2"]["spec"]["selector"] == selector
    assert named["Service 2"]["spec"]["clusterIP"] == "None"
    for kind in ("NetworkPolicy", "PodDisruptionBudget"):
        spec = named[kind]["spec"]
        assert (spec.get("selector") or spec["podSelector"])["matchLabels"] == selector
    # One of the two Services is what Prometheus looks for.
    wanted = named["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
    assert [wanted <= named[s]["metadata"]["labels"].items() for s in ("Service", "Service 2")] == [True, False]


def test_a_volume_makes_a_stateful_set():
    named = manifests(storage="20Gi", storage_class="fast", memory="2Gi", cpu="1", cpu_limit="1500m")
    claim, = named["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                             "resources": {"requests": {"storage": "20Gi"}}}
    container, = pod_of(named)["containers"]
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]
    assert container["resources"] == {"requests": {"cpu": "1", "memory": "2Gi"},
                                      "limits": {"cpu": "1500m", "memory": "2Gi"}}
    assert named["ConfigMap"]["data"]["BAROGRAPH_STORE_MODE"] == "durable"
    assert named["ConfigMap"]["data"]["BAROGRAPH_STORE_DATA_DIR"] == "/data"
    assert named["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_no_volume_makes_a_deployment():
    named = manifests(storage="none")
    assert "StatefulSet" not in named
    # Two at a time would be two stores behind one address.
    assert named["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    container, = pod_of(named)["containers"]
    assert "volumeMounts" not in container and "cpu" not in container["resources"]["limits"]
    assert "BAROGRAPH_SERVER_DRAIN_DELAY" not in named["ConfigMap"]["data"]
    assert named["ConfigMap"]["data"]["BAROGRAPH_STORE_MODE"] == "memory"
    assert named["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0


def test_who_reaches_the_port():
    def peers(**labels):
        rule, = manifests(**labels)["NetworkPolicy"]["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": "tsdb"}]
        return rule.get("from")
    inside = [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"barograph.io/client": "true"}}}]
    assert peers(name="db") == inside
    assert peers(service_monitor="true")[:2] == inside and len(peers(service_monitor="true")) == 3
    assert peers(service_type="NodePort") is None and peers(service_type="LoadBalancer") is None
    assert peers(ingress_host="a.example.org") is None
    assert "NetworkPolicy" not in manifests(network_policy="false")
    assert manifests(name="db")["NetworkPolicy"]["spec"]["egress"] == []
    assert len(manifests(config__self__forward="other")["NetworkPolicy"]["spec"]["egress"]) == 1


def test_the_ingress():
    spec = manifests(ingress_host="*.example.org", ingress_class="nginx", ingress_tls="cert")["Ingress"]["spec"]
    assert spec == {
        "ingressClassName": "nginx", "tls": [{"hosts": ["*.example.org"], "secretName": "cert"}],
        "rules": [{"host": "*.example.org", "http": {"paths": [{
            "path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "barograph", "port": {"name": "tsdb"}}}}]}}]}


def test_the_port_is_the_same_everywhere():
    named = manifests(port="5000", service_type="NodePort")
    assert named["ConfigMap"]["data"]["BAROGRAPH_TSD_NETWORK_PORT"] == "5000"
    assert pod_of(named)["containers"][0]["ports"] == [{"name": "tsdb", "protocol": "TCP", "containerPort": 5000}]
    assert named["Service"]["spec"]["type"] == "NodePort"
    assert named["Service"]["spec"]["ports"] == [
        {"name": "tsdb", "protocol": "TCP", "port": 5000, "targetPort": "tsdb"}]


def test_texts_stay_texts():
    """Whatever a value looks like, YAML gives it back as the text it was."""
    for value in ("true", "1e3", "0x10", "yes", "null", "~", "a: b # c", "2001-01-01", "'", "{}", "ä", " x ", "-", ""):
        data = manifests(config__tsd__core__tag__allow_specialchars=value)["ConfigMap"]["data"]
        assert data["BAROGRAPH_TSD_CORE_TAG_ALLOW_SPECIALCHARS"] == value
        assert all(isinstance(v, str) for v in data.values())
    assert manifests(name="yes")["Service"]["metadata"]["name"] == "yes"


def test_the_server_starts_with_the_environment_of_the_config_map(tmp_path):
    """The keys and values of the ConfigMap are what the server takes."""
    data = manifests(retention="tmp.*:7d,*:1y", config__store__shards="2", config__log__level="debug",
                     config__tsd__core__auto_create_metrics="false")["ConfigMap"]["data"]
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("BAROGRAPH_")}, **data,
                   "BAROGRAPH_STORE_DATA_DIR": str(tmp_path / "data"), "BAROGRAPH_TSD_NETWORK_PORT": "0",
                   "BAROGRAPH_TSD_NETWORK_BIND": "127.0.0.1"}
    server = subprocess.Popen([PROGRAM, "serve"], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in server.stdout:
            lines.append(json.loads(line))
            if "listens on" in line:
                break
        assert "listens on" in lines[-1]["message"], lines
    finally:
        server.terminate()
        assert server.wait(60) == 0
        server.stdout.close()


def test_the_same_labels_give_the_same_text():
    text = dockerfile(name="db", storage="none")
    assert kube("-", stdin=text).out == kube("-", stdin=text).out


# ---- Dockerfiles ----

STAGES = f"""# syntax=docker/dockerfile:1
ARG TAG=1.2
FROM debian:12 AS build
LABEL {PREFIX}replicas=7
RUN <<EOF
LABEL {PREFIX}memory=1
EOF
FROM scratch AS base
LABEL {PREFIX}memory=2Gi
FROM base
ARG TAG
ARG SIZE=20
LABEL {PREFIX}image=app:$TAG \\
      # the volume
      {PREFIX}storage="${{SIZE}}Gi" {PREFIX}name='db'
"""


def test_stages_arguments_and_continuations(tmp_path):
    (tmp_path / "Dockerfile").write_text(STAGES)
    named = {o["kind"]: o for o in objects(kube("Dockerfile", cwd=tmp_path))}
    container, = pod_of(named)["containers"]
    assert container["image"] == "app:1.2" and container["resources"]["limits"]["memory"] == "2Gi"
    claim, = named["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert named["StatefulSet"]["metadata"]["name"] == "db"


def test_build_arguments():
    text = STAGES.encode()
    assert 'image: "app:3"' in kube("--build-arg", "TAG=3", "-", stdin=text).out
    assert 'image: "app:4"' in kube("--build-arg=TAG", "-", stdin=text, env={"TAG": "4"}).out
    assert 'image: "app:1.2"' in kube("--build-arg=TAG", "-", stdin=text).out
    result = kube("--build-arg", "TAGG=3", "-", stdin=text)
    assert result.returncode == 0
    assert result.err == "barograph: warning: --build-arg TAGG: - has no ARG of that name\n"


def test_the_image_option_takes_the_place_of_the_label():
    assert 'image: "other:5"' in kube("-", "--image", "other:5", stdin=STAGES.encode()).out


def test_all_mistakes_are_listed_with_file_and_line(tmp_path):
    (tmp_path / "Bad").write_text(f"FROM scratch\nLABEL {PREFIX}replicas=3 \\\n  {PREFIX}nmae=x\n"
                                  f"LABEL {PREFIX}port=80 {PREFIX}config.store.shards=0\n"
                                  f"LABEL {PREFIX}config.hbase.x=1 {PREFIX}config.tsd.network.port=1\n"
                                  f"LABEL {PREFIX}cpu=$NONE {PREFIX}image=app\n")
    result = kube("Bad", cwd=tmp_path)
    assert result.returncode == 1 and result.out == ""
    assert [re.match(r"(Bad:\d+): io\.barograph\.cluster\.(\S+): .", line).groups()
            for line in result.err.splitlines()] == [
        ("Bad:2", "replicas"), ("Bad:3", "nmae"), ("Bad:4", "port"), ("Bad:4", "config.store.shards"),
        ("Bad:5", "config.hbase.x"), ("Bad:5", "config.tsd.network.port"), ("Bad:6", "cpu"), ("Bad:6", "image")]


@pytest.mark.parametrize("labels, message", [
    ({"storage": "none", "storage_class": "fast"}, "contradicts io.barograph.cluster.storage"),
    ({"ingress_tls": "cert"}, "contradicts that there is no io.barograph.cluster.ingress-host"),
    ({"termination_grace": "12s"}, "allowed: 15s or more"),
    ({"config__server__drain": "1m"}, "allowed: 65s or more"),
    ({"memory": "64Mi", "config__query__memory_max": "1G"}, "contradicts query.memory_max"),
    ({"storage": "1Gi", "config__log__bytes_max": "1G"}, "too small for log.bytes_max"),
    ({"config__store__mode": "memory"}, "contradicts the manifests"),
    ({"config__memory__limit": "1G"}, "contradicts the manifests"),
    ({"config__log__level": "loud"}, '"loud" is not one of its values'),
    ({"config__self__forward": "a:b"}, "self.forward"),
    ({"retention": "soon"}, "is no duration with its unit"),
    ({"namespace": "kube-system"}, "belongs to the cluster"),
])
def test_contradictions_and_misfits(labels, message):
    line, = errors(**labels)
    assert message in line and line.startswith("-:")


def test_addresses_may_name_variables_of_the_pod():
    text = f"FROM scratch\nLABEL {PREFIX}config.self.forward='${{OTHER_SERVICE_HOST}}:4242'\n".encode()
    assert 'BAROGRAPH_SELF_FORWARD: "${OTHER_SERVICE_HOST}:4242"' in kube("-", stdin=text).out


def test_no_label_at_all_is_a_mistake():
    result = kube("-", stdin=b"FROM scratch\n")
    assert result.returncode == 1 and result.out == "" and "no label describes a cluster" in result.err


# ---- archives ----

def archive(files, form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, body in files:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def configuration(labels):
    return json.dumps({"architecture": "amd64", "config": {"Labels": labels}}).encode()


LABELS = {PREFIX + "name": "db", PREFIX + "memory": "2Gi", "maintainer": "x"}


def docker_archive(labels=None, tags=("app:6",), config_name="abc.json", form=tarfile.PAX_FORMAT):
    return archive([("layer.tar", random.Random(1).randbytes(100_000)), (config_name, configuration(labels or LABELS)),
                    ("manifest.json", json.dumps([{"Config": config_name, "RepoTags": list(tags),
                                                   "Layers": ["layer.tar"]}]).encode())], form)


def oci_archive(name="app:6"):
    def blob(body):
        digest = hashlib.sha256(body).hexdigest()
        return f"sha256:{digest}", (f"blobs/sha256/{digest}", body)
    config_digest, config = blob(configuration(LABELS))
    manifest_digest, manifest = blob(json.dumps({"config": {"digest": config_digest}, "layers": []}).encode())
    index = {"manifests": [{"digest": manifest_digest,
                            "annotations": {"org.opencontainers.image.ref.name": name}}]}
    return archive([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), config, manifest,
                    ("index.json", json.dumps(index).encode())])


@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("make", [
    docker_archive, oci_archive,
    lambda: docker_archive(form=tarfile.USTAR_FORMAT), lambda: docker_archive(form=tarfile.GNU_FORMAT),
    lambda: docker_archive(config_name="long/" * 40 + "config.json"),
    lambda: docker_archive(config_name="long/" * 40 + "config.json", form=tarfile.GNU_FORMAT),
], ids=["docker", "oci", "ustar", "gnu", "pax-long", "gnu-long"])
def test_archives_are_told_by_content(tmp_path, make, pack):
    path = tmp_path / "Dockerfile"
    path.write_bytes(pack(make()))
    for result in (kube(path), kube("-", stdin=path.read_bytes())):
        named = {o["kind"]: o for o in objects(result)}
        container, = pod_of(named)["containers"]
        assert container["image"] == "app:6" and container["resources"]["limits"]["memory"] == "2Gi"
        assert named["StatefulSet"]["metadata"]["name"] == "db"


def test_mistakes_in_an_archive_name_no_line():
    result = kube("-", stdin=docker_archive({PREFIX + "replicas": "3", PREFIX + "nmae": "x"}))
    assert result.returncode == 1 and result.out == ""
    assert [line.split(": ")[:2] for line in result.err.splitlines()] == [
        ["-", PREFIX + "replicas"], ["-", PREFIX + "nmae"]]


def test_an_archive_saved_as_latest_needs_a_name():
    data = docker_archive(tags=("app:latest",))
    result = kube("-", stdin=data)
    assert result.returncode == 1 and 'saved as "app:latest"' in result.err
    assert 'image: "app:7"' in kube("-", "--image=app:7", stdin=data).out
    assert 'image: "barograph:' in kube("-", stdin=docker_archive(tags=())).out


@pytest.mark.parametrize("data, message", [
    (docker_archive()[:60_000], "ends too early"),
    (gzip.compress(docker_archive())[:60_000], "ends too early"),
    (archive([("readme", b"hello")]), "neither manifest.json"),
    (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed by zstd"),
    (bytes(2000), "empty archive"),
    (b"\x7fELF" + bytes(2000), "neither a Dockerfile nor an image archive"),
    (b"", "neither a Dockerfile nor an image archive"),
    (b"kind: Pod\n", "neither a Dockerfile nor an image archive"),
    (b"FROM x\n" + b"# long\n" * 200_000, "more than 1 MiB"),
], ids=["cut", "cut-gzip", "no-image", "zstd", "zeros", "binary", "empty", "other-text", "long"])
def test_what_is_no_image_is_refused(data, message):
    result = kube("-", stdin=data)
    assert result.returncode == 1 and result.out == "" and message in result.err


# ---- use ----

@pytest.mark.parametrize("arguments, message", [
    ((), "FILE is missing"),
    (("a", "b"), 'one FILE at a time, and "b" is another'),
    (("--nonsense", "a"), "unknown option --nonsense"),
    (("a", "--image"), "--image needs a value"),
    (("a", "--image", "app:latest"), '--image: "app:latest" is another image every time'),
    (("a", "--build-arg"), "--build-arg needs a value"),
    (("a", "--build-arg", "=x"), "--build-arg needs NAME or NAME=VALUE"),
])
def test_misuse_ends_with_2(arguments, message):
    result = kube(*arguments)
    assert result.returncode == 2 and result.out == "" and message in result.err


def test_an_image_takes_no_build_arguments():
    result = kube("--build-arg", "A=1", "-", stdin=docker_archive())
    assert result.returncode == 2 and "no --build-arg" in result.err


def test_files_that_cannot_be_read(tmp_path):
    for path, message in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        result = kube(path)
        assert result.returncode == 1 and result.out == "" and message in result.err


def test_the_documentation_has_the_table_of_the_program():
    text = subprocess.run([PROGRAM, "help", "kube"], capture_output=True, text=True, check=True).stdout
    assert kube("--help").out == text
    labels = re.findall(r'^  (\S+)\n      (.+)\n      (.+); default "(.*)"$', text, re.M)
    assert len(labels) > 15
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.*) \| (.+) \|$", (ROOT / "docs" / "kube.md").read_text(), re.M)
    assert rows == [(name, allowed, f"`{default}`" if default else "", meaning)
                    for name, meaning, allowed, default in labels]
