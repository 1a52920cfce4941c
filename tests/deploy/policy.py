"""What we demand of our own manifests beyond being valid. Each complaint says what and where.

`complaints` looks at everything a renderer made, because most mistakes lie between objects: a selector
that selects nothing, a Service whose port leads nowhere, a budget for other pods.
"""
import re

from manifests import VERSION, config_keys, variable

RECOMMENDED = "app.kubernetes.io/"
SELECTOR = {RECOMMENDED + name for name in ("name", "instance", "component")}
DATABASE = "database"
LONG_RUNNING = ("StatefulSet", "Deployment")
CLUSTER_WIDE = ("Namespace",)
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "name", "persistentVolumeClaim",
           "projected", "secret"}
FORBIDDEN_KINDS = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
SECRET_WORDS = re.compile(r"PASSWORD|PASSWD|TOKEN|CREDENTIAL|PRIVATE_KEY", re.I)
OPTIONAL = ("NetworkPolicy", "PodDisruptionBudget")


def name_of(one):
    return f"{one['kind']} {one['metadata']['name']}"


def pods(manifests):
    """(owner, labels, pod spec) of everything that makes pods."""
    for one in manifests:
        if one["kind"] == "Pod":
            yield one, one["metadata"].get("labels", {}), one["spec"]
        elif "template" in (one.get("spec") or {}):
            template = one["spec"]["template"]
            yield one, template["metadata"].get("labels", {}), template["spec"]


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def of_kind(manifests, kind):
    return [one for one in manifests if one["kind"] == kind]


def image_complaints(image):
    name = image.rsplit("/", 1)[-1]
    if "@" in name:
        if not re.search(r"@sha256:[0-9a-f]{64}$", name):
            yield f"the image {image} has no proper digest"
    elif ":" not in name:
        yield f"the image {image} has no tag"
    elif name.endswith(":latest"):
        yield f"the image {image} is whatever is latest"


def container_complaints(container, long_running):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may escalate its privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root file system"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context["capabilities"].get("add"):
        yield "has capabilities"
    if context.get("privileged"):
        yield "is privileged"
    if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield "runs as root"
    yield from image_complaints(container["image"])
    resources = container.get("resources", {})
    for part, names in (("requests", ("cpu", "memory")), ("limits", ("memory",))):
        for name in names:
            if name not in resources.get(part, {}):
                yield f"has no {part} of {name}"
    if resources.get("requests", {}).get("memory") != resources.get("limits", {}).get("memory") and long_running:
        yield "requests less memory than it will use"
    ports = {port.get("name") for port in container.get("ports", ())}
    for probe, path in (("startup", "/ready"), ("readiness", "/ready"), ("liveness", "/health")):
        asked = container.get(probe + "Probe")
        if asked is None:
            if long_running:
                yield f"has no {probe} probe"
        elif asked.get("httpGet", {}).get("path") != path:
            yield f"the {probe} probe does not ask {path}"
        elif asked["httpGet"].get("port") not in ports:
            yield f"the {probe} probe asks a port that the container does not name"
    for variable_ in container.get("env", ()):
        if "secretKeyRef" in variable_.get("valueFrom", {}):
            yield f"{variable_['name']} brings a secret into the environment: mount it as a file"
        elif SECRET_WORDS.search(variable_["name"]) and not variable_["name"].endswith("_FILE"):
            yield f"{variable_['name']} looks like a secret in the environment"
    if any("secretRef" in source for source in container.get("envFrom", ())):
        yield "envFrom brings a secret into the environment: mount it as files"


def pod_complaints(owner, spec):
    long_running = owner["kind"] in LONG_RUNNING
    context = spec.get("securityContext", {})
    if spec.get("automountServiceAccountToken") is not False:
        yield "mounts a service account's token"
    if long_running and spec.get("serviceAccountName", "default") == "default":
        yield "uses the default service account"
    if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
        yield "may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"uses {name}"
    for volume in spec.get("volumes", ()):
        if not volume.keys() <= VOLUMES:
            yield f"the volume {volume['name']} is of a kind that restricted pods may not have"
    claims = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", ())}
    volumes = claims | {volume["name"] for volume in spec.get("volumes", ())}
    for container in spec.get("initContainers", []) + spec["containers"]:
        yield from container_complaints(container, long_running)
        if any(port.get("hostPort") for port in container.get("ports", ())):
            yield "uses a port of the host"
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"mounts {mount['name']}, which is no volume of the pod"
        if long_running and sorted(mount["name"] for mount in container.get("volumeMounts", ())) != sorted(volumes):
            yield "has volumes that it does not mount"


def environment(manifests, owner, container):
    """The container's variables as the ConfigMaps and `env` give them, and complaints about names."""
    found, problems = {}, []
    config_maps = {one["metadata"]["name"]: one for one in of_kind(manifests, "ConfigMap")}
    for source in container.get("envFrom", ()):
        name = source.get("configMapRef", {}).get("name")
        if name in config_maps:
            found |= config_maps[name].get("data", {})
        elif name is not None:
            problems.append(f"reads the ConfigMap {name}, which is not there")
    found |= {one["name"]: one.get("value") for one in container.get("env", ())}
    known = {variable(key) for key in config_keys()}
    for name, value in found.items():
        if name.startswith("BAROGRAPH_") and name not in known and name.removesuffix("_FILE") not in known:
            problems.append(f"{name} is no option of the server")
        if not isinstance(value, str):
            problems.append(f"{name} is not text")
    return found, problems


def database_complaints(manifests, owner, labels, spec, optional):
    container = spec["containers"][0]
    variables, problems = environment(manifests, owner, container)
    yield from problems
    drain = [re.fullmatch(r"(\d+)s", variables.get("BAROGRAPH_" + name, default))
             for name, default in (("SERVER_DRAIN", "10s"), ("SERVER_DRAIN_DELAY", "0s"))]
    if None in drain or sum(int(part[1]) for part in drain) >= spec.get("terminationGracePeriodSeconds", 30):
        yield "is killed before it has drained (terminationGracePeriodSeconds, server.drain)"
    if variables.get("BAROGRAPH_SELF_FORWARD") and not all(
            one["spec"].get("egress") for one in of_kind(manifests, "NetworkPolicy")):
        yield "is to call another server, and its NetworkPolicy does not let it"
    in_memory = variables.get("BAROGRAPH_STORE_MODE") == "memory"
    if in_memory != (owner["kind"] == "Deployment"):
        yield "is durable in a Deployment, or in memory in a StatefulSet"
    if in_memory and owner["spec"].get("strategy") != {"type": "Recreate"}:
        yield "has a new pod beside the old one for a while: two stores behind one address"
    mounts = {mount["mountPath"] for mount in container.get("volumeMounts", ())}
    if not in_memory and variables.get("BAROGRAPH_STORE_DATA_DIR", "/data") not in mounts:
        yield "does not keep its data on a volume"
    if owner["spec"].get("replicas") != 1:
        yield "has more than one replica: they would be separate stores"
    if labels.get(RECOMMENDED + "version") != VERSION:
        yield f"is not labelled with the project's version, {VERSION}"
    for claim in owner["spec"].get("volumeClaimTemplates", ()):
        if not set(claim["metadata"].get("labels", {})) <= SELECTOR:
            yield "a label of the volume claim changes with versions, but the claim cannot be changed"
    mine = owner["spec"]["selector"]["matchLabels"]
    if set(mine) != SELECTOR:
        yield f"is selected by {', '.join(sorted(mine))} instead of name, instance and component"
    if not selects(mine, labels):
        yield "does not select its own pods"
    headless = owner["spec"].get("serviceName")
    if owner["kind"] == "StatefulSet" and not any(
            one["metadata"]["name"] == headless and one["spec"].get("clusterIP") == "None"
            for one in of_kind(manifests, "Service")):
        yield f"its serviceName {headless} is no headless Service"
    for kind in OPTIONAL:
        found = [one for one in of_kind(manifests, kind)
                 if selects((one["spec"].get("selector") or one["spec"].get("podSelector"))["matchLabels"], labels)]
        if kind not in optional and len(found) != 1:
            yield f"is selected by {len(found)} objects of the kind {kind}"
    for account in of_kind(manifests, "ServiceAccount"):
        if account["metadata"]["name"] == spec.get("serviceAccountName"):
            break
    else:
        if "ServiceAccount" not in optional:
            yield f"its service account {spec.get('serviceAccountName')} is not there"
    secrets = {one["metadata"]["name"] for one in of_kind(manifests, "Secret")}
    for volume in spec.get("volumes", ()):
        if "secret" in volume and volume["secret"]["secretName"] not in secrets and "Secret" not in optional:
            yield f"its Secret {volume['secret']['secretName']} is not there"


def service_complaints(service, all_pods):
    hit = [(owner, spec) for owner, labels, spec in all_pods if selects(service["spec"].get("selector"), labels)]
    if len(hit) != 1:
        yield f"selects the pods of {len(hit)} objects"
        return
    ports = {}
    for container in hit[0][1]["containers"]:
        for port in container.get("ports", ()):
            ports[port.get("name")] = ports[port["containerPort"]] = port
    for port in service["spec"]["ports"]:
        if port.get("targetPort", port["port"]) not in ports:
            yield f"the port {port.get('name', port['port'])} leads to no port of the container"


def reference_complaints(one, manifests, all_pods):
    """Objects that point at Services or pods."""
    services = {service["metadata"]["name"]: service for service in of_kind(manifests, "Service")}
    spec = one.get("spec") or {}
    if one["kind"] == "Service":
        yield from service_complaints(one, all_pods)
    if one["kind"] == "PodDisruptionBudget":
        if not any(selects(spec["selector"]["matchLabels"], labels) for _, labels, _ in all_pods):
            yield "selects no pods"
    if one["kind"] == "NetworkPolicy":
        if not any(selects(spec["podSelector"].get("matchLabels"), labels) for _, labels, _ in all_pods):
            yield "selects no pods"
        if set(spec.get("policyTypes", ())) != {"Ingress", "Egress"}:
            yield "leaves a direction open"
        if not all(rule.get("from") and rule.get("ports") for rule in spec.get("ingress", ())):
            yield "lets everybody in"
    if one["kind"] == "Ingress":
        for rule in spec["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if not any(backend["port"].get("name") == port.get("name")
                           or backend["port"].get("number") == port["port"] for port in ports):
                    yield f"{path['path']} leads to no port of a Service"
    if one["kind"] == "ServiceMonitor":
        wanted = dict(spec["selector"].get("matchLabels", {}))
        for expression in spec["selector"].get("matchExpressions", ()):
            wanted[expression["key"]] = expression["values"][0]
        hit = [service for service in services.values() if selects(wanted, service["metadata"].get("labels", {}))]
        if len(hit) != 1:
            yield f"selects {len(hit)} Services"
        elif not {end["port"] for end in spec["endpoints"]} <= {port.get("name") for port in hit[0]["spec"]["ports"]}:
            yield "scrapes a port that the Service does not name"


def object_complaints(one, manifests):
    labels = one["metadata"].get("labels", {})
    if one["kind"] in FORBIDDEN_KINDS:
        yield "gives rights in the cluster, and the server needs none"
    for name in ("name", "instance"):
        if RECOMMENDED + name not in labels and one["kind"] not in CLUSTER_WIDE:
            yield f"has no label {RECOMMENDED}{name}"
    if one["kind"] in CLUSTER_WIDE:
        for mode in ("enforce", "warn", "audit"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"does not {mode} restricted Pod Security"
    elif not one["metadata"].get("namespace"):
        yield "has no namespace"
    else:
        made = [space["metadata"]["name"] for space in of_kind(manifests, "Namespace")]
        if made and one["metadata"]["namespace"] not in made:
            yield f"is in the namespace {one['metadata']['namespace']}, beside the one that is made"
    if one["kind"] == "ServiceAccount" and one.get("automountServiceAccountToken") is not False:
        yield "mounts its token everywhere"


def complaints(manifests, optional=()):
    """All that is wrong, as "Kind name: what". `optional` names kinds that need not be there."""
    all_pods = list(pods(manifests))
    found = []
    seen = set()

    def say(one, texts):
        found.extend(f"{name_of(one)}: {text}" for text in texts)

    for one in manifests:
        if name_of(one) in seen:
            say(one, ["stands twice"])
        seen.add(name_of(one))
        say(one, object_complaints(one, manifests))
        say(one, reference_complaints(one, manifests, all_pods))
    for owner, labels, spec in all_pods:
        say(owner, pod_complaints(owner, spec))
        if owner["kind"] in LONG_RUNNING:
            say(owner, database_complaints(manifests, owner, labels, spec, optional))
    return found
