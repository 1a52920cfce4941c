"""Manifests against the Kubernetes API's own schemas, offline and strictly.

The schemas are the published ones (unknown fields refused, types, required fields, the apiVersion and
kind that exist in a version of Kubernetes). A server checks more than they say, and what it checks on
the fields that manifests here use is added: names, labels, quantities, enumerations, and lists whose
entries must differ in a key.
"""
import functools
import json
import re
import zipfile

import jsonschema

from manifests import HERE, tools

OLDEST = (1, 27)

SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
NAME = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
PATTERNS = {  # definition: {property: pattern}
    "apimachinery.pkg.apis.meta.v1.ObjectMeta": {"name": SUBDOMAIN, "namespace": SUBDOMAIN},
    "api.core.v1.Container": {"name": r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"},
    "api.core.v1.ContainerPort": {"name": r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?"},
    "api.core.v1.VolumeMount": {"mountPath": r"/[^:]*"},
    "api.core.v1.EnvVar": {"name": r"[-._a-zA-Z][-._a-zA-Z0-9]*"},
}
LABELS = {"apimachinery.pkg.apis.meta.v1.ObjectMeta": ["labels"],
          "apimachinery.pkg.apis.meta.v1.LabelSelector": ["matchLabels"],
          "api.core.v1.ServiceSpec": ["selector"], "api.core.v1.PodSpec": ["nodeSelector"]}
ENUMS = {
    "api.apps.v1.DeploymentStrategy": {"type": ["Recreate", "RollingUpdate"]},
    "api.apps.v1.StatefulSetUpdateStrategy": {"type": ["OnDelete", "RollingUpdate"]},
    "api.apps.v1.StatefulSetSpec": {"podManagementPolicy": ["OrderedReady", "Parallel"]},
    "api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {
        "whenDeleted": ["Delete", "Retain"], "whenScaled": ["Delete", "Retain"]},
    "api.core.v1.Container": {"imagePullPolicy": ["Always", "IfNotPresent", "Never"]},
    "api.core.v1.ContainerPort": {"protocol": ["SCTP", "TCP", "UDP"]},
    "api.core.v1.PersistentVolumeClaimSpec": {"accessModes": [
        "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]},
    "api.core.v1.PodSecurityContext": {"fsGroupChangePolicy": ["Always", "OnRootMismatch"]},
    "api.core.v1.PodSpec": {"restartPolicy": ["Always", "Never", "OnFailure"]},
    "api.core.v1.SeccompProfile": {"type": ["Localhost", "RuntimeDefault", "Unconfined"]},
    "api.core.v1.ServicePort": {"protocol": ["SCTP", "TCP", "UDP"]},
    "api.core.v1.ServiceSpec": {"type": ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]},
    "api.core.v1.Toleration": {"operator": ["Equal", "Exists", "Gt", "Lt"]},
    "api.networking.v1.HTTPIngressPath": {"pathType": ["Exact", "ImplementationSpecific", "Prefix"]},
    "api.networking.v1.NetworkPolicyPort": {"protocol": ["SCTP", "TCP", "UDP"]},
    "api.networking.v1.NetworkPolicySpec": {"policyTypes": ["Egress", "Ingress"]},
}
QUANTITY = r"^[+-]?[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][0-9]+)?$"


def sharpen(definitions):
    def properties(name):
        return definitions.get("io.k8s." + name, {}).get("properties", {})

    for name, patterns in PATTERNS.items():
        for field, pattern in patterns.items():
            properties(name).get(field, {})["pattern"] = f"^{pattern}$"
    for name, fields in LABELS.items():
        for field in fields:
            labels = properties(name).get(field, {})
            labels["propertyNames"] = {"pattern": f"^({SUBDOMAIN}/)?{NAME}$"}
            labels["additionalProperties"] = {"type": "string", "pattern": f"^({NAME})?$"}
    for name, enums in ENUMS.items():
        for field, values in enums.items():
            schema = properties(name).get(field, {})
            schema.get("items", schema)["enum"] = values
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {
        "type": ["string", "number"], "pattern": QUANTITY}


def entries_differ(validator, keys, entries, schema):
    """x-kubernetes-list-map-keys: no two entries with the same keys, as the server demands."""
    if not isinstance(entries, list):
        return
    seen = set()
    for entry in entries:
        key = tuple(str(entry.get(name)) for name in keys) if isinstance(entry, dict) else None
        if key in seen:
            yield jsonschema.ValidationError(f"two entries have the same {' and '.join(keys)}: "
                                             f"{', '.join(key)}")
        seen.add(key)


@functools.lru_cache(maxsize=None)
def wheel():
    return zipfile.ZipFile(next(tools().glob("kubernetes_validate-*.whl")))


@functools.lru_cache(maxsize=None)
def versions():
    """The versions of Kubernetes that manifests are held against."""
    found = {re.search(r"/v(\d+)\.(\d+)\.0-local-strict/_definitions", name) for name in wheel().namelist()}
    numbers = sorted((int(match[1]), int(match[2])) for match in found if match)
    return tuple(f"{major}.{minor}" for major, minor in numbers if (major, minor) >= OLDEST)


def stored(version, name):
    try:
        return json.loads(wheel().read("kubernetes_validate/kubernetes-json-schema/"
                                       f"v{version}.0-local-strict/{name}.json"))
    except KeyError:
        return None


@functools.lru_cache(maxsize=None)
def validator_of(version):
    """A validator class whose references lead straight to the definitions of a version."""
    definitions = stored(version, "_definitions")["$defs"]
    sharpen(definitions)

    def reference(validator, reference, instance, schema):
        yield from validator.descend(instance, definitions[reference.rpartition("/")[2]])

    return jsonschema.validators.extend(jsonschema.Draft201909Validator, {
        "$ref": reference, "x-kubernetes-list-map-keys": entries_differ})


@functools.lru_cache(maxsize=None)
def schema_of(version, api_version, kind):
    group, _, api = api_version.rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        custom = HERE / "crd" / f"{kind.lower()}-{group}-{api}.json"
        return json.loads(custom.read_text()) if custom.exists() else None
    name = "-".join(part for part in (kind.lower(), group.split(".")[0], api) if part)
    schema = stored(version, name)
    known = schema and schema["properties"].get("apiVersion", {}).get("enum", [])
    return schema if known and api_version in known else None


def complaints(manifest, version):
    """What is wrong with one manifest, as texts: "spec.replicas: ...". Empty: nothing."""
    if not isinstance(manifest, dict):
        return ["not an object"]
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        return ["apiVersion and kind are missing"]
    schema = schema_of(version, api_version, kind)
    if schema is None:
        return [f"Kubernetes {version} has no {kind} in {api_version}"]
    found = []
    for error in validator_of(version)(schema).iter_errors(manifest):
        path = ".".join(str(part) for part in error.absolute_path)
        found.append(f"{path}: {error.message}" if path else error.message)
    if not (manifest.get("metadata") or {}).get("name"):
        found.append("metadata.name is missing")
    return sorted(found)
