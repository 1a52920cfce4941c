"""The chart: what its schema refuses, what its table says, what `helm test` does."""
import json
import re
import shutil
import subprocess

import pytest
import yaml

from manifests import (CHART, EVERYTHING, VALUE_SETS, api_tests, config_keys, documents, helm,
                       helm_text, rendered)
from needs import need

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Options that the chart sets itself.
OWN_OPTIONS = {"store.mode", "store.data_dir", "tsd.network.port", "tsd.network.bind"}


def refused(tmp_path, values):
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    done = helm("template", "barograph", CHART, "--values", path)
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("values, complaint", [
    ({"replicas": 3}, "'/replicas': value must be 1"),
    ({"replica": 1}, "additional properties 'replica' not allowed"),
    ({"persistence": {"storage": "1Gi"}}, "additional properties 'storage' not allowed"),
    ({"mode": "disk"}, "'/mode': value must be one of 'durable', 'memory'"),
    ({"config": {"store.retension": "7d"}}, "invalid propertyName 'store.retension'"),
    ({"config": {"store.data_dir": "/elsewhere"}}, "invalid propertyName 'store.data_dir'"),
    ({"config": {"store.retention": ["7d"]}}, "'/config/store.retention'"),
    ({"image": {"tag": "latest"}}, "'/image/tag'"),
    ({"image": {"digest": "sha256:12"}}, "'/image/digest'"),
    ({"userId": 0}, "'/userId': minimum: got 0, want 1"),
    ({"resources": {"limits": {"memory": None}}}, "'/resources/limits': missing property 'memory'"),
    ({"resources": {"limits": {"memory": "2GB"}}}, "'/resources/limits/memory'"),
    ({"persistence": {"accessMode": "ReadWriteMany"}}, "'/persistence/accessMode'"),
    ({"terminationGracePeriodSeconds": 10}, "must be longer than server.drain_delay (0s) and server.drain (10s) together"),
    ({"config": {"server.drain_delay": "20s"}}, "must be longer than server.drain_delay (20s)"),
    ({"config": {"self.forward": "metrics:4242"}}, "self.forward needs networkPolicy.egress"),
    ({"config": {"server.drain": "45s"}}, "and server.drain (45s) together"),
    ({"secret": {"existing": "mine"}}, "secret.existing needs secret.keys"),
    ({"secret": {"existing": "mine", "keys": ["log.level"], "values": {"log.level": "info"}}},
     "exclude each other"),
    ({"secret": {"values": {"log.format": "text"}}}, "log.format is both in config and in the secret"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
])
def test_wrong_values_are_refused_with_the_reason(tmp_path, values, complaint):
    assert complaint in refused(tmp_path, values)


def test_the_schema_knows_the_server_s_options():
    assert set(SCHEMA["definitions"]["option_name"]["enum"]) == set(config_keys()) - OWN_OPTIONS


def leaves(values, schema, path=()):
    """The values that the table has a row for: what the schema lists, not what is free inside."""
    for key, value in values.items():
        properties = schema["properties"][key].get("properties")
        if properties and not (path == () and key.endswith("Probe")):
            yield from leaves(value, schema["properties"][key], path + (key,))
        else:
            yield ".".join(path + (key,)), value


def test_every_value_is_in_the_schema_and_the_other_way_round():
    def names(schema, path=()):
        for key, part in schema["properties"].items():
            if "properties" in part:
                yield from names(part, path + (key,))
            else:
                yield ".".join(path + (key,))
    without_default = {"global", "resources.requests.ephemeral-storage", "resources.limits.ephemeral-storage"}
    assert {name for name, _ in leaves(VALUES, SCHEMA)} == set(names(SCHEMA)) - without_default


def test_the_readme_s_table_is_the_values_with_their_defaults():
    rows = re.findall(r"^\| `([^`]+)` \| `(.*?)` \| .+ \|$", (CHART / "README.md").read_text(), re.M)
    assert [(name, json.loads(default)) for name, default in rows] == list(leaves(VALUES, SCHEMA))


@pytest.mark.parametrize("name", VALUE_SETS)
def test_helm_lints_the_chart(tmp_path, name):
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(VALUE_SETS[name]))
    done = helm("lint", "--strict", CHART, "--values", tmp_path / "values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_package_holds_the_dashboard(tmp_path):
    assert helm("package", CHART, "--destination", tmp_path).returncode == 0
    package = next(tmp_path.glob("barograph-*.tgz"))
    done = helm("template", "barograph", package, "--set", "grafana.dashboard=true")
    board = next(one for one in documents(done.stdout) if "dashboard" in one["metadata"]["name"])
    assert json.loads(board["data"]["barograph.json"])["title"] == "Barograph"


def test_large_numbers_and_truths_reach_the_server_as_they_are_written():
    data = next(one for one in rendered("helm everything")
                if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "barograph")["data"]
    assert data["BAROGRAPH_TSD_NETWORK_BACKLOG"] == "1048576"
    assert data["BAROGRAPH_TSD_CORE_AUTO_CREATE_METRICS"] == "false"
    assert data["BAROGRAPH_STORE_RETENTION"] == EVERYTHING["config"]["store.retention"]


def test_the_secret_s_value_stands_in_the_secret_alone():
    secret = EVERYTHING["secret"]["values"]["tsd.http.request.cors_domains"]
    assert [one["kind"] for one in rendered("helm everything") if secret in json.dumps(one)] == []


def test_the_notes_name_the_address_and_warn():
    def notes(*arguments):
        done = helm("install", "metrics", CHART, "--dry-run=client", "--namespace", "n", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]
    assert "metrics-barograph.n.svc:4242" in notes()
    assert "data-metrics-barograph-0 stays" in notes() and "WARNING" not in notes()
    assert "gone with the pod" in notes("--set", "mode=memory")
    assert "reachable from outside" in notes("--set", "service.type=LoadBalancer")


def test_helm_test_puts_a_point_and_reads_it_back(tmp_path):
    """The hook's own script, run by the shell of the tools image (busybox) against a real server."""
    busybox = shutil.which("busybox")
    need("busybox")  # the shell of the tools image
    pod = next(one for one in documents(helm_text()) if one["kind"] == "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    command = pod["spec"]["containers"][0]["command"]
    assert command[0] == "/bin/sh"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "date", "sleep", "wget"):
        (folder / name).symlink_to(busybox)

    def run(url):
        return subprocess.run([folder / "sh", *command[1:]], text=True, capture_output=True,
                              env={"PATH": str(folder), "URL": url}, timeout=120)
    server = api_tests().Server(tmp_path / "data").start()
    try:
        good = run(f"http://127.0.0.1:{server.port}")
        assert good.returncode == 0, good.stdout + good.stderr
        assert good.stdout.endswith("the point came back\n")
    finally:
        server.stop()
    assert run(f"http://127.0.0.1:{server.port}").returncode != 0
