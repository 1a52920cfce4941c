/*
 * Stands in for the engine under tests of scan and compact: the accessors of store/internal.h over
 * plain variables, and heads that hold what the test put there.
 */
#pragma once

#include "base/check.h"
#include "medium/memory_medium.h"
#include "store/index.h"
#include "store/internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { DOUBLE_SERIES_MAX = 64, DOUBLE_SHARD = 3 };

struct store {
    struct medium *medium;
    struct budget budget;
    struct epoch_domain *epochs;
    struct segment_list *list;
    struct tombstone *tombstones; /* of series `tombstone_series` */
    uint32_t tombstone_count;
    uint32_t tombstone_series;
    int64_t cutoff_ms;
    struct series series[DOUBLE_SERIES_MAX]; /* by id */
    struct head_view views[DOUBLE_SERIES_MAX];
    uint64_t damage_reports;
    uint32_t names;
};

static struct store double_store;

const struct segment_list *store_segments(struct store *store, uint32_t shard) {
    CHECK(shard == DOUBLE_SHARD);
    return store->list;
}

struct epoch_domain *store_epochs(struct store *store) {
    return store->epochs;
}

const struct tombstone *store_tombstones(struct store *store, uint32_t series_id, uint32_t *count) {
    *count = series_id == store->tombstone_series ? store->tombstone_count : 0;
    return store->tombstones;
}

int64_t store_cutoff_ms(struct store *store, uint32_t metric_uid) {
    return store->cutoff_ms;
}

__attribute__((unused)) int64_t store_removal_cutoff_ms(struct store *store, uint32_t metric_uid);
int64_t store_removal_cutoff_ms(struct store *store, uint32_t metric_uid) {
    return store->cutoff_ms;
}

void store_damage(struct store *store, const char *what) {
    store->damage_reports++;
}

struct medium *store_medium(struct store *store) {
    return store->medium;
}

struct budget *store_budget(struct store *store) {
    return &store->budget;
}

struct index *store_index(struct store *store) {
    return NULL;
}

struct series *index_by_id(struct index *index, uint32_t id) {
    CHECK(id < DOUBLE_SERIES_MAX);
    return double_store.series[id].id == 0 ? NULL : &double_store.series[id];
}

void store_segment_name(struct store *store, uint32_t shard, char *name, size_t size) {
    snprintf(name, size, "s%u-%u", shard, store->names++);
}

void head_view(const struct head *head, struct head_view *view) {
    for (uint32_t id = 0; id < DOUBLE_SERIES_MAX; id++) {
        if (head == &double_store.series[id].head)
            *view = double_store.views[id];
    }
}

/* An empty engine with the series 1 .. DOUBLE_SERIES_MAX - 1. */
static struct store *double_open(void) {
    struct store *store = &double_store;
    *store = (struct store){.epochs = epoch_domain_new(), .cutoff_ms = INT64_MIN};
    budget_init(&store->budget, 0, NULL);
    CHECK(memory_medium_open(NULL, &store->medium, NULL) == RC_OK);
    store->list = calloc(1, sizeof(*store->list));
    for (uint32_t id = 1; id < DOUBLE_SERIES_MAX; id++)
        store->series[id] = (struct series){.id = id, .metric_uid = 1, .shard = DOUBLE_SHARD};
    return store;
}

static void double_add(struct store *store, struct segment *segment) {
    uint32_t n = store->list->count;
    store->list = realloc(store->list, sizeof(*store->list) + (n + 1) * sizeof(void *));
    CHECK(store->list != NULL);
    store->list->segments[n] = segment;
    store->list->count = n + 1;
}

static void double_close(struct store *store) {
    for (uint32_t i = 0; i < store->list->count; i++)
        segment_unref(store->list->segments[i]);
    free(store->list);
    epoch_domain_free(store->epochs);
    medium_close(store->medium);
    CHECK(budget_used(&store->budget) == 0);
}
