"""What the documents and alerts name exists: metrics, options, alerts, files."""
import re

import pytest
import yaml

from manifests import ROOT, VERSION, api_tests, config_keys

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """{metric: {label: values}} of a running server's /metrics."""
    found = {}
    with api_tests().Server(tmp_path_factory.mktemp("docs") / "data") as server:
        for line in server.get("/metrics").text.splitlines():
            match = re.match(r'(barograph_\w+)(?:\{(\w+)="([^"]*)"\})? ', line)
            if match:
                labels = found.setdefault(match[1], {})
                if match[2]:
                    labels.setdefault(match[2], set()).add(match[3])
    return found


def selectors(text):
    """(metric, label, value) of every selector in PromQL; label and value may be None."""
    for metric, inside in re.findall(r"(barograph_\w+)(?:\{([^}]*)\})?", text):
        matchers = re.findall(r'(\w+)=~?"([^"]*)"', inside)
        for label, value in matchers or [(None, None)]:
            for one in (value.replace("\\|", "|").split("|") if value else [None]):
                yield metric, label, one


@pytest.mark.parametrize("text", [OPERATIONS, *(rule["expr"] for rule in ALERTS)],
                         ids=["operations.md", *(rule["alert"] for rule in ALERTS)])
def test_every_metric_that_is_named_is_one_of_the_server(samples, text):
    for metric, label, value in selectors(text):
        assert metric in samples
        if label is not None:
            assert value in samples[metric][label], (metric, label)


def test_the_table_of_alerts_is_the_file_of_alerts():
    rows = re.findall(r"^\| (Barograph\w+) \|", OPERATIONS, re.M)
    assert rows == [rule["alert"] for rule in ALERTS]


def test_options_that_are_named_exist():
    known = set(config_keys())
    roots = {key.split(".")[0] for key in known}
    series = {"tsd.*"}
    for text in (OPERATIONS, SECURITY):
        for word in re.findall(r"`((?:%s)\.[a-z_.*]+)(?:=[^`]*)?`" % "|".join(roots), text):
            assert word in known | series, word


def test_files_that_are_named_exist():
    for text in (OPERATIONS, SECURITY, (ROOT / "README.md").read_text()):
        for path in re.findall(r"(?<![\w./])(?:deploy|docs)/[\w./-]*\w", text):
            assert (ROOT / path).exists(), path


def test_the_version_in_the_documents_is_the_project_s():
    for text in (OPERATIONS, (ROOT / "README.md").read_text()):
        assert set(re.findall(r"barograph:(\d+\.\d+\.\d+)", text)) == {VERSION}
