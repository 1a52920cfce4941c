/*
 * The newest point of a series, newest sources first: mostly the tail alone, or one summary.
 */
#include "store/scan.h"

#include "base/check.h"
#include "store/scan_state.h"

/* The range still of interest, and the newest point in it so far. Sources come in order of falling
   recency, so a later one must have a strictly newer time. */
struct newest {
    struct scan_merge *merge;
    int64_t from_ms;
    int64_t to_ms;
    bool found;
    int64_t time_ms;
    struct value value;
};

/* The earliest time that would be news. */
static int64_t wanted_from(const struct newest *newest) {
    return newest->found ? newest->time_ms + 1 : newest->from_ms;
}

static void take(struct newest *newest, int64_t time_ms, uint64_t bits, bool is_float) {
    newest->found = true;
    newest->time_ms = time_ms;
    newest->value = (struct value){bits, is_float};
}

static void look_at_tail(struct newest *newest, const struct head_view *view) {
    for (uint32_t i = view->tail_count; i-- > 0;) {
        int64_t time_ms = view->tail_time_ms[i];
        if (time_ms <= newest->to_ms && time_ms >= wanted_from(newest))
            take(newest, time_ms, view->tail_bits[i], (view->tail_float_mask >> i & 1) != 0);
    }
}

/* The last value from the summary alone, where that is exact. */
static bool last_of_summary(const struct vector_summary *summary, uint64_t *bits) {
    if (summary->kind == POINTS_DOUBLES) {
        *bits = points_bits_of(summary->last);
        return true;
    }
    if (summary->kind == POINTS_INTEGERS && summary->last > -0x1p53 && summary->last < 0x1p53) {
        *bits = (uint64_t)(int64_t)summary->last;
        return true;
    }
    return false;
}

/* Decodes what of the piece is of interest; the merge clips, and hides what tombstones hide. */
static enum rc look_inside(struct newest *newest, struct segment *segment, uint32_t vector,
                           const struct vector_summary *summary, const uint8_t *payload) {
    struct scan_merge *merge = newest->merge;
    const struct tombstone *tombstones = merge->tombstones;
    uint32_t tombstone_count = merge->tombstone_count;
    scan_merge_begin(merge, wanted_from(newest), newest->to_ms, tombstones, tombstone_count);
    enum rc rc = segment == NULL ? scan_merge_add_vector(merge, summary, payload, 0)
                                 : scan_merge_add_stored(merge, segment, vector, summary, 0);
    TRY(rc);
    scan_merge_start(merge);
    struct points points;
    for (;;) {
        int outcome = scan_merge_next(merge, &points);
        if (outcome <= 0)
            return (enum rc)outcome;
        if (outcome == SCAN_VECTOR) {
            rc = scan_merge_decode(merge, &points);
            if (rc == RC_CORRUPT)
                continue;
            TRY(rc);
        }
        uint32_t i = points.count - 1;
        take(newest, points.time_ms[i], points.bits[i], points_is_float(&points, i));
    }
}

static enum rc look_at_vector(struct newest *newest, struct segment *segment, uint32_t vector,
                              const struct vector_summary *summary, const uint8_t *payload) {
    if (summary->time_last_ms < wanted_from(newest) || summary->time_first_ms > newest->to_ms)
        return RC_OK;
    uint64_t bits;
    bool whole = summary->time_last_ms <= newest->to_ms &&
                 (segment == NULL || newest->merge->tombstone_count == 0);
    if (whole && last_of_summary(summary, &bits)) {
        take(newest, summary->time_last_ms, bits, summary->kind == POINTS_DOUBLES);
        return RC_OK;
    }
    return look_inside(newest, segment, vector, summary, payload);
}

static enum rc look_at_segment(struct newest *newest, struct segment *segment, uint32_t series_id) {
    const struct segment_info *info = segment_info(segment);
    if (info->time_last_ms < wanted_from(newest) || info->time_first_ms > newest->to_ms)
        return RC_OK;
    const struct vector_summary *summaries;
    uint32_t first, count, begin, end;
    enum rc rc = segment_vectors(segment, series_id, &summaries, &first, &count);
    if (rc == RC_CORRUPT) {
        scan_merge_damage(newest->merge, segment);
        return RC_OK;
    }
    TRY(rc);
    scan_merge_range(summaries, count, wanted_from(newest), newest->to_ms, &begin, &end);
    while (end-- > begin) {
        /* Within a segment times ascend: what an earlier vector has is no news any more. */
        if (summaries[end].time_last_ms < wanted_from(newest))
            return RC_OK;
        TRY(look_at_vector(newest, segment, first + end, &summaries[end], NULL));
    }
    return RC_OK;
}

static enum rc look(struct newest *newest, const struct series *series) {
    struct head_view view;
    head_view(&series->head, &view);
    const struct segment_list *list = store_segments(newest->merge->store, series->shard);
    look_at_tail(newest, &view);
    for (uint32_t i = view.vector_count; i-- > 0;)
        TRY(look_at_vector(newest, NULL, 0, &view.vectors[i]->summary, view.vectors[i]->payload));
    for (uint32_t i = list == NULL ? 0 : list->count; i-- > 0;)
        TRY(look_at_segment(newest, list->segments[i], series->id));
    return RC_OK;
}

int scan_last(struct scan *scan, struct series *series, int64_t from_ms, int64_t to_ms,
              int64_t *time_ms, struct value *value) {
    struct scan_state *state = scan->state;
    struct store *store = state->merge.store;
    CHECK(!state->open);
    epoch_pin(state->epochs);
    int64_t cutoff_ms = store_cutoff_ms(store, series->metric_uid);
    struct newest newest = {
        .merge = &state->merge,
        .from_ms = from_ms > cutoff_ms ? from_ms : cutoff_ms,
        .to_ms = to_ms,
    };
    uint32_t tombstone_count;
    const struct tombstone *tombstones = store_tombstones(store, series->id, &tombstone_count);
    scan_merge_begin(&state->merge, from_ms, to_ms, tombstones, tombstone_count);
    enum rc rc = newest.from_ms > to_ms ? RC_OK : look(&newest, series);
    scan_merge_begin(&state->merge, 0, 0, NULL, 0);
    epoch_unpin(state->epochs);
    scan->damaged = state->merge.damaged;
    scan->bytes_seen = state->merge.bytes_seen;
    if (rc < 0)
        return rc;
    if (newest.found) {
        *time_ms = newest.time_ms;
        *value = newest.value;
    }
    return newest.found;
}
