#include "store/store_state.h"

#include "os/clock.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    REMOVE_STEP = 1024, /* series removed under one hold of the removal lock */
    JUMP_MS = 60000     /* a clock that is off by more than this between two looks has jumped */
};

static const int64_t FOREVER_MS = INT64_MAX;

/* ---- how long a metric is kept ---- */

/* Glob: '*' any run of bytes, '?' any one byte. Linear but for backing up to the last star. */
static bool glob(str pattern, str name) {
    size_t p = 0;
    size_t n = 0;
    size_t star = SIZE_MAX;
    size_t retry = 0;
    while (n < name.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            retry = n;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == name.p[n])) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++retry;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

static int64_t look_up(struct store *store, uint32_t metric_uid) {
    epoch_pin(store->epochs);
    str name = index_name(store->index, INDEX_METRIC, metric_uid);
    int64_t keep_ms = FOREVER_MS;
    for (uint32_t i = 0; name.p != NULL && i < store->options.retention_count; i++) {
        const struct store_retention *retention = &store->options.retention[i];
        if (!glob(retention->pattern, name))
            continue;
        if (retention->duration_ms > 0)
            keep_ms = retention->duration_ms;
        break;
    }
    epoch_unpin(store->epochs);
    return keep_ms;
}

/* Where the answer for a metric is remembered, or NULL. */
static _Atomic int64_t *slot_of(struct store *store, uint32_t metric_uid) {
    uint32_t number = metric_uid / RETENTION_PAGE;
    if (number >= RETENTION_PAGES)
        return NULL;
    struct retention_page *page = atomic_load(&store->retention[number]);
    if (page == NULL) {
        struct retention_page *fresh = calloc(1, sizeof(*fresh));
        if (fresh == NULL)
            return NULL;
        if (atomic_compare_exchange_strong(&store->retention[number], &page, fresh))
            page = fresh;
        else
            free(fresh);
    }
    return &page->keep_ms[metric_uid % RETENTION_PAGE];
}

static int64_t keep_ms_of(struct store *store, uint32_t metric_uid) {
    _Atomic int64_t *slot = slot_of(store, metric_uid);
    int64_t keep_ms = slot == NULL ? 0 : atomic_load_explicit(slot, memory_order_relaxed);
    if (keep_ms != 0)
        return keep_ms;
    keep_ms = look_up(store, metric_uid);
    if (slot != NULL)
        atomic_store_explicit(slot, keep_ms, memory_order_relaxed);
    return keep_ms;
}

static int64_t cutoff_at(struct store *store, uint32_t metric_uid, int64_t now_ms) {
    if (store->options.retention_count == 0)
        return INT64_MIN;
    int64_t keep_ms = keep_ms_of(store, metric_uid);
    int64_t cutoff_ms;
    if (keep_ms == FOREVER_MS || __builtin_sub_overflow(now_ms, keep_ms, &cutoff_ms))
        return INT64_MIN;
    return cutoff_ms;
}

int64_t store_cutoff_ms(struct store *store, uint32_t metric_uid) {
    if (store->options.retention_count == 0)
        return INT64_MIN;
    return cutoff_at(store, metric_uid, clock_wall_ms(store->options.clock));
}

static void forget_durations(struct store *store) {
    for (uint32_t i = 0; i < RETENTION_PAGES; i++) {
        struct retention_page *page = atomic_load(&store->retention[i]);
        for (uint32_t k = 0; page != NULL && k < RETENTION_PAGE; k++)
            atomic_store_explicit(&page->keep_ms[k], 0, memory_order_relaxed);
    }
}

void store_retention_free(struct store *store) {
    for (uint32_t i = 0; i < RETENTION_PAGES; i++)
        free(atomic_load(&store->retention[i]));
}

/* ---- whether the clock is believed ---- */

/* A clock set years ahead would make retention remove everything. So a jump only hides points,
   which come back with the right time; what removes them waits until the clock has gone evenly for
   a while. */
void store_clock_look(struct store *store) {
    int64_t now_ns = clock_monotonic_ns();
    int64_t offset_ms = clock_wall_ms(store->options.clock) - now_ns / 1000000;
    int64_t jump_ms = offset_ms - store->clock_offset_ms;
    store->clock_offset_ms = offset_ms;
    if (store->clock_even_ns != 0 && jump_ms < JUMP_MS && jump_ms > -JUMP_MS)
        return;
    if (store->clock_even_ns != 0 && store->options.retention_count > 0)
        store_report(
            store, "the clock jumped by %" PRId64 " s: retention removes nothing for %" PRIu32 " s",
            jump_ms / 1000, store->options.clock_patience_s);
    store->clock_even_ns = now_ns;
}

static bool clock_is_believed(const struct store *store) {
    int64_t patience_ns = (int64_t)store->options.clock_patience_s * 1000000000;
    return patience_ns == 0 || (store->clock_even_ns != 0 &&
                                clock_monotonic_ns() - store->clock_even_ns >= patience_ns);
}

int64_t store_removal_cutoff_ms(struct store *store, uint32_t metric_uid) {
    return clock_is_believed(store) ? store_cutoff_ms(store, metric_uid) : INT64_MIN;
}

/* ---- segments that are wholly past it ---- */

static bool is_past(struct store *store, struct segment *segment, int64_t now_ms) {
    int64_t last_ms = segment_info(segment)->time_last_ms;
    uint64_t cursor = 0;
    uint32_t series_id;
    bool past = true;
    epoch_pin(store->epochs);
    while (past && segment_next_series(segment, &cursor, &series_id)) {
        const struct series *series = index_by_id(store->index, series_id);
        past = series == NULL || cutoff_at(store, series->metric_uid, now_ms) > last_ms;
    }
    epoch_unpin(store->epochs);
    return past && segment_damaged(segment) == 0; /* the walk leaves out what is damaged */
}

static enum rc drop(struct store *store, uint32_t shard, struct store_leftovers *gone,
                    struct err *err) {
    struct segment_list *lists[STORE_SHARDS_MAX] = {0};
    struct manifest draft = {0};
    size_t count = gone->segments.n;
    enum rc rc = store_segments_plan(store, shard, &gone->segments, NULL, &lists[shard]);
    if (rc == RC_OK)
        rc = store_manifest_draft(store, &draft);
    if (rc == RC_OK)
        rc = store_manifest_add_segments(store, &draft, lists);
    if (rc < 0)
        err_set(err, rc, "out of memory for the manifest");
    else
        rc = store_manifest_commit(store, &draft, gone, err);
    if (rc == RC_OK) {
        store_segments_swap(store, shard, lists[shard]);
        store->removal_due = true;
        store_note(store, "retention: %zu segments of shard %u removed", count, shard);
    } else {
        store_segments_free(lists[shard]);
    }
    manifest_fini(&draft);
    return rc;
}

static enum rc drop_past(struct store *store, uint32_t shard, int64_t now_ms, struct err *err) {
    struct store_leftovers gone = {0};
    const struct segment_list *list = store_segments_now(store, shard);
    enum rc rc = RC_OK;
    for (uint32_t i = 0; i < list->count && rc == RC_OK; i++) {
        if (!is_past(store, list->segments[i], now_ms))
            continue;
        if (segment_vec_push(&gone.segments, list->segments[i]))
            segment_ref(list->segments[i]);
        else
            rc = err_set(err, RC_NOMEM, "out of memory for the list of segments");
    }
    if (rc == RC_OK && gone.segments.n > 0)
        rc = drop(store, shard, &gone, err);
    store_leftovers_free(&gone);
    return rc;
}

/* ---- series without data ---- */

static bool has_segments(struct store *store, const struct series *series) {
    const struct segment_list *list = store_segments_now(store, series->shard);
    for (size_t i = 0; i < store->isolated.n; i++)
        if (store->isolated.p[i].shard == series->shard)
            return true;
    bool found = false;
    for (uint32_t i = 0; i < list->count && !found; i++) {
        const struct vector_summary *summaries;
        uint32_t first;
        uint32_t count;
        found = segment_vectors(list->segments[i], series->id, &summaries, &first, &count) < 0 ||
                count > 0;
    }
    return found;
}

/* A series that is listed but has lost its points to a delete leaves the list, and then the index,
   after the next checkpoint. */
static bool has_head(struct store *store, struct series *series) {
    struct shard *shard = &store->shards[series->shard];
    mutex_lock(&shard->lock);
    bool has = series->listed || !head_is_empty(&series->head);
    mutex_unlock(&shard->lock);
    return has;
}

/* Fills `ids` with up to REMOVE_STEP series from *cursor on that seem to have no data. */
static uint32_t find_empty(struct store *store, uint32_t *cursor, uint32_t *ids) {
    uint32_t last = index_series_id_max(store->index);
    uint32_t count = 0;
    for (; *cursor <= last && count < REMOVE_STEP; ++*cursor) {
        epoch_pin(store->epochs);
        struct series *series = index_by_id(store->index, *cursor);
        if (series != NULL && !has_head(store, series) && !has_segments(store, series))
            ids[count++] = *cursor;
        epoch_unpin(store->epochs);
    }
    return count;
}

/* Segments cannot have got points since they were looked at (`maintenance` is held), heads can. */
static void remove_series(struct store *store, const uint32_t *ids, uint32_t count) {
    rwlock_write(&store->removal);
    for (uint32_t i = 0; i < count; i++) {
        struct series *series = index_by_id(store->index, ids[i]);
        if (series != NULL && !has_head(store, series))
            index_remove(store->index, series);
    }
    atomic_fetch_add(&store->generation, 1);
    forget_durations(store);
    rwlock_unlock(&store->removal);
}

static void remove_empty(struct store *store) {
    uint32_t ids[REMOVE_STEP];
    uint32_t cursor = 1;
    for (;;) {
        uint32_t count = find_empty(store, &cursor, ids);
        /* Writers that wait for memory hold the other side of the removal lock. */
        if (count == 0 || store_memory_full(store))
            return;
        remove_series(store, ids, count);
    }
}

enum rc store_retention_run(struct store *store, struct err *err) {
    int64_t now_ms = clock_wall_ms(store->options.clock);
    bool some = store->options.retention_count > 0 && clock_is_believed(store);
    for (uint32_t shard = 0; some && shard < store->shard_count; shard++)
        TRY(drop_past(store, shard, now_ms, err));
    if (store->removal_due) {
        store->removal_due = false;
        remove_empty(store);
    }
    return RC_OK;
}
