/*
 * The manifests of a cluster, for `kubectl apply -f -`.
 *
 * One document an object, in the order in which they need each other: Namespace, ServiceAccount,
 * ConfigMap, NetworkPolicy, StatefulSet (with a volume) or Deployment (in memory), Service,
 * headless Service, PodDisruptionBudget, Ingress, ServiceMonitor. The same cluster gives the same
 * text.
 */
#pragma once

#include "base/buf.h"
#include "kube/cluster.h"

struct manifests_origin {
    const char *program; /* "barograph 0.1.0" */
    const char *source;  /* the name of the file with the labels */
};

/* Appends all of them to `out`, which fails when memory is out. */
void manifests_write(const struct cluster *cluster, const struct manifests_origin *origin,
                     struct buf *out);
