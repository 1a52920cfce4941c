#include "kube/manifests_internal.h"

enum {
    USER = 65532, /* of the image, and of everything on its volume */
    STARTUP_SECONDS = 600
};

static str value(const struct manifests *m, enum cluster_key key) {
    return m->cluster->text[key];
}

/* ---- the container ---- */

static void write_probe(struct yaml *y, const char *name, const char *path, uint64_t period,
                        uint64_t failures) {
    yaml_open(y, name);
    yaml_open(y, "httpGet");
    yaml_text(y, "path", str_of(path));
    yaml_text(y, "port", MANIFESTS_PORT);
    yaml_close(y);
    yaml_number(y, "periodSeconds", period);
    yaml_number(y, "timeoutSeconds", 5);
    yaml_number(y, "failureThreshold", failures);
    yaml_close(y);
}

static void write_probes(struct yaml *y) {
    yaml_comment(y, "Recovery reads the log since the last checkpoint: seconds, at worst minutes.");
    write_probe(y, "startupProbe", "/ready", 1, STARTUP_SECONDS);
    write_probe(y, "readinessProbe", "/ready", 5, 2);
    write_probe(y, "livenessProbe", "/health", 10, 6);
}

static void write_resources(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_comment(y, "Memory: the request is the limit, which the server reads and keeps to.");
    yaml_open(y, "resources");
    yaml_open(y, "requests");
    yaml_text(y, "cpu", value(m, CLUSTER_CPU));
    yaml_text(y, "memory", value(m, CLUSTER_MEMORY));
    yaml_close(y);
    yaml_open(y, "limits");
    if (value(m, CLUSTER_CPU_LIMIT).n > 0)
        yaml_text(y, "cpu", value(m, CLUSTER_CPU_LIMIT));
    yaml_text(y, "memory", value(m, CLUSTER_MEMORY));
    yaml_close(y);
    yaml_close(y);
}

static void write_container_security(struct yaml *y) {
    yaml_open(y, "securityContext");
    yaml_truth(y, "allowPrivilegeEscalation", false);
    yaml_truth(y, "readOnlyRootFilesystem", true);
    yaml_open(y, "capabilities");
    yaml_list(y, "drop", STR("ALL"), STR(""));
    yaml_close(y);
    yaml_close(y);
}

static void write_container(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "containers");
    yaml_item(y);
    yaml_text(y, "name", STR("barograph"));
    yaml_text(y, "image", value(m, CLUSTER_IMAGE));
    yaml_text(y, "imagePullPolicy", STR("IfNotPresent"));
    yaml_open(y, "ports");
    yaml_item(y);
    yaml_text(y, "name", MANIFESTS_PORT);
    yaml_text(y, "protocol", STR("TCP"));
    yaml_number(y, "containerPort", m->cluster->number[CLUSTER_PORT]);
    yaml_close(y);
    yaml_close(y);
    yaml_open(y, "envFrom");
    yaml_item(y);
    yaml_open(y, "configMapRef");
    yaml_text(y, "name", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    write_probes(y);
    write_resources(m);
    write_container_security(y);
    if (!cluster_in_memory(m->cluster)) {
        yaml_open(y, "volumeMounts");
        yaml_item(y);
        yaml_text(y, "name", MANIFESTS_VOLUME);
        yaml_text(y, "mountPath", STR("/data"));
        yaml_close(y);
        yaml_close(y);
    }
    yaml_close(y);
    yaml_close(y);
}

/* ---- the Pod ---- */

static void write_pod_security(struct yaml *y) {
    yaml_open(y, "securityContext");
    yaml_truth(y, "runAsNonRoot", true);
    yaml_number(y, "runAsUser", USER);
    yaml_number(y, "runAsGroup", USER);
    yaml_number(y, "fsGroup", USER);
    yaml_text(y, "fsGroupChangePolicy", STR("OnRootMismatch"));
    yaml_open(y, "seccompProfile");
    yaml_text(y, "type", STR("RuntimeDefault"));
    yaml_close(y);
    yaml_close(y);
}

static void write_pod(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "template");
    yaml_open(y, "metadata");
    yaml_open(y, "labels");
    manifests_labels(m);
    yaml_close(y);
    yaml_comment(y, "A changed ConfigMap changes this, and so starts the Pod again.");
    yaml_open(y, "annotations");
    yaml_text(y, "barograph.io/config", str_of(m->config_hash));
    yaml_close(y);
    yaml_close(y);
    yaml_open(y, "spec");
    yaml_text(y, "serviceAccountName", value(m, CLUSTER_NAME));
    yaml_truth(y, "automountServiceAccountToken", false);
    yaml_number(y, "terminationGracePeriodSeconds", m->cluster->number[CLUSTER_TERMINATION_GRACE]);
    write_pod_security(y);
    write_container(m);
    yaml_close(y);
    yaml_close(y);
}

/* Its metadata has only what never changes: the whole template is immutable. */
static void write_claim(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "volumeClaimTemplates");
    yaml_item(y);
    yaml_open(y, "metadata");
    yaml_text(y, "name", MANIFESTS_VOLUME);
    yaml_open(y, "labels");
    manifests_selector(m);
    yaml_close(y);
    yaml_close(y);
    yaml_open(y, "spec");
    yaml_list(y, "accessModes", STR("ReadWriteOnce"), STR(""));
    if (value(m, CLUSTER_STORAGE_CLASS).n > 0)
        yaml_text(y, "storageClassName", value(m, CLUSTER_STORAGE_CLASS));
    yaml_open(y, "resources");
    yaml_open(y, "requests");
    yaml_text(y, "storage", value(m, CLUSTER_STORAGE));
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

void manifests_workload(struct manifests *m) {
    struct yaml *y = &m->yaml;
    bool in_memory = cluster_in_memory(m->cluster);
    manifests_begin(m, "apps/v1", in_memory ? "Deployment" : "StatefulSet", value(m, CLUSTER_NAME));
    yaml_close(y);
    if (in_memory)
        yaml_comment(y, "A Deployment, because there is no volume to keep with the Pod; recreated, "
                        "because two Pods at a time would be two stores behind one address.");
    else
        yaml_comment(y,
                     "A StatefulSet, because the volume belongs to the Pod, and the old Pod must "
                     "be gone before a new one opens it.");
    yaml_open(y, "spec");
    yaml_number(y, "replicas", m->cluster->number[CLUSTER_REPLICAS]);
    if (in_memory) {
        yaml_open(y, "strategy");
        yaml_text(y, "type", STR("Recreate"));
        yaml_close(y);
    } else {
        yaml_text(y, "serviceName", buf_view(&m->headless));
    }
    yaml_open(y, "selector");
    yaml_open(y, "matchLabels");
    manifests_selector(m);
    yaml_close(y);
    yaml_close(y);
    write_pod(m);
    if (!in_memory)
        write_claim(m);
    yaml_close(y);
}
