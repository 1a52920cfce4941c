/*
 * Compaction: merges segments of a shard into fewer, with full vectors and the tightest encoding.
 *
 * The inputs are walked side by side by series id; each series goes through the same merge as a
 * scan and is cut into vectors at the borders of the output windows. One output is being written
 * per window. In memory are the merge of one series, one vector, and what the writers keep; what
 * the inputs expand is given back on the way.
 *
 * A compaction that meets damage changes nothing: the damaged segment stays, for repair.
 */
#include "base/check.h"
#include "store/epoch.h"
#include "store/index.h"
#include "store/scan_merge.h"

#include <inttypes.h>
#include <stdlib.h>

enum { TRIM_AFTER_VECTORS = 1 << 18 };

/* An output being written. */
struct output {
    struct segment_writer *writer;
    struct segment_info info;
};

/* Where an input is. */
struct input {
    struct segment *segment;
    uint64_t cursor;
    uint32_t series_id; /* 0: at the end */
};

struct work {
    struct store *store;
    struct err *err;
    uint32_t shard;
    uint64_t sequence;
    int64_t window_ms;
    struct input *inputs;
    uint32_t input_count;
    struct output outputs[COUNT_OF(((struct compaction *)0)->outputs)];
    uint32_t output_count;
    struct scan_merge merge;
    uint32_t series_id; /* at hand */
    uint64_t points_out;
    uint64_t vectors_since_trim;
    /* the vector being filled, of one window */
    struct points points;
    unsigned kinds;
    int64_t window_from_ms;
    uint8_t *payload;
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    uint64_t bits[LIMIT_VECTOR_POINTS];
    uint64_t float_mask[LIMIT_VECTOR_POINTS / 64];
};

/* The window a time belongs to: windows are a grid from the epoch. */
static int64_t window_of(const struct work *work, int64_t time_ms) {
    int64_t rest = time_ms % work->window_ms;
    return time_ms - (rest < 0 ? rest + work->window_ms : rest);
}

/* ---- outputs ---- */

static enum rc output_for(struct work *work, int64_t window_from_ms, struct output **out) {
    for (uint32_t i = 0; i < work->output_count; i++) {
        if (work->outputs[i].info.window_from_ms == window_from_ms) {
            *out = &work->outputs[i];
            return RC_OK;
        }
    }
    if (work->output_count == COUNT_OF(work->outputs))
        return err_set(work->err, RC_LIMIT, "a compaction would spread over more than %zu windows",
                       COUNT_OF(work->outputs));
    struct output *output = &work->outputs[work->output_count];
    output->info = (struct segment_info){
        .shard = work->shard,
        .sequence = work->sequence,
        .window_from_ms = window_from_ms,
        .window_to_ms = window_from_ms + work->window_ms,
        .tight = true,
    };
    store_segment_name(work->store, work->shard, output->info.name, sizeof(output->info.name));
    TRY(segment_writer_new(store_medium(work->store), &output->info, &output->writer, work->err));
    work->output_count++;
    *out = output;
    return RC_OK;
}

static enum rc write_vector(struct work *work, const struct vector_summary *summary,
                            const uint8_t *payload) {
    struct output *output = NULL;
    TRY(output_for(work, window_of(work, summary->time_first_ms), &output));
    work->points_out += summary->count;
    return segment_writer_add(output->writer, work->series_id, summary, payload, work->err);
}

static enum rc flush_vector(struct work *work) {
    struct points *points = &work->points;
    if (points->count == 0)
        return RC_OK;
    struct vector_summary summary;
    points->kind = scan_cursor_kind(work->kinds);
    vector_encode(points, VECTOR_TIGHT, &summary, work->payload);
    points->count = 0;
    work->kinds = 0;
    return write_vector(work, &summary, work->payload);
}

/* ---- one series ---- */

/* Of points [at, count), those before the end of the window of the first, and no more than fit. */
static uint32_t run_length(const struct work *work, const struct points *points, uint32_t at) {
    int64_t end_ms = work->window_from_ms + work->window_ms;
    uint32_t room = LIMIT_VECTOR_POINTS - work->points.count, n = 0;
    while (n < room && at + n < points->count && points->time_ms[at + n] < end_ms)
        n++;
    return n;
}

static void append_run(struct work *work, const struct points *from, uint32_t at, uint32_t n) {
    struct points *to = &work->points;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = to->count + i;
        uint64_t bit = UINT64_C(1) << (k % 64);
        bool is_float = points_is_float(from, at + i);
        to->time_ms[k] = from->time_ms[at + i];
        to->bits[k] = from->bits[at + i];
        to->float_mask[k / 64] =
            is_float ? to->float_mask[k / 64] | bit : to->float_mask[k / 64] & ~bit;
        work->kinds |= scan_cursor_kind_bit(is_float);
    }
    to->count += n;
}

static enum rc append_points(struct work *work, const struct points *points) {
    for (uint32_t at = 0; at < points->count;) {
        int64_t window_from_ms = window_of(work, points->time_ms[at]);
        if (window_from_ms != work->window_from_ms || work->points.count == LIMIT_VECTOR_POINTS) {
            TRY(flush_vector(work));
            work->window_from_ms = window_from_ms;
        }
        uint32_t n = run_length(work, points, at);
        append_run(work, points, at, n);
        at += n;
    }
    return RC_OK;
}

/* Full, tight already, in one window, and nothing is waiting before it: copied as it is. */
static bool can_copy(const struct work *work, const struct scan_piece *piece) {
    const struct vector_summary *summary = piece->summary;
    return summary->count == LIMIT_VECTOR_POINTS && segment_info(piece->segment)->tight &&
           (work->points.count == 0 || work->points.count == LIMIT_VECTOR_POINTS) &&
           window_of(work, summary->time_first_ms) == window_of(work, summary->time_last_ms);
}

static enum rc append_vector(struct work *work) {
    struct points points;
    if (!can_copy(work, work->merge.current)) {
        TRY(scan_merge_decode(&work->merge, &points));
        return append_points(work, &points);
    }
    const uint8_t *payload;
    TRY(flush_vector(work));
    TRY(scan_merge_payload(&work->merge, work->merge.current, &payload));
    return write_vector(work, work->merge.current->summary, payload);
}

static enum rc damaged(struct work *work) {
    return err_set(work->err, RC_CORRUPT,
                   "segments of shard %u are not merged: a block fails its checksum", work->shard);
}

/* Called pinned. */
static enum rc merge_series(struct work *work, const struct series *series) {
    uint32_t tombstone_count;
    const struct tombstone *tombstones =
        store_tombstones(work->store, work->series_id, &tombstone_count);
    struct scan_merge *merge = &work->merge;
    scan_merge_begin(merge, store_removal_cutoff_ms(work->store, series->metric_uid), INT64_MAX,
                     tombstones, tombstone_count);
    for (uint32_t i = 0; i < work->input_count; i++) {
        if (work->inputs[i].series_id == work->series_id)
            TRY(scan_merge_add_segment(merge, work->inputs[i].segment, work->series_id, i));
    }
    work->vectors_since_trim += merge->pieces.n;
    scan_merge_start(merge);
    for (;;) {
        struct points points;
        int outcome = scan_merge_next(merge, &points);
        if (outcome == SCAN_POINTS)
            TRY(append_points(work, &points));
        else if (outcome == SCAN_VECTOR)
            TRY(append_vector(work));
        else if (outcome < 0)
            return (enum rc)outcome;
        else
            break;
    }
    if (merge->damaged > 0)
        return damaged(work);
    return flush_vector(work);
}

static enum rc next_series(struct work *work) {
    epoch_pin(store_epochs(work->store));
    struct series *series = index_by_id(store_index(work->store), work->series_id);
    enum rc rc = series == NULL || series->removed ? RC_OK : merge_series(work, series);
    scan_merge_begin(&work->merge, 0, 0, NULL, 0);
    epoch_unpin(store_epochs(work->store));
    return rc;
}

/* ---- all series ---- */

static enum rc advance(struct work *work, struct input *input) {
    int outcome = segment_next_series(input->segment, &input->cursor, &input->series_id);
    if (outcome == 0)
        input->series_id = 0;
    if (outcome != RC_CORRUPT)
        return outcome < 0 ? (enum rc)outcome : RC_OK;
    scan_merge_damage(&work->merge, input->segment);
    return damaged(work);
}

/* Gives back what the inputs expanded so far: they are walked once. */
static void trim(struct work *work) {
    if (work->vectors_since_trim < TRIM_AFTER_VECTORS)
        return;
    work->vectors_since_trim = 0;
    for (uint32_t i = 0; i < work->input_count; i++)
        segment_trim(work->inputs[i].segment);
}

static enum rc walk_pinned(struct work *work, bool all) {
    for (uint32_t i = 0; i < work->input_count; i++) {
        if (all || work->inputs[i].series_id == work->series_id)
            TRY(advance(work, &work->inputs[i]));
    }
    work->series_id = 0;
    for (uint32_t i = 0; i < work->input_count; i++) {
        uint32_t id = work->inputs[i].series_id;
        if (id != 0 && (work->series_id == 0 || id < work->series_id))
            work->series_id = id;
    }
    return RC_OK;
}

/* Moves on to the smallest series id not done; work->series_id is 0 at the end. */
static enum rc walk(struct work *work, bool all) {
    epoch_pin(store_epochs(work->store));
    enum rc rc = walk_pinned(work, all);
    epoch_unpin(store_epochs(work->store));
    trim(work);
    return rc;
}

static enum rc merge_all(struct work *work) {
    TRY(walk(work, true));
    while (work->series_id != 0) {
        TRY(next_series(work));
        TRY(walk(work, false));
    }
    return RC_OK;
}

/* Commits and opens; the writers are gone afterwards whatever happens. */
static enum rc commit_all(struct work *work, struct compaction *compaction) {
    for (uint32_t i = 0; i < work->output_count; i++) {
        struct output *output = &work->outputs[i];
        struct segment_writer *writer = output->writer;
        struct segment *segment;
        output->writer = NULL;
        TRY(segment_writer_commit(writer, &output->info, work->err));
        enum rc rc =
            segment_open(store_medium(work->store), output->info.name, &segment, work->err);
        if (rc < 0) {
            (void)!medium_remove(store_medium(work->store), MEDIUM_OBJECTS, output->info.name,
                                 NULL);
            return rc;
        }
        segment_use_memory(segment, store_budget(work->store), store_epochs(work->store));
        compaction->outputs[compaction->output_count++] = segment;
    }
    return RC_OK;
}

static void undo(struct work *work, struct compaction *compaction) {
    for (uint32_t i = 0; i < work->output_count; i++)
        segment_writer_abort(work->outputs[i].writer);
    for (uint32_t i = 0; i < compaction->output_count; i++) {
        segment_discard(compaction->outputs[i]);
        segment_unref(compaction->outputs[i]);
    }
    compaction->output_count = 0;
}

static struct work *work_new(struct store *store, uint32_t shard, struct segment *const *inputs,
                             uint32_t count, int64_t window_ms, struct err *err) {
    struct work *work = calloc(1, sizeof(*work));
    if (work == NULL)
        return NULL;
    work->store = store;
    work->err = err;
    work->shard = shard;
    work->window_ms = window_ms;
    work->points = (struct points){
        .time_ms = work->time_ms, .bits = work->bits, .float_mask = work->float_mask};
    work->payload = malloc(vector_payload_bound(LIMIT_VECTOR_POINTS));
    work->inputs = calloc(count + 1, sizeof(*work->inputs));
    for (uint32_t i = 0; i < count && work->inputs != NULL; i++) {
        work->inputs[i].segment = inputs[i];
        if (segment_info(inputs[i])->sequence > work->sequence)
            work->sequence = segment_info(inputs[i])->sequence;
    }
    work->input_count = count;
    scan_merge_init(&work->merge, store, NULL);
    return work;
}

static void work_free(struct work *work) {
    scan_merge_fini(&work->merge);
    free(work->payload);
    free(work->inputs);
    free(work);
}

enum rc compact_segments(struct store *store, uint32_t shard, struct segment *const *inputs,
                         uint32_t count, int64_t window_ms, struct compaction *compaction,
                         struct err *err) {
    CHECK(count > 0 && window_ms > 0);
    *compaction = (struct compaction){0};
    struct err unread;
    err = err == NULL ? &unread : err;
    err->rc = RC_OK;
    struct work *work = work_new(store, shard, inputs, count, window_ms, err);
    if (work == NULL)
        return err_set(err, RC_NOMEM, "out of memory while merging segments");
    enum rc rc = RC_NOMEM;
    if (work->payload != NULL && work->inputs != NULL)
        rc = merge_all(work);
    if (rc == RC_OK)
        rc = commit_all(work, compaction);
    if (rc < 0) {
        undo(work, compaction);
        if (err->rc != rc && rc == RC_CORRUPT)
            damaged(work);
        else if (err->rc != rc)
            err_set(err, rc, "merging segments of shard %u: %s", shard, err_text(rc));
    }
    for (uint32_t i = 0; i < count; i++)
        compaction->points_in += segment_info(inputs[i])->point_count;
    compaction->points_out = work->points_out;
    work_free(work);
    return rc;
}
