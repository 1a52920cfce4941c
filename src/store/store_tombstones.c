#include "store/store_state.h"

#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

const struct tombstone *store_tombstones(struct store *store, uint32_t series_id, uint32_t *count) {
    const struct tombstone_table *table =
        atomic_load_explicit(&store->tombstones, memory_order_acquire);
    *count = 0;
    if (LIKELY(table == NULL))
        return NULL;
    uint32_t low = 0;
    uint32_t high = table->series_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->series_id[middle] < series_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == table->series_count || table->series_id[low] != series_id)
        return NULL;
    *count = table->first[low + 1] - table->first[low];
    return table->ranges + table->first[low];
}

/* ---- in order ---- */

static int compare(const void *a, const void *b) {
    const struct manifest_tombstone *x = a;
    const struct manifest_tombstone *y = b;
    if (x->series_id != y->series_id)
        return x->series_id < y->series_id ? -1 : 1;
    if (x->range.from_ms != y->range.from_ms)
        return x->range.from_ms < y->range.from_ms ? -1 : 1;
    return (x->range.to_ms < y->range.to_ms) - (x->range.to_ms > y->range.to_ms);
}

/* True if whatever `b` hides `a` hides too. */
static bool covers(const struct manifest_tombstone *a, const struct manifest_tombstone *b) {
    return a->series_id == b->series_id && a->range.from_ms <= b->range.from_ms &&
           a->range.to_ms >= b->range.to_ms && a->range.sequence >= b->range.sequence;
}

static void normalise(struct manifest_tombstones *all) {
    if (all->n == 0)
        return;
    qsort(all->p, all->n, sizeof(all->p[0]), compare);
    size_t kept = 1;
    for (size_t i = 1; i < all->n; i++) {
        if (covers(&all->p[kept - 1], &all->p[i]))
            continue;
        if (covers(&all->p[i], &all->p[kept - 1]))
            kept--;
        all->p[kept++] = all->p[i];
    }
    all->n = kept;
}

/* ---- publishing ---- */

static void table_free(struct tombstone_table *table) {
    if (table == NULL)
        return;
    free(table->series_id);
    free(table->first);
    free(table->ranges);
    free(table);
}

static void release_table(void *table, void *context) {
    (void)context;
    table_free(table);
}

static struct tombstone_table *table_new(const struct manifest_tombstones *all) {
    struct tombstone_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->series_id = malloc(all->n * sizeof(*table->series_id));
    table->first = malloc((all->n + 1) * sizeof(*table->first));
    table->ranges = malloc(all->n * sizeof(*table->ranges));
    if (table->series_id == NULL || table->first == NULL || table->ranges == NULL) {
        table_free(table);
        return NULL;
    }
    for (size_t i = 0; i < all->n; i++) {
        if (i == 0 || all->p[i].series_id != all->p[i - 1].series_id) {
            table->series_id[table->series_count] = all->p[i].series_id;
            table->first[table->series_count++] = (uint32_t)i;
        }
        table->ranges[i] = all->p[i].range;
    }
    table->first[table->series_count] = (uint32_t)all->n;
    return table;
}

enum rc store_tombstones_publish(struct store *store) {
    struct tombstone_table *table = NULL;
    normalise(&store->manifest.tombstones);
    if (store->manifest.tombstones.n > 0) {
        table = table_new(&store->manifest.tombstones);
        if (table == NULL)
            return RC_NOMEM;
    }
    struct tombstone_table *before =
        atomic_exchange_explicit(&store->tombstones, table, memory_order_acq_rel);
    if (before != NULL)
        epoch_retire(store->epochs, before, release_table, NULL);
    return RC_OK;
}

void store_tombstones_free(struct store *store) {
    table_free(atomic_load(&store->tombstones));
}

/* ---- adding ---- */

enum rc store_tombstones_add(struct store *store, const struct manifest_tombstone *added,
                             uint32_t count) {
    struct manifest_tombstones *all = &store->manifest.tombstones;
    if (count == 0)
        return RC_OK;
    if (!manifest_tombstones_reserve(all, all->n + count))
        return RC_NOMEM;
    memcpy(all->p + all->n, added, count * sizeof(added[0]));
    all->n += count;
    return RC_OK;
}

/* ---- pruning ---- */

/* True if the vector holds a point of the range, or if that cannot be told. */
static bool vector_holds(struct segment *segment, uint32_t vector,
                         const struct vector_summary *summary, const struct tombstone *range) {
    if (summary->time_first_ms > range->to_ms || summary->time_last_ms < range->from_ms)
        return false;
    const uint8_t *payload;
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    if (segment_payload(segment, vector, &payload) < 0 ||
        vector_decode_times(summary, payload, time_ms) < 0)
        return true;
    for (uint32_t i = 0; i < summary->count; i++)
        if (time_ms[i] >= range->from_ms && time_ms[i] <= range->to_ms)
            return true;
    return false;
}

static bool segment_holds(struct segment *segment, const struct manifest_tombstone *tombstone) {
    const struct segment_info *info = segment_info(segment);
    const struct tombstone *range = &tombstone->range;
    if (info->sequence > range->sequence || info->time_first_ms > range->to_ms ||
        info->time_last_ms < range->from_ms)
        return false;
    const struct vector_summary *summaries;
    uint32_t first;
    uint32_t count;
    if (segment_vectors(segment, tombstone->series_id, &summaries, &first, &count) < 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (vector_holds(segment, first + i, &summaries[i], range))
            return true;
    return false;
}

static bool is_needed(struct store *store, uint32_t shard,
                      const struct manifest_tombstone *tombstone) {
    for (size_t i = 0; i < store->isolated.n; i++)
        if (store->isolated.p[i].shard == shard)
            return true;
    const struct segment_list *list = store_segments_now(store, shard);
    epoch_pin(store->epochs);
    bool needed = false;
    for (uint32_t i = 0; i < list->count && !needed; i++)
        needed = segment_holds(list->segments[i], tombstone);
    epoch_unpin(store->epochs);
    return needed;
}

enum rc store_tombstones_prune(struct store *store, uint32_t shard) {
    struct manifest_tombstones *all = &store->manifest.tombstones;
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        const struct series *series = index_by_id(store->index, all->p[i].series_id);
        bool gone =
            series == NULL || (series->shard == shard && !is_needed(store, shard, &all->p[i]));
        if (!gone)
            all->p[kept++] = all->p[i];
    }
    if (kept == all->n)
        return RC_OK;
    all->n = kept;
    return store_tombstones_publish(store);
}
