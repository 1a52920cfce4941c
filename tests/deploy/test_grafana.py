"""Every panel of the dashboard asks a running server for metrics that it has."""
import json
import time

import pytest
import yaml

from manifests import ROOT, api_tests, documents, helm_text, rendered

GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "barograph.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with api_tests().Server(tmp_path_factory.mktemp("grafana") / "data", "self.interval=200ms") as server:
        server.get("/api/query", start="1h-ago", m="sum:tsd.series")
        time.sleep(1.5)  # some records of itself
        yield server


def body_of(target, seconds=3600):
    """What Grafana's OpenTSDB data source (version 2.4) makes of a panel's target."""
    query = {"metric": target["metric"], "aggregator": target["aggregator"],
             "filters": [dict(one, filter=one["filter"].replace("$host", "*")) for one in target["filters"]],
             "downsample": f"1m-{target['downsampleAggregator']}"}
    if target.get("downsampleFillPolicy", "none") != "none":
        query["downsample"] += "-" + target["downsampleFillPolicy"]
    if target.get("shouldComputeRate"):
        query["rate"] = True
        query["rateOptions"] = {"counter": target.get("isCounter", False), "dropResets": True}
        query["downsample"] = "200ms-" + target["downsampleAggregator"]  # a rate needs two points
    now = int(time.time() * 1000)
    return {"start": now - seconds * 1000, "end": now, "queries": [query], "msResolution": True,
            "globalAnnotations": True}


def test_every_metric_of_the_dashboard_is_one_the_server_records(server):
    known = set(server.get("/api/suggest", type="metrics", max=10000).json())
    used = {target["metric"] for panel in PANELS for target in panel["targets"]}
    assert used - known == set()
    assert len(used) > 40


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_target_of_a_panel_is_answered_with_points(server, panel):
    for target in panel["targets"]:
        reply = server.post("/api/query", body_of(target))
        assert reply.status == 200, reply
        assert reply.json() and all(one["dps"] for one in reply.json()), target["metric"]


def test_the_list_of_hosts_is_answered(server):
    variable = next(one for one in DASHBOARD["templating"]["list"] if one["name"] == "host")
    assert variable["query"] == "tag_values(tsd.process.uptime_seconds, host)"
    reply = server.get("/api/search/lookup", m="tsd.process.uptime_seconds{host=*}", limit=1000)
    assert reply.status == 200 and len(reply.json()["results"]) == 1


def test_panels_have_their_own_place_and_number():
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_the_data_source_is_grafana_s_own_and_leads_to_the_service():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/barograph.yaml").read_text())["datasources"]
    assert source["type"] == "opentsdb" and source["jsonData"]["tsdbVersion"] == 4
    assert source["url"] == "http://barograph.barograph.svc:4242"
    (board,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/barograph.yaml").read_text())["providers"]
    assert board["type"] == "file"


def test_kustomize_and_helm_carry_the_same_files():
    def config_maps(manifests):
        return {one["metadata"]["name"]: one for one in manifests
                if one["kind"] == "ConfigMap" and "grafana" in one["metadata"]["name"]}
    ours = config_maps(rendered("kustomize single with grafana"))
    charts = config_maps(documents(helm_text({"grafana": {"dashboard": True, "datasource": True}})))
    board, source = "barograph-grafana-dashboard", "barograph-grafana-datasource"
    assert json.loads(ours[board]["data"]["barograph.json"]) == DASHBOARD
    assert json.loads(charts[board]["data"]["barograph.json"]) == DASHBOARD
    assert yaml.safe_load(ours[source]["data"]["barograph-datasource.yaml"]) == \
        yaml.safe_load(charts[source]["data"]["barograph-datasource.yaml"])
    for one in (ours, charts):
        assert one[board]["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one[source]["metadata"]["labels"]["grafana_datasource"] == "1"
