/*
 * Values of labels: what Kubernetes takes, and what a server can work with.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

/* The kinds of CLUSTER_TABLE. */
#define CLUSTER_VALUE_KINDS(X)                                                                     \
    X(NAME)                                                                                        \
    X(NAMESPACE)                                                                                   \
    X(IMAGE)                                                                                       \
    X(REPLICAS)                                                                                    \
    X(STORAGE)                                                                                     \
    X(SUBDOMAIN)                                                                                   \
    X(MEMORY)                                                                                      \
    X(CPU)                                                                                         \
    X(PORT)                                                                                        \
    X(SERVICE_TYPE)                                                                                \
    X(HOST)                                                                                        \
    X(TRUTH)                                                                                       \
    X(GRACE)                                                                                       \
    X(RETENTION)

enum cluster_value_kind {
#define X(kind) CLUSTER_VALUE_##kind,
    CLUSTER_VALUE_KINDS(X)
#undef X
        CLUSTER_VALUE_KIND_COUNT
};

/* Checks one value: NULL and *number (0 where the kind has none), or what is wrong with it, as the
   end of a sentence that begins with the value. */
const char *cluster_value_check(enum cluster_value_kind kind, str text, uint64_t *number);
