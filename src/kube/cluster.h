/*
 * The cluster that labels describe: one table of labels, and the checked specification.
 */
#pragma once

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "kube/labels.h"
#include "kube/problems.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(identifier, name below LABELS_PREFIX, kind, default, what is allowed, help). The kind names the
   check (cluster_value.h). An empty default: not there. */
#define CLUSTER_TABLE(X)                                                                           \
    X(NAME, "name", NAME, "barograph",                                                             \
      "1 to 52 of a-z, 0-9 and -, a letter first, no - at the end", "name of all objects")         \
    X(NAMESPACE, "namespace", NAMESPACE, "barograph",                                              \
      "1 to 63 of a-z, 0-9 and -, no - at either end; neither default nor kube-...",               \
      "namespace, which is made and held to the restricted Pod security standard")                 \
    X(IMAGE, "image", IMAGE, "", "[registry/]name:tag or [registry/]name@sha256:..., not latest",  \
      "reference of the image; if there is none, what the archive was saved as, or "               \
      "barograph:VERSION")                                                                         \
    X(REPLICAS, "replicas", REPLICAS, "1", "0 or 1", "Pods; 0 keeps everything but runs nothing")  \
    X(STORAGE, "storage", STORAGE, "10Gi", "a quantity from 512Mi on, or none",                    \
      "size of the volume; none keeps points in memory only")                                      \
    X(STORAGE_CLASS, "storage-class", SUBDOMAIN, "", "the name of a StorageClass",                 \
      "class of the volume; if there is none, the cluster's default")                              \
    X(MEMORY, "memory", MEMORY, "1Gi", "a quantity from 64Mi on", "memory, requested and at most") \
    X(CPU, "cpu", CPU, "500m", "processors such as 500m, 2 or 1.5, from 10m on",                   \
      "processors requested")                                                                      \
    X(CPU_LIMIT, "cpu-limit", CPU, "", "processors such as 500m, 2 or 1.5, from 10m on",           \
      "processors at most; if there is none, no limit")                                            \
    X(PORT, "port", PORT, "4242", "1024 to 65535", "port of the Pod and of the Service")           \
    X(SERVICE_TYPE, "service-type", SERVICE_TYPE, "ClusterIP",                                     \
      "ClusterIP, NodePort or LoadBalancer", "who reaches the Service")                            \
    X(INGRESS_HOST, "ingress-host", HOST, "", "a host name, or *. and one",                        \
      "host of an Ingress; if there is none, no Ingress")                                          \
    X(INGRESS_CLASS, "ingress-class", SUBDOMAIN, "", "the name of an IngressClass",                \
      "class of the Ingress; if there is none, the cluster's default")                             \
    X(INGRESS_TLS, "ingress-tls", SUBDOMAIN, "", "the name of a Secret",                           \
      "Secret with the certificate of the Ingress; if there is none, no TLS")                      \
    X(SERVICE_MONITOR, "service-monitor", TRUTH, "false", "true or false",                         \
      "a ServiceMonitor for the Prometheus operator")                                              \
    X(NETWORK_POLICY, "network-policy", TRUTH, "true", "true or false",                            \
      "a NetworkPolicy that closes all but the port")                                              \
    X(TERMINATION_GRACE, "termination-grace", GRACE, "30s",                                        \
      "a duration such as 30s or 2m, up to 1h, 5s longer than the server drains",                  \
      "how long the server may take to stop")                                                      \
    X(RETENTION, "retention", RETENTION, "",                                                       \
      "a duration such as 30d, or pattern:duration, ... such as tmp.*:7d,*:365d",                  \
      "how long points are kept; if there is none, for ever")

enum cluster_key {
#define X(identifier, name, kind, fallback, allowed, help) CLUSTER_##identifier,
    CLUSTER_TABLE(X)
#undef X
        CLUSTER_KEYS
};

/* Labels of server configuration: this and the key, below LABELS_PREFIX. */
#define CLUSTER_CONFIG_PREFIX "config."

/* One variable of the server's environment. */
struct cluster_setting {
    str variable; /* BAROGRAPH_... */
    str value;
};

struct cluster {
    str text[CLUSTER_KEYS];           /* as given, or the default */
    uint64_t number[CLUSTER_KEYS];    /* bytes, thousandths of a processor, port, seconds, 0 or 1 */
    struct cluster_setting *settings; /* sorted by variable */
    size_t setting_count;
};

/* The server's configuration, which this folder does not know. */
struct cluster_server {
    void *context;
    /* Sets a key. RC_INVALID, with a text: the key is unknown, or the value does not fit. */
    enum rc (*set)(void *context, str key, str value, struct err *err);
    /* The number of a key as set or by default: bytes, milliseconds. */
    uint64_t (*number)(void *context, const char *key);
};

struct cluster_options {
    str image;          /* takes the place of the label; empty: does not */
    str image_saved_as; /* used if there is neither; may be empty */
    str image_fallback; /* and if that is empty */
    const struct cluster_server *server;
};

/* Checks `labels` and what they say together. Every mistake is added to `problems`; `cluster` is
   usable only if there is none. It borrows from labels and options, the rest is in `arena`.
   RC_NOMEM is the only error. */
enum rc cluster_read(const struct labels *labels, const struct cluster_options *options,
                     struct arena *arena, struct cluster *cluster,
                     struct problems *problems) MUST_USE;

/* True if nothing is kept on a volume. */
bool cluster_in_memory(const struct cluster *cluster);

/* True if the server opens connections to others. */
bool cluster_calls_out(const struct cluster *cluster);

/* The table. */
const char *cluster_name(enum cluster_key key);
const char *cluster_default(enum cluster_key key);
const char *cluster_allowed(enum cluster_key key);
const char *cluster_help(enum cluster_key key);
