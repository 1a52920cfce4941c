/*
 * Scanning one series: gathers what the head and the segments of its shard have and merges it
 * (scan_merge.h).
 */
#include "store/scan.h"

#include "base/check.h"
#include "store/scan_state.h"

#include <stdlib.h>

enum rc scan_init(struct scan *scan, struct store *store, struct budget *budget) {
    *scan = (struct scan){0};
    scan->state = calloc(1, sizeof(*scan->state));
    if (scan->state == NULL)
        return RC_NOMEM;
    scan->state->epochs = store_epochs(store);
    scan_merge_init(&scan->state->merge, store, budget);
    return RC_OK;
}

void scan_fini(struct scan *scan) {
    if (scan->state == NULL)
        return;
    scan_close(scan);
    scan_merge_fini(&scan->state->merge);
    free(scan->state);
    *scan = (struct scan){0};
}

/* Adds everything to the merge. */
static enum rc gather(struct scan_merge *merge, const struct head_view *view,
                      const struct segment_list *list, uint32_t series_id) {
    uint32_t segments = list == NULL ? 0 : list->count;
    for (uint32_t i = 0; i < segments; i++)
        TRY(scan_merge_add_segment(merge, list->segments[i], series_id, i));
    for (uint32_t i = 0; i < view->vector_count; i++)
        TRY(scan_merge_add_vector(merge, &view->vectors[i]->summary, view->vectors[i]->payload,
                                  segments + i));
    TRY(scan_merge_add_tail(merge, view, segments + view->vector_count));
    scan_merge_start(merge);
    return RC_OK;
}

/* The head is looked at before the segments: what leaves it in between is in both. */
static enum rc look(struct scan_state *state, const struct series *series) {
    struct scan_merge *merge = &state->merge;
    head_view(&series->head, &state->view);
    const struct segment_list *list = store_segments(merge->store, series->shard);
    if (merge->tombstone_count == 0 && scan_line_up(state, list, series->id))
        return RC_OK;
    return gather(merge, &state->view, list, series->id);
}

enum rc scan_open(struct scan *scan, struct series *series, int64_t from_ms, int64_t to_ms) {
    struct scan_state *state = scan->state;
    struct store *store = state->merge.store;
    CHECK(!state->open);
    epoch_pin(state->epochs);
    state->open = true;
    int64_t cutoff_ms = store_cutoff_ms(store, series->metric_uid);
    uint32_t tombstone_count;
    const struct tombstone *tombstones = store_tombstones(store, series->id, &tombstone_count);
    scan_merge_begin(&state->merge, from_ms > cutoff_ms ? from_ms : cutoff_ms, to_ms, tombstones,
                     tombstone_count);
    scan->summary = NULL;
    enum rc rc = RC_OK;
    if (state->merge.from_ms <= to_ms)
        rc = look(state, series);
    scan->damaged = state->merge.damaged;
    if (rc < 0) {
        scan_close(scan);
        return rc;
    }
    return RC_OK;
}

/* Carries the merge's counts over. */
static void count(struct scan *scan, uint64_t points) {
    scan->damaged = scan->state->merge.damaged;
    scan->bytes_seen = scan->state->merge.bytes_seen;
    scan->points_seen += points;
}

int scan_next(struct scan *scan) {
    struct scan_state *state = scan->state;
    CHECK(state->open);
    int outcome = state->line.active ? scan_line_next(state, &scan->points)
                                     : scan_merge_next(&state->merge, &scan->points);
    uint64_t points = 0;
    scan->summary = NULL;
    if (outcome == SCAN_VECTOR) {
        scan->summary = state->merge.current->summary;
        points = scan->summary->count;
    } else if (outcome == SCAN_POINTS) {
        points = scan->points.count;
    }
    if (state->line.active)
        scan->points_seen += points;
    else
        count(scan, points);
    return outcome;
}

enum rc scan_payload(struct scan *scan, const uint8_t **payload) {
    struct scan_merge *merge = &scan->state->merge;
    CHECK(merge->current != NULL);
    enum rc rc = scan_merge_payload(merge, merge->current, payload);
    count(scan, 0);
    return rc;
}

enum rc scan_decode(struct scan *scan) {
    enum rc rc = scan_merge_decode(&scan->state->merge, &scan->points);
    count(scan, 0);
    return rc;
}

void scan_close(struct scan *scan) {
    if (!scan->state->open)
        return;
    struct scan_state *state = scan->state;
    state->open = false;
    scan->summary = NULL;
    if (!state->line.active)
        scan_merge_begin(&state->merge, 0, 0, NULL, 0);
    state->line.active = false;
    state->merge.current = NULL;
    epoch_unpin(state->epochs);
}
