#include "store/store_state.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

const struct segment_list *store_segments(struct store *store, uint32_t shard) {
    return atomic_load_explicit(&store->shards[shard].segments, memory_order_acquire);
}

const struct segment_list *store_segments_now(const struct store *store, uint32_t shard) {
    return atomic_load_explicit(&store->shards[shard].segments, memory_order_relaxed);
}

void store_segments_free(struct segment_list *list) {
    if (list == NULL)
        return;
    for (uint32_t i = 0; i < list->count; i++)
        segment_unref(list->segments[i]);
    free(list);
}

static void release_list(void *list, void *context) {
    (void)context;
    store_segments_free(list);
}

static bool holds(const struct segment_vec *set, const struct segment *segment) {
    for (size_t i = 0; set != NULL && i < set->n; i++)
        if (set->p[i] == segment)
            return true;
    return false;
}

/* Inserts keeping ascending sequences; what is given first stands first among equals. */
static void insert(struct segment_list *list, struct segment *segment) {
    uint64_t sequence = segment_info(segment)->sequence;
    uint32_t at = list->count++;
    for (; at > 0 && segment_info(list->segments[at - 1])->sequence > sequence; at--)
        list->segments[at] = list->segments[at - 1];
    list->segments[at] = segment;
    segment_ref(segment);
}

enum rc store_segments_plan(struct store *store, uint32_t shard, const struct segment_vec *removed,
                            const struct segment_vec *added, struct segment_list **out) {
    const struct segment_list *now = store_segments_now(store, shard);
    size_t room = (now == NULL ? 0 : now->count) + (added == NULL ? 0 : added->n);
    struct segment_list *list = malloc(sizeof(*list) + room * sizeof(list->segments[0]));
    if (list == NULL)
        return RC_NOMEM;
    list->count = 0;
    for (uint32_t i = 0; now != NULL && i < now->count; i++)
        if (!holds(removed, now->segments[i]))
            insert(list, now->segments[i]);
    for (size_t i = 0; added != NULL && i < added->n; i++)
        if (segment_info(added->p[i])->shard == shard)
            insert(list, added->p[i]);
    *out = list;
    return RC_OK;
}

void store_segments_swap(struct store *store, uint32_t shard, struct segment_list *list) {
    struct shard *at = &store->shards[shard];
    mutex_lock(&at->lock);
    struct segment_list *before =
        atomic_exchange_explicit(&at->segments, list, memory_order_acq_rel);
    mutex_unlock(&at->lock);
    if (before != NULL)
        epoch_retire(store->epochs, before, release_list, NULL);
}

struct manifest_object store_segments_object(const struct segment *segment) {
    const struct segment_info *info = segment_info(segment);
    struct manifest_object object = {.shard = (uint16_t)info->shard,
                                     .sequence = info->sequence,
                                     .bytes = info->bytes,
                                     .checksum = info->checksum};
    snprintf(object.name, sizeof(object.name), "%.*s", MANIFEST_NAME_MAX, info->name);
    return object;
}
