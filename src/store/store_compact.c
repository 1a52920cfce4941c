#include "store/store_state.h"

#include <string.h>

enum { INPUTS_MAX = 64 };

/* Puts the outputs in place of the inputs. The outputs' references are taken over. */
static enum rc replace(struct store *store, uint32_t shard, struct store_leftovers *gone,
                       const struct segment_vec *added, struct err *err) {
    struct segment_list *lists[STORE_SHARDS_MAX] = {0};
    struct manifest draft = {0};
    enum rc rc = store_segments_plan(store, shard, &gone->segments, added, &lists[shard]);
    if (rc == RC_OK)
        rc = store_manifest_draft(store, &draft);
    if (rc == RC_OK)
        rc = store_manifest_add_segments(store, &draft, lists);
    if (rc < 0) {
        err_set(err, rc, "out of memory for the manifest");
        rc = RC_NO_SPACE; /* nothing was stored: the outputs can go */
    }
    if (rc == RC_OK)
        rc = store_manifest_commit(store, &draft, gone, err);
    if (rc == RC_OK) {
        store_segments_swap(store, shard, lists[shard]);
    } else {
        store_segments_free(lists[shard]);
        for (size_t i = 0; i < added->n && rc == RC_NO_SPACE; i++)
            segment_discard(added->p[i]);
        rc = err == NULL ? rc : err->rc;
    }
    manifest_fini(&draft);
    return rc;
}

static enum rc merge(struct store *store, uint32_t shard, struct segment **inputs, uint32_t count,
                     int64_t window_ms, struct err *err) {
    struct store_leftovers gone = {0};
    struct compaction compaction = {0};
    if (!segment_vec_reserve(&gone.segments, count))
        return err_set(err, RC_NOMEM, "out of memory for a compaction");
    enum rc rc = compact_segments(store, shard, inputs, count, window_ms, &compaction, err);
    if (rc < 0) {
        segment_vec_fini(&gone.segments);
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        segment_ref(inputs[i]);
        gone.segments.p[gone.segments.n++] = inputs[i];
    }
    struct segment_vec added = {.p = compaction.outputs, .n = compaction.output_count};
    rc = replace(store, shard, &gone, &added, err);
    for (uint32_t i = 0; i < compaction.output_count; i++)
        segment_unref(compaction.outputs[i]);
    store_leftovers_free(&gone);
    if (rc < 0)
        return rc;
    atomic_fetch_add(&store->compactions, 1);
    if (store->manifest.tombstones.n > 0 || store->options.retention_count > 0)
        store->removal_due |= compaction.points_out < compaction.points_in;
    if (store->manifest.tombstones.n > 0 && store_tombstones_prune(store, shard) < 0)
        return err_set(err, RC_NOMEM, "out of memory for the list of deletes");
    return RC_OK;
}

enum rc store_compact_step(struct store *store, bool *done, struct err *err) {
    *done = false;
    int64_t now_ms = clock_wall_ms(store->options.clock);
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        struct segment *inputs[INPUTS_MAX];
        int64_t window_ms;
        uint32_t count = compact_choose(store_segments_now(store, shard), now_ms,
                                        store->options.window_ms, inputs, INPUTS_MAX, &window_ms);
        if (count == 0)
            continue;
        TRY(merge(store, shard, inputs, count, window_ms, err));
        *done = true;
    }
    return RC_OK;
}

/* Everything of a shard into windows of `window_ms`: all its segments are adjacent. */
static enum rc merge_all(struct store *store, uint32_t shard, struct err *err) {
    const struct segment_list *list = store_segments_now(store, shard);
    struct segment_vec inputs = {0};
    int64_t first_ms = INT64_MAX;
    int64_t last_ms = INT64_MIN;
    if (list->count == 0)
        return RC_OK;
    if (!segment_vec_reserve(&inputs, list->count))
        return err_set(err, RC_NOMEM, "out of memory for a compaction");
    for (uint32_t i = 0; i < list->count; i++) {
        const struct segment_info *info = segment_info(list->segments[i]);
        inputs.p[inputs.n++] = list->segments[i];
        first_ms = info->time_first_ms < first_ms ? info->time_first_ms : first_ms;
        last_ms = info->time_last_ms > last_ms ? info->time_last_ms : last_ms;
    }
    /* As many windows as there may be outputs, with one to spare at either end. */
    int64_t window_ms = store->options.window_ms * 7;
    while ((last_ms - first_ms) / window_ms >
           (int64_t)(sizeof(((struct compaction *)0)->outputs) / sizeof(struct segment *)) - 2)
        window_ms *= 7;
    enum rc rc = merge(store, shard, inputs.p, (uint32_t)inputs.n, window_ms, err);
    segment_vec_fini(&inputs);
    return rc;
}

enum rc store_compact(struct store *store, struct err *err) {
    enum rc rc = RC_OK;
    mutex_lock(&store->maintenance);
    for (uint32_t shard = 0; shard < store->shard_count && rc == RC_OK; shard++)
        rc = merge_all(store, shard, err);
    mutex_unlock(&store->maintenance);
    store_collect(store);
    return rc;
}
