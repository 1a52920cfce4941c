#include "store/store_state.h"

#include "store/batch.h"
#include "store/scan.h"

#include <stdlib.h>

/*
 * A delete is logged and applied shard by shard, in short steps under the shard's lock, like the
 * points it stands between. Heads are rewritten at once; segments are immutable and get tombstones,
 * which compaction works in. Checkpoints are held off meanwhile, so that every segment there is
 * was written before the delete, and every one to come after it.
 */

struct deletion {
    struct store *store;
    int64_t from_ms;
    int64_t to_ms;
    uint64_t log_end; /* position after the last record */
    struct manifest_tombstones tombstones;
};

/* ---- counting ---- */

static enum rc count_series(struct scan *scan, struct series *series, const struct deletion *of,
                            uint64_t *count) {
    TRY(scan_open(scan, series, of->from_ms, of->to_ms));
    int outcome;
    while ((outcome = scan_next(scan)) > 0)
        *count += outcome == SCAN_VECTOR ? scan->summary->count : scan->points.count;
    scan_close(scan);
    return outcome < 0 ? (enum rc)outcome : RC_OK;
}

static enum rc count_points(const struct deletion *deletion, struct series *const *series,
                            uint32_t count, uint64_t *points) {
    struct scan scan;
    TRY(scan_init(&scan, deletion->store, deletion->store->options.budget));
    enum rc rc = RC_OK;
    *points = 0;
    for (uint32_t i = 0; i < count && rc == RC_OK; i++)
        if (!series[i]->removed)
            rc = count_series(&scan, series[i], deletion, points);
    scan_fini(&scan);
    return rc;
}

/* ---- segments ---- */

/* True unless the segment certainly has no point of the series in the range. */
static bool may_hold(const struct deletion *deletion, struct segment *segment, uint32_t series_id) {
    const struct segment_info *info = segment_info(segment);
    if (info->time_first_ms > deletion->to_ms || info->time_last_ms < deletion->from_ms)
        return false;
    const struct vector_summary *summaries;
    uint32_t first;
    uint32_t count;
    if (segment_vectors(segment, series_id, &summaries, &first, &count) < 0)
        return true;
    for (uint32_t i = 0; i < count; i++)
        if (summaries[i].time_first_ms <= deletion->to_ms &&
            summaries[i].time_last_ms >= deletion->from_ms)
            return true;
    return false;
}

static bool needs_tombstone(const struct deletion *deletion, const struct series *series) {
    struct store *store = deletion->store;
    bool needed = false;
    for (size_t i = 0; i < store->isolated.n && !needed; i++)
        needed = store->isolated.p[i].shard == series->shard;
    const struct segment_list *list = store_segments_now(store, series->shard);
    epoch_pin(store->epochs);
    for (uint32_t i = 0; i < list->count && !needed; i++)
        needed = may_hold(deletion, list->segments[i], series->id);
    epoch_unpin(store->epochs);
    return needed;
}

static bool add_tombstone(struct deletion *deletion, const struct series *series) {
    struct tombstone range = {deletion->from_ms, deletion->to_ms,
                              deletion->store->manifest.sequence_next - 1};
    return !needs_tombstone(deletion, series) ||
           manifest_tombstones_push(&deletion->tombstones,
                                    (struct manifest_tombstone){series->id, range});
}

/* ---- heads ---- */

static enum rc delete_step(struct deletion *deletion, struct shard *shard,
                           struct series *const *series, uint32_t count, struct err *err) {
    struct store *store = deletion->store;
    struct batch_delete batch = {
        .from_ms = deletion->from_ms, .to_ms = deletion->to_ms, .count = count};
    uint8_t bytes[BATCH_DELETE_BOUND];
    for (uint32_t i = 0; i < count; i++)
        batch.series_id[i] = series[i]->id;
    size_t n = batch_encode_delete(&batch, bytes);
    enum rc rc = RC_OK;
    mutex_lock(&shard->lock);
    if (store->log != NULL)
        rc = log_push(store->log, LOG_DELETE, bytes, n, &deletion->log_end, err);
    for (uint32_t i = 0; i < count && rc == RC_OK; i++)
        if (!head_delete(&series[i]->head, &shard->memory, deletion->from_ms, deletion->to_ms,
                         NULL))
            rc = err_set(err, RC_NOMEM, "out of memory in the middle of a delete: repeat it");
    mutex_unlock(&shard->lock);
    return rc;
}

static enum rc delete_shard(struct deletion *deletion, uint32_t index, struct series *const *series,
                            uint32_t count, struct err *err) {
    struct series *step[BATCH_DELETE_SERIES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (series[i]->shard != index || series[i]->removed)
            continue;
        if (!add_tombstone(deletion, series[i]))
            return err_set(err, RC_NOMEM, "out of memory for a delete");
        step[n++] = series[i];
        if (n < BATCH_DELETE_SERIES)
            continue;
        TRY(delete_step(deletion, &deletion->store->shards[index], step, n, err));
        n = 0;
    }
    return n == 0 ? RC_OK : delete_step(deletion, &deletion->store->shards[index], step, n, err);
}

static enum rc run(struct deletion *deletion, struct series *const *series, uint32_t count,
                   uint64_t *deleted, struct err *err) {
    struct store *store = deletion->store;
    if (deleted != NULL) {
        enum rc rc = count_points(deletion, series, count, deleted);
        if (rc < 0)
            return err_set(err, rc, "the points to delete could not be counted: %s", err_text(rc));
    }
    TRY(store_define(store, err));
    for (uint32_t shard = 0; shard < store->shard_count; shard++)
        TRY(delete_shard(deletion, shard, series, count, err));
    if (deletion->tombstones.n == 0)
        return RC_OK;
    enum rc rc =
        store_tombstones_add(store, deletion->tombstones.p, (uint32_t)deletion->tombstones.n);
    if (rc == RC_OK)
        rc = store_tombstones_publish(store);
    return rc < 0 ? err_set(err, rc, "out of memory in the middle of a delete: repeat it") : RC_OK;
}

enum rc store_delete(struct store *store, struct series *const *series, uint32_t count,
                     int64_t from_ms, int64_t to_ms, uint64_t *deleted, struct err *err) {
    struct deletion deletion = {.store = store, .from_ms = from_ms, .to_ms = to_ms};
    if (deleted != NULL)
        *deleted = 0;
    if (from_ms > to_ms || count == 0)
        return RC_OK;
    mutex_lock(&store->maintenance);
    enum rc rc = run(&deletion, series, count, deleted, err);
    store->removal_due = true;
    mutex_unlock(&store->maintenance);
    manifest_tombstones_fini(&deletion.tombstones);
    if (rc == RC_OK && deletion.log_end > 0)
        rc = log_wait(store->log, deletion.log_end, 0, err);
    if (rc == RC_OK && deleted != NULL)
        atomic_fetch_add(&store->deleted_points, *deleted);
    return rc;
}
