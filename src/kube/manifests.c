#include "kube/manifests.h"

#include "base/hash.h"
#include "kube/manifests_internal.h"

#include <stdio.h>

enum { VERSION_BYTES_MAX = 63 };

static str value(const struct manifests *m, enum cluster_key key) {
    return m->cluster->text[key];
}

/* ---- what all objects have ---- */

void manifests_selector(struct manifests *m) {
    yaml_text(&m->yaml, "app.kubernetes.io/name", STR("barograph"));
    yaml_text(&m->yaml, "app.kubernetes.io/instance", value(m, CLUSTER_NAME));
    yaml_text(&m->yaml, "app.kubernetes.io/component", STR("database"));
}

void manifests_labels(struct manifests *m) {
    manifests_selector(m);
    if (m->version.n > 0)
        yaml_text(&m->yaml, "app.kubernetes.io/version", m->version);
    yaml_text(&m->yaml, "app.kubernetes.io/managed-by", STR("barograph-kube"));
}

static void begin_kind(struct manifests *m, const char *api, const char *kind, str name) {
    yaml_document(&m->yaml);
    yaml_text(&m->yaml, "apiVersion", str_of(api));
    yaml_text(&m->yaml, "kind", str_of(kind));
    yaml_open(&m->yaml, "metadata");
    yaml_text(&m->yaml, "name", name);
}

void manifests_begin(struct manifests *m, const char *api, const char *kind, str name) {
    begin_kind(m, api, kind, name);
    yaml_text(&m->yaml, "namespace", value(m, CLUSTER_NAMESPACE));
    yaml_open(&m->yaml, "labels");
    manifests_labels(m);
    yaml_close(&m->yaml);
}

/* ---- objects before the Pods ---- */

static void write_namespace(struct manifests *m) {
    struct yaml *y = &m->yaml;
    begin_kind(m, "v1", "Namespace", value(m, CLUSTER_NAMESPACE));
    yaml_open(y, "labels");
    yaml_text(y, "app.kubernetes.io/managed-by", STR("barograph-kube"));
    yaml_text(y, "pod-security.kubernetes.io/enforce", STR("restricted"));
    yaml_text(y, "pod-security.kubernetes.io/audit", STR("restricted"));
    yaml_text(y, "pod-security.kubernetes.io/warn", STR("restricted"));
    yaml_close(y);
    yaml_close(y);
}

static void write_service_account(struct manifests *m) {
    manifests_begin(m, "v1", "ServiceAccount", value(m, CLUSTER_NAME));
    yaml_close(&m->yaml);
    yaml_truth(&m->yaml, "automountServiceAccountToken", false);
}

static void write_config_data(struct manifests *m) {
    struct yaml *y = &m->yaml;
    const struct cluster *cluster = m->cluster;
    bool in_memory = cluster_in_memory(cluster);
    yaml_text(y, "BAROGRAPH_TSD_NETWORK_BIND", STR("0.0.0.0"));
    yaml_text(y, "BAROGRAPH_TSD_NETWORK_PORT", value(m, CLUSTER_PORT));
    yaml_text(y, "BAROGRAPH_STORE_MODE", in_memory ? STR("memory") : STR("durable"));
    if (!in_memory)
        yaml_text(y, "BAROGRAPH_STORE_DATA_DIR", STR("/data"));
    for (size_t i = 0; i < cluster->setting_count; i++)
        yaml_text(y, cluster->settings[i].variable.p, cluster->settings[i].value);
}

static void write_config(struct manifests *m) {
    struct yaml *y = &m->yaml;
    manifests_begin(m, "v1", "ConfigMap", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_open(y, "data");
    size_t start = y->out->n;
    write_config_data(m);
    if (!y->out->failed)
        snprintf(m->config_hash, sizeof(m->config_hash), "%016llx",
                 (unsigned long long)hash_bytes(y->out->p + start, y->out->n - start));
    yaml_close(y);
}

/* True if clients come from outside, through a node or an Ingress controller. */
static bool is_public(const struct manifests *m) {
    return !str_eq(value(m, CLUSTER_SERVICE_TYPE), STR("ClusterIP")) ||
           value(m, CLUSTER_INGRESS_HOST).n > 0;
}

/* Who may connect, unless everybody may. */
static void write_peers(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "from");
    yaml_item(y);
    yaml_comment(y, "Every Pod of this namespace, and of namespaces labelled for it.");
    yaml_empty(y, "podSelector");
    yaml_close(y);
    yaml_item(y);
    yaml_open(y, "namespaceSelector");
    yaml_open(y, "matchLabels");
    yaml_text(y, "barograph.io/client", STR("true"));
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    if (m->cluster->number[CLUSTER_SERVICE_MONITOR] != 0) {
        yaml_item(y);
        yaml_comment(y, "Prometheus, wherever its operator runs it.");
        yaml_empty(y, "namespaceSelector");
        yaml_open(y, "podSelector");
        yaml_open(y, "matchLabels");
        yaml_text(y, "app.kubernetes.io/name", STR("prometheus"));
        yaml_close(y);
        yaml_close(y);
        yaml_close(y);
    }
    yaml_close(y);
}

/* The server calls nobody, unless it forwards its statistics. */
static void write_egress(struct manifests *m) {
    struct yaml *y = &m->yaml;
    if (!cluster_calls_out(m->cluster)) {
        yaml_comment(y, "The server calls nobody.");
        yaml_empty_list(y, "egress");
        return;
    }
    yaml_comment(y, "For self.forward: names are looked up, and its port may be any.");
    yaml_open(y, "egress");
    yaml_item(y);
    yaml_open(y, "ports");
    yaml_item(y);
    yaml_text(y, "protocol", STR("UDP"));
    yaml_number(y, "port", 53);
    yaml_close(y);
    yaml_item(y);
    yaml_text(y, "protocol", STR("TCP"));
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

static void write_network_policy(struct manifests *m) {
    struct yaml *y = &m->yaml;
    manifests_begin(m, "networking.k8s.io/v1", "NetworkPolicy", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_open(y, "spec");
    yaml_open(y, "podSelector");
    yaml_open(y, "matchLabels");
    manifests_selector(m);
    yaml_close(y);
    yaml_close(y);
    yaml_list(y, "policyTypes", STR("Ingress"), STR("Egress"));
    yaml_open(y, "ingress");
    yaml_item(y);
    yaml_open(y, "ports");
    yaml_item(y);
    yaml_text(y, "protocol", STR("TCP"));
    yaml_text(y, "port", MANIFESTS_PORT);
    yaml_close(y);
    yaml_close(y);
    if (!is_public(m))
        write_peers(m);
    yaml_close(y);
    yaml_close(y);
    write_egress(m);
    yaml_close(y);
}

/* ---- objects after the Pods ---- */

static void write_service_spec(struct manifests *m, bool headless) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "spec");
    yaml_text(y, "type", headless ? STR("ClusterIP") : value(m, CLUSTER_SERVICE_TYPE));
    if (headless) {
        yaml_text(y, "clusterIP", STR("None"));
        yaml_comment(y, "The Pod's own name, also while it is not ready.");
        yaml_truth(y, "publishNotReadyAddresses", true);
    }
    yaml_open(y, "selector");
    manifests_selector(m);
    yaml_close(y);
    yaml_open(y, "ports");
    yaml_item(y);
    yaml_text(y, "name", MANIFESTS_PORT);
    yaml_text(y, "protocol", STR("TCP"));
    yaml_number(y, "port", m->cluster->number[CLUSTER_PORT]);
    yaml_text(y, "targetPort", MANIFESTS_PORT);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

/* The Service that clients use is also the one that Prometheus finds. */
static void write_service(struct manifests *m, bool headless) {
    struct yaml *y = &m->yaml;
    begin_kind(m, "v1", "Service", headless ? buf_view(&m->headless) : value(m, CLUSTER_NAME));
    yaml_text(y, "namespace", value(m, CLUSTER_NAMESPACE));
    yaml_open(y, "labels");
    manifests_labels(m);
    if (!headless)
        yaml_text(y, "barograph.io/scrape", STR("true"));
    yaml_close(y);
    yaml_close(y);
    write_service_spec(m, headless);
}

static void write_disruption_budget(struct manifests *m) {
    struct yaml *y = &m->yaml;
    manifests_begin(m, "policy/v1", "PodDisruptionBudget", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_open(y, "spec");
    bool in_memory = cluster_in_memory(m->cluster);
    yaml_comment(y, in_memory ? "The points go with the Pod: delete this before draining its node."
                              : "One Pod, whose volume moves with it: its node may be drained.");
    yaml_number(y, "maxUnavailable", in_memory ? 0 : 1);
    yaml_open(y, "selector");
    yaml_open(y, "matchLabels");
    manifests_selector(m);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

static void write_ingress_rule(struct manifests *m) {
    struct yaml *y = &m->yaml;
    yaml_open(y, "rules");
    yaml_item(y);
    yaml_text(y, "host", value(m, CLUSTER_INGRESS_HOST));
    yaml_open(y, "http");
    yaml_open(y, "paths");
    yaml_item(y);
    yaml_text(y, "path", STR("/"));
    yaml_text(y, "pathType", STR("Prefix"));
    yaml_open(y, "backend");
    yaml_open(y, "service");
    yaml_text(y, "name", value(m, CLUSTER_NAME));
    yaml_open(y, "port");
    yaml_text(y, "name", MANIFESTS_PORT);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

static void write_ingress(struct manifests *m) {
    struct yaml *y = &m->yaml;
    manifests_begin(m, "networking.k8s.io/v1", "Ingress", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_open(y, "spec");
    if (value(m, CLUSTER_INGRESS_CLASS).n > 0)
        yaml_text(y, "ingressClassName", value(m, CLUSTER_INGRESS_CLASS));
    if (value(m, CLUSTER_INGRESS_TLS).n > 0) {
        yaml_open(y, "tls");
        yaml_item(y);
        yaml_list(y, "hosts", value(m, CLUSTER_INGRESS_HOST), STR(""));
        yaml_text(y, "secretName", value(m, CLUSTER_INGRESS_TLS));
        yaml_close(y);
        yaml_close(y);
    }
    write_ingress_rule(m);
    yaml_close(y);
}

static void write_service_monitor(struct manifests *m) {
    struct yaml *y = &m->yaml;
    manifests_begin(m, "monitoring.coreos.com/v1", "ServiceMonitor", value(m, CLUSTER_NAME));
    yaml_close(y);
    yaml_open(y, "spec");
    yaml_open(y, "selector");
    yaml_open(y, "matchLabels");
    manifests_selector(m);
    yaml_text(y, "barograph.io/scrape", STR("true"));
    yaml_close(y);
    yaml_close(y);
    yaml_open(y, "endpoints");
    yaml_item(y);
    yaml_text(y, "port", MANIFESTS_PORT);
    yaml_text(y, "path", STR("/metrics"));
    yaml_text(y, "interval", STR("30s"));
    yaml_close(y);
    yaml_close(y);
    yaml_close(y);
}

/* ---- all of them ---- */

/* The tag, if it can be the value of a label. */
static str version_of(str image) {
    size_t start = str_find(image, '@');
    image.n = start;
    while (start > 0 && image.p[start - 1] != '/' && image.p[start - 1] != ':')
        start--;
    if (start == 0 || image.p[start - 1] != ':')
        return STR("");
    str tag = str_from(image, start);
    bool fits = tag.n > 0 && tag.n <= VERSION_BYTES_MAX && tag.p[0] != '_' &&
                str_find(STR("_.-"), tag.p[tag.n - 1]) == 3;
    return fits ? tag : STR("");
}

void manifests_write(const struct cluster *cluster, const struct manifests_origin *origin,
                     struct buf *out) {
    struct manifests m = {.yaml = {.out = out}, .cluster = cluster};
    m.version = version_of(cluster->text[CLUSTER_IMAGE]);
    buf_str(&m.headless, cluster->text[CLUSTER_NAME]);
    buf_str(&m.headless, STR("-headless"));
    yaml_comment(&m.yaml, "Made by %s kube out of the labels of %s: change those, not this.",
                 origin->program, origin->source);
    write_namespace(&m);
    write_service_account(&m);
    write_config(&m);
    if (cluster->number[CLUSTER_NETWORK_POLICY] != 0)
        write_network_policy(&m);
    manifests_workload(&m);
    write_service(&m, false);
    write_service(&m, true);
    write_disruption_budget(&m);
    if (cluster->text[CLUSTER_INGRESS_HOST].n > 0)
        write_ingress(&m);
    if (cluster->number[CLUSTER_SERVICE_MONITOR] != 0)
        write_service_monitor(&m);
    out->failed = out->failed || m.headless.failed;
    buf_fini(&m.headless);
}
