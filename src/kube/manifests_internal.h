/*
 * What the writers of single objects share.
 */
#pragma once

#include "kube/cluster.h"
#include "kube/manifests.h"
#include "kube/yaml.h"

/* The name of the port in all objects, and of the volume. */
#define MANIFESTS_PORT STR("tsdb")
#define MANIFESTS_VOLUME STR("data")

struct manifests {
    struct yaml yaml;
    const struct cluster *cluster;
    str version;          /* a tag that fits a label, or empty */
    struct buf headless;  /* name of the headless Service */
    char config_hash[17]; /* of the ConfigMap's data */
};

/* A document, its kind, and metadata with name and labels; metadata is left open. */
void manifests_begin(struct manifests *m, const char *api, const char *kind, str name);

/* The labels that select the Pods, which must never change. */
void manifests_selector(struct manifests *m);

/* Those, and what only describes. */
void manifests_labels(struct manifests *m);

/* The StatefulSet or the Deployment. */
void manifests_workload(struct manifests *m);
