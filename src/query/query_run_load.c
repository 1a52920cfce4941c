#include "query/query_run.h"
#include "query/rate.h"

#include <stdlib.h>
#include <string.h>

/* ---- raw points ---- */

static bool raw_room(struct query_worker *worker, size_t count) {
    return SCRATCH_ARRAY(&worker->times, int64_t, count) != NULL &&
           SCRATCH_ARRAY(&worker->bits, uint64_t, count) != NULL;
}

static void set_mask(uint64_t *mask, size_t from, size_t to, bool value) {
    for (size_t i = from; i < to; i++) {
        uint64_t bit = UINT64_C(1) << (i % 64);
        mask[i / 64] = value ? mask[i / 64] | bit : mask[i / 64] & ~bit;
    }
}

/* Columns have a mask only once their kinds differ. */
static bool mix_kinds(struct query_worker *worker, const struct points *points) {
    size_t before = worker->raw_count;
    uint64_t *mask = SCRATCH_ARRAY(&worker->mask, uint64_t, (before + points->count + 63) / 64);
    if (mask == NULL)
        return false;
    if (worker->raw_kind != POINTS_MIXED)
        set_mask(mask, 0, before, worker->raw_kind == POINTS_DOUBLES);
    worker->raw_kind = POINTS_MIXED;
    for (uint32_t i = 0; i < points->count; i++)
        set_mask(mask, before + i, before + i + 1, points_is_float(points, i));
    return true;
}

static bool append_raw(struct query_worker *worker, const struct points *points) {
    size_t before = worker->raw_count;
    if (!raw_room(worker, before + points->count))
        return false;
    if (before == 0 && points->kind != POINTS_MIXED)
        worker->raw_kind = points->kind;
    else if (worker->raw_kind != points->kind || points->kind == POINTS_MIXED)
        if (!mix_kinds(worker, points))
            return false;
    memcpy((int64_t *)worker->times.p + before, points->time_ms, points->count * sizeof(int64_t));
    memcpy((uint64_t *)worker->bits.p + before, points->bits, points->count * sizeof(uint64_t));
    worker->raw_count = before + points->count;
    return true;
}

/* ---- one run of the scan ---- */

/* A vector whose bytes are damaged is left out; the scan has reported it. */
static enum rc skip_damaged(struct query_worker *worker, enum rc rc, uint64_t damaged_before) {
    if (rc != RC_CORRUPT)
        return rc;
    if (worker->scan.damaged == damaged_before)
        worker->counters.damaged_vectors++;
    return RC_OK;
}

static enum rc take_vector(struct query_worker *worker, bool downsampled) {
    struct scan *scan = &worker->scan;
    uint64_t damaged = scan->damaged;
    enum rc rc;
    if (!downsampled) {
        rc = scan_decode(scan);
        if (rc == RC_OK && !append_raw(worker, &scan->points))
            rc = RC_THROTTLE;
        return skip_damaged(worker, rc, damaged);
    }
    if (bucket_add_summary(worker->buckets, scan->summary))
        return RC_OK;
    const uint8_t *payload;
    rc = scan_payload(scan, &payload);
    if (rc == RC_OK)
        rc = bucket_add_vector(worker->buckets, scan->summary, payload);
    return skip_damaged(worker, rc, damaged);
}

static enum rc take_run(struct query_worker *worker, int outcome, bool downsampled) {
    if (outcome == SCAN_VECTOR)
        return take_vector(worker, downsampled);
    if (downsampled)
        bucket_add_points(worker->buckets, &worker->scan.points);
    else if (!append_raw(worker, &worker->scan.points))
        return RC_THROTTLE;
    return RC_OK;
}

/* ---- a series ---- */

/* Runs of one series between looks at limits and clock: about a million points. */
enum { RUNS_PER_LOOK = 1024 };

static enum rc scan_series(struct query_worker *worker, const struct query_plan *plan,
                           struct series *series, bool *present) {
    struct scan *scan = &worker->scan;
    TRY(scan_open(scan, series, plan->window.scan_from_ms, plan->window.scan_to_ms));
    uint64_t points = scan->points_seen, bytes = scan->bytes_seen, damaged = scan->damaged;
    bool downsampled = plan->sub->downsampled;
    enum rc rc = RC_OK;
    for (uint32_t runs = 1; rc == RC_OK; runs++) {
        int outcome = scan_next(scan);
        if (outcome <= 0) {
            rc = (enum rc)outcome;
            break;
        }
        *present = true;
        rc = take_run(worker, outcome, downsampled);
        if (runs % RUNS_PER_LOOK != 0)
            continue;
        worker->counters.points_scanned += scan->points_seen - points;
        points = scan->points_seen;
        worker->until_look = 0;
        query_run_look(worker);
        if (query_run_failed(worker->run))
            break;
    }
    worker->counters.points_scanned += scan->points_seen - points;
    worker->counters.bytes_scanned += scan->bytes_seen - bytes;
    worker->counters.damaged_vectors += scan->damaged - damaged;
    scan_close(scan);
    query_run_look(worker);
    return rc;
}

static bool prepare_buckets(struct query_worker *worker, const struct query_plan *plan) {
    if (worker->buckets_of == plan)
        return true;
    if (worker->buckets == NULL) {
        worker->buckets = malloc(sizeof(*worker->buckets));
        if (worker->buckets == NULL)
            return false;
    } else {
        bucket_fini(worker->buckets);
    }
    bucket_init(worker->buckets, &plan->sub->downsample, &plan->window, worker->run->budget);
    worker->buckets_of = plan;
    return true;
}

static void raw_column(struct query_worker *worker, struct merge_column *column) {
    *column = (struct merge_column){
        .time_ms = worker->times.p,
        .bits = worker->bits.p,
        .float_mask = worker->mask.p,
        .count = worker->raw_count,
        .kind = worker->raw_kind,
    };
}

static void finish_buckets(struct query_worker *worker, struct merge_column *column) {
    struct bucket_run *buckets = worker->buckets;
    bucket_end(buckets, column);
    if (buckets->failed)
        query_run_out_of_memory(worker->run);
    if (!buckets->gap_met)
        return;
    struct err err;
    enum rc rc = err_set_http(&err, RC_INVALID, 400, "unhandled fill policy");
    query_run_fail(worker->run, rc, &err);
}

void query_run_load(struct query_worker *worker, const struct query_plan *plan,
                    struct series *series, struct merge_column *column, bool *present) {
    const struct query_sub *sub = plan->sub;
    *column = (struct merge_column){0};
    *present = false;
    worker->raw_count = 0;
    worker->raw_kind = POINTS_INTEGERS;
    if (sub->downsampled) {
        if (!prepare_buckets(worker, plan)) {
            query_run_out_of_memory(worker->run);
            return;
        }
        bucket_begin(worker->buckets);
    }
    worker->counters.series++;
    enum rc rc = scan_series(worker, plan, series, present);
    if (rc == RC_NOMEM || rc == RC_THROTTLE) {
        query_run_out_of_memory(worker->run);
        return;
    }
    if (rc < 0) {
        struct err err;
        query_run_fail(worker->run, err_set(&err, rc, "reading points: %s", err_text(rc)), &err);
        return;
    }
    if (!*present)
        return;
    if (sub->downsampled)
        finish_buckets(worker, column);
    else
        raw_column(worker, column);
    /* The rates take the place of the values, which nobody reads again. */
    if (sub->rate)
        rate_run(&sub->rate_options, column, (int64_t *)column->time_ms, (uint64_t *)column->bits);
}
