"""Everything the three renderers make is valid for Kubernetes, and is what we demand of it."""
import copy
import re

import pytest
import yaml

import kubernetes_schema
import policy
from manifests import (HERE, RENDERERS, VERSION, ROOT, documents, output_of, rendered, rendered_text,
                       run, tools, workload)

BROKEN = sorted((HERE / "broken").glob("*.yaml"))
# Kinds that a rendering leaves out on purpose.
OPTIONAL = {"helm nothing around it": {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"},
            "helm own secret": {"Secret"}}


@pytest.mark.parametrize("name", RENDERERS)
def test_what_is_rendered_is_valid_in_every_version_of_kubernetes(name):
    manifests = rendered(name)
    found = [f"{version} {policy.name_of(one)}: {complaint}"
             for version in kubernetes_schema.versions() for one in manifests
             for complaint in kubernetes_schema.complaints(one, version)]
    assert found == []


@pytest.mark.parametrize("name", RENDERERS)
def test_what_is_rendered_keeps_to_the_policy(name):
    assert policy.complaints(rendered(name), OPTIONAL.get(name, ())) == []


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_example_is_refused_with_the_expected_complaint(path):
    text = path.read_text()
    expected = re.match(r"# expect: (.*)", text)[1]
    try:
        found = [complaint for one in documents(text)
                 for complaint in kubernetes_schema.complaints(one, kubernetes_schema.versions()[-1])]
    except yaml.YAMLError as error:
        found = [str(error)]
    assert len(found) == 1 and re.search(expected, found[0]), found


def test_several_recent_versions_of_kubernetes_are_held_against():
    versions = kubernetes_schema.versions()
    assert versions[0] == "1.27" and len(versions) >= 10


# ---- the policy notices what it is there for ----

def pod(manifests):
    return workload(manifests)["spec"]["template"]["spec"]


def container(manifests):
    return pod(manifests)["containers"][0]


def one(manifests, kind, name=None):
    """The object of a kind; of several, the one with the name or the server's own."""
    found = [each for each in manifests if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    return next((each for each in found if "grafana" not in each["metadata"]["name"]), found[0])


def remove(manifests, kind):
    manifests.remove(one(manifests, kind))


def set_image(image):
    return lambda m: container(m).update(image=image)


DEFECTS = [
    (lambda m: pod(m)["securityContext"].update(runAsUser=0), "may run as root"),
    (lambda m: pod(m)["securityContext"].pop("runAsNonRoot"), "may run as root"),
    (lambda m: container(m)["securityContext"].update(runAsUser=0), "runs as root"),
    (lambda m: pod(m)["securityContext"].pop("seccompProfile"), "has no seccomp profile"),
    (lambda m: pod(m).pop("automountServiceAccountToken"), "mounts a service account's token"),
    (lambda m: pod(m).pop("serviceAccountName"), "uses the default service account"),
    (lambda m: pod(m).update(hostNetwork=True), "uses hostNetwork"),
    (lambda m: pod(m).update(terminationGracePeriodSeconds=10), "is killed before it has drained"),
    (lambda m: one(m, "ConfigMap")["data"].update(BAROGRAPH_SERVER_DRAIN_DELAY="25s"),
     "is killed before it has drained"),
    (lambda m: one(m, "NetworkPolicy")["spec"].update(egress=[]), "its NetworkPolicy does not let it"),
    (lambda m: pod(m).update(volumes=[{"name": "data", "hostPath": {"path": "/srv"}}]),
     "the volume data is of a kind that restricted pods may not have"),
    (lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem"), "may write to its root"),
    (lambda m: container(m)["securityContext"].pop("allowPrivilegeEscalation"), "may escalate"),
    (lambda m: container(m)["securityContext"].pop("capabilities"), "has capabilities"),
    (lambda m: container(m)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]), "has capabilities"),
    (lambda m: container(m)["securityContext"].update(privileged=True), "is privileged"),
    (set_image("barograph"), "has no tag"),
    (set_image("registry.example:5000/barograph"), "has no tag"),
    (set_image("barograph:latest"), "whatever is latest"),
    (set_image("barograph@sha256:12"), "has no proper digest"),
    (lambda m: container(m)["resources"].pop("limits"), "has no limits of memory"),
    (lambda m: container(m)["resources"]["requests"].pop("cpu"), "has no requests of cpu"),
    (lambda m: container(m)["resources"]["requests"].update(memory="1Gi"), "requests less memory"),
    (lambda m: container(m).pop("startupProbe"), "has no startup probe"),
    (lambda m: container(m).pop("livenessProbe"), "has no liveness probe"),
    (lambda m: container(m)["livenessProbe"]["httpGet"].update(path="/ready"), "does not ask /health"),
    (lambda m: container(m)["readinessProbe"]["httpGet"].update(port="http"), "does not name"),
    (lambda m: container(m).update(env=[{"name": "ADMIN_PASSWORD", "value": "x"}]), "looks like a secret"),
    (lambda m: container(m).update(env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]),
     "brings a secret into the environment"),
    (lambda m: container(m).update(env=[{"name": "BAROGRAPH_STORE_RETENSION", "value": "7d"}]),
     "is no option of the server"),
    (lambda m: container(m).update(volumeMounts=[]), "has volumes that it does not mount"),
    (lambda m: one(m, "ConfigMap")["data"].update(BAROGRAPH_STORE_DATA_DIR="/var/lib"), "does not keep its data"),
    (lambda m: workload(m)["spec"].update(replicas=3), "more than one replica"),
    (lambda m: workload(m)["spec"].update(serviceName="barograph"), "is no headless Service"),
    (lambda m: workload(m)["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"].update(
        {"app.kubernetes.io/version": VERSION}), "the claim cannot be changed"),
    (lambda m: workload(m)["spec"]["template"]["metadata"]["labels"].update(
        {"app.kubernetes.io/version": "0.0.1"}), "is not labelled with the project's version"),
    (lambda m: workload(m)["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/version": VERSION}),
     "instead of name, instance and component"),
    (lambda m: one(m, "Service", "barograph")["spec"]["selector"].update(tier="x"), "selects the pods of 0"),
    (lambda m: one(m, "Service", "barograph")["spec"]["ports"][0].update(targetPort="http"), "leads to no port"),
    (lambda m: one(m, "PodDisruptionBudget")["spec"]["selector"].update(matchLabels={"app": "other"}),
     "selects no pods"),
    (lambda m: remove(m, "PodDisruptionBudget"), "is selected by 0 objects of the kind PodDisruptionBudget"),
    (lambda m: remove(m, "NetworkPolicy"), "is selected by 0 objects of the kind NetworkPolicy"),
    (lambda m: one(m, "NetworkPolicy")["spec"].update(policyTypes=["Ingress"]), "leaves a direction open"),
    (lambda m: one(m, "NetworkPolicy")["spec"]["ingress"][0].pop("from"), "lets everybody in"),
    (lambda m: remove(m, "ServiceAccount"), "its service account barograph is not there"),
    (lambda m: one(m, "ServiceAccount").pop("automountServiceAccountToken"), "mounts its token everywhere"),
    (lambda m: one(m, "Namespace")["metadata"]["labels"].update(
        {"pod-security.kubernetes.io/enforce": "baseline"}), "does not enforce restricted"),
    (lambda m: one(m, "ConfigMap")["metadata"].pop("namespace"), "has no namespace"),
    (lambda m: one(m, "ConfigMap")["metadata"].update(name="other"), "which is not there"),
    (lambda m: one(m, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="x"),
     "leads to no port of a Service"),
    (lambda m: one(m, "ServiceMonitor")["spec"]["selector"].pop("matchExpressions"), "selects 2 Services"),
    (lambda m: one(m, "ServiceMonitor")["spec"]["endpoints"][0].update(port="web"), "does not name"),
    (lambda m: remove(m, "Secret"), "its Secret barograph"),
    (lambda m: m.append(copy.deepcopy(one(m, "Service"))), "stands twice"),
    (lambda m: m.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {
        "name": "x", "namespace": "barograph", "labels": one(m, "Service")["metadata"]["labels"]}}),
     "gives rights in the cluster"),
]


@pytest.mark.parametrize("defect, expected", DEFECTS, ids=[text for _, text in DEFECTS])
def test_the_policy_notices_a_defect(defect, expected):
    manifests = rendered("kustomize single with all")
    defect(manifests)
    assert any(expected in complaint for complaint in policy.complaints(manifests))


def test_the_policy_notices_two_stores_behind_one_address():
    manifests = rendered("kustomize memory")
    workload(manifests)["spec"]["strategy"] = {"type": "RollingUpdate"}
    assert [c for c in policy.complaints(manifests) if "two stores behind one address" in c]


# ---- the renderers agree, and so do they with the project ----

def shape(name):
    """What the ways to deploy must have in common, whatever they call things."""
    manifests = rendered(name)
    spec, server = pod(manifests), container(manifests)
    return {
        "kind": workload(manifests)["kind"],
        "pod": spec["securityContext"], "container": server["securityContext"],
        "probes": {probe: server[probe] for probe in ("startupProbe", "readinessProbe", "livenessProbe")},
        "ports": server["ports"], "grace": spec["terminationGracePeriodSeconds"],
        "token": spec["automountServiceAccountToken"], "links": spec.get("enableServiceLinks", True),
        "image": server["image"], "memory": server["resources"]["limits"]["memory"],
        "mounts": [mount["mountPath"] for mount in server.get("volumeMounts", ())],
        "claims": [claim["spec"] for claim in workload(manifests)["spec"].get("volumeClaimTemplates", ())],
        "selector": set(workload(manifests)["spec"]["selector"]["matchLabels"]),
        "services": [each["spec"]["ports"][0]["port"] for each in manifests if each["kind"] == "Service"],
        # When its controller ends the old pod, and whether a node may be drained.
        "strategy": workload(manifests)["spec"].get("strategy"),
        "budget": [(each["spec"].get("minAvailable"), each["spec"].get("maxUnavailable"))
                   for each in manifests if each["kind"] == "PodDisruptionBudget"],
        "delay": one(manifests, "ConfigMap")["data"].get("BAROGRAPH_SERVER_DRAIN_DELAY", "0s"),
        "mode": one(manifests, "ConfigMap")["data"]["BAROGRAPH_STORE_MODE"],
        "egress": one(manifests, "NetworkPolicy")["spec"]["egress"],
    }


@pytest.mark.parametrize("other", ["helm defaults", "barograph kube"])
def test_the_renderers_agree(other):
    assert shape(other) == shape("kustomize single")


@pytest.mark.parametrize("other", ["helm memory", "barograph kube memory"])
def test_the_renderers_agree_about_memory_mode(other):
    assert shape(other) == shape("kustomize memory")


def test_in_memory_the_old_pod_is_gone_before_the_new_one_starts():
    """Two at a time would be two stores behind one address."""
    assert shape("kustomize memory")["strategy"] == {"type": "Recreate"}


def test_the_image_is_of_the_project_s_version():
    assert container(rendered("kustomize single"))["image"] == f"barograph:{VERSION}"
    assert container(rendered("helm defaults"))["image"] == f"barograph:{VERSION}"
    for path in [*(ROOT / "deploy" / "kubernetes").rglob("*.yaml"), ROOT / "deploy/helm/barograph/Chart.yaml"]:
        for stated in re.findall(r"(?:app\.kubernetes\.io/version|appVersion|image): *(?:barograph:)?(\S+)",
                                 path.read_text()):
            assert stated == VERSION, path


def test_rendering_is_the_same_every_time():
    for name in ("kustomize single with all", "helm everything"):
        assert RENDERERS[name]() == rendered_text(name)


def test_a_change_of_the_configuration_starts_the_pod_anew(tmp_path):
    base = ROOT / "build" / "kustomize-change"
    base.mkdir(parents=True, exist_ok=True)
    (base / "kustomization.yaml").write_text(yaml.safe_dump({
        "namespace": "barograph", "resources": ["../../deploy/kubernetes/overlays/single"],
        "configMapGenerator": [{"name": "barograph", "namespace": "barograph", "behavior": "merge",
                                "literals": ["BAROGRAPH_STORE_RETENTION=*:30d"]}]}))
    changed = documents(output_of(run(tools() / "bin" / "kubectl", "kustomize", base)))
    assert policy.complaints(changed) == []
    assert one(changed, "ConfigMap")["data"]["BAROGRAPH_STORE_RETENTION"] == "*:30d"
    assert container(changed)["envFrom"] != container(rendered("kustomize single"))["envFrom"]
