/*
 * What the files of the running half share: the plan of a sub query, the state of a run, and what
 * one worker owns. For query_run*.c and query_select.c only.
 *
 *     query_select.c      names -> series -> groups                        (the plan)
 *     query_run.c         which groups alone, which together; deadline, limits, errors
 *     query_run_load.c    one series: scan -> downsample -> rate           (a column)
 *     query_run_group.c   columns of a group -> timeline -> slices -> result
 *     query_run_output.c  results from all workers, formatted, in order
 */
#pragma once

#include "query/bucket.h"
#include "query/merge.h"
#include "query/query.h"
#include "query/query_names.h"
#include "query/workers.h"
#include "store/index.h"
#include "store/scan.h"

#include <stdatomic.h>

/* Consecutive series of a plan. */
struct query_span {
    uint32_t first;
    uint32_t count;
};

/* One sub query, resolved. */
struct query_plan {
    const struct query_sub *sub;
    struct bucket_window window;
    struct series_vec series;  /* by group, then by id, or by tags where their order shows */
    uint32_t *ids;             /* of the series */
    struct query_span *groups; /* in the order of the answer */
    size_t group_count;
    size_t charged;
};

/* Selects and groups the series of plan->sub. An unknown metric that may be skipped leaves the plan
   empty. The caller is pinned, and what he finds is his as long as he is. Fini also after failure.
 */
enum rc query_select_plan(struct store *store, const struct query_limits *limits,
                          struct query_plan *plan, struct err *err) MUST_USE;
void query_select_plan_fini(const struct query_limits *limits, struct query_plan *plan);

/* How a member of a group is at hand. */
enum query_member { MEMBER_ABSENT, MEMBER_KEPT, MEMBER_RELOAD };

/* A group while it is computed. */
struct query_group {
    const struct query_plan *plan;
    struct series **series;
    uint32_t count;
    struct merge_column *columns; /* of MEMBER_KEPT */
    uint8_t *members;             /* enum query_member */
    enum merge_mode mode;
    struct scratch columns_memory;
    struct scratch members_memory;
    struct scratch bits;
    struct scratch mask;
    /* Points at a worker's timeline or at a column. */
    const int64_t *time_ms;
    size_t time_count;
    size_t slice_length;
};

struct query_run;

/* A tag key met in a group. */
struct query_common {
    uint32_t key_uid;
    uint32_t value_uid;
    bool conflict;
};

/* What one worker owns. */
struct query_worker {
    struct query_run *run;
    struct scan scan;
    bool scan_ready;
    struct bucket_run *buckets; /* set up for `buckets_of` */
    const struct query_plan *buckets_of;
    struct scratch times; /* the raw column of one series */
    struct scratch bits;
    struct scratch mask;
    size_t raw_count;
    enum points_kind raw_kind;
    struct arena kept; /* columns of the current group */
    struct merge_column last_kept;
    struct merge_timeline timeline;
    struct merge_slice slice;
    struct query_group group;
    bool ints_seen; /* kinds of the columns loaded since the group began */
    bool floats_seen;
    bool reload_seen;
    struct scan_row row; /* series of the plan that this worker reads now */
    size_t row_first;    /* position of the first in the plan */
    struct query_names names;
    struct scratch common;
    uint32_t common_count;
    struct scratch tags;
    struct scratch aggregate_tags;
    struct scratch members;         /* series that are in the result */
    struct query_counters counters; /* since the last flush */
    uint64_t flushed_points;
    uint64_t flushed_bytes;
    uint32_t until_look; /* series until the next look at the clock */
};

/* A run of one query. */
struct query_run {
    struct store *store;
    struct index *index;
    const struct query *query;
    const struct query_limits *limits;
    const struct query_sink *sink;
    struct budget *budget;
    struct budget kept; /* columns kept for the second pass: a part of the budget */
    struct query_plan *plans;
    uint32_t plan_count;
    uint64_t generation; /* of the store's removals at the selection */
    struct workers workers;
    struct query_worker *worker; /* [worker_count] */
    uint32_t worker_count;
    _Atomic uint64_t points;
    _Atomic uint64_t bytes;
    _Atomic int64_t next_poll_ns; /* when `cancelled` is asked next */
    _Atomic bool failed;
    struct mutex lock; /* error and totals */
    enum rc rc;
    struct err err;
    struct query_counters totals;
    /* Output in order (query_run_output.c). */
    struct mutex output_lock;
    struct condition output_moved;
    struct query_text *texts; /* ring of outstanding texts */
    size_t text_count;
    size_t ready_bytes; /* of texts finished and not yet written */
    size_t text_next;   /* the next to be written */
    bool writing;
    bool any_written;
};

/* ---- query_run.c ---- */

/* Notes the first failure and stops the others. */
void query_run_fail(struct query_run *run, enum rc rc, const struct err *err);

/* For want of memory, with a text that says what to do. */
enum rc query_run_memory_error(const struct query_limits *limits, struct err *err);
void query_run_out_of_memory(struct query_run *run);

static inline bool query_run_failed(struct query_run *run) {
    return atomic_load_explicit(&run->failed, memory_order_relaxed);
}

/* RC_TIMEOUT past the deadline, RC_CANCELLED once nobody waits for the answer, else RC_OK.
 *next_poll_ns is when `cancelled` is asked next; start it at 0. Costs a look at the clock. */
enum rc query_run_check_clock(const struct query_limits *limits, _Atomic int64_t *next_poll_ns,
                              struct err *err) MUST_USE;

/* Called once a series: looks at limits, deadline and cancellation now and then. */
void query_run_look(struct query_worker *worker);

/* ---- query_run_load.c ---- */

/* Loads a series as a column, borrowed until the next load of this worker. *present tells whether
   it has a point in the scan window. Failures go to query_run_fail. */
void query_run_load(struct query_worker *worker, const struct query_plan *plan,
                    struct series *series, struct merge_column *column, bool *present);

/* ---- query_run_group.c ---- */

/* The worker is about to read these series of the plan, in order: fetches the first ones. */
void query_run_begin_row(struct query_worker *worker, const struct query_plan *plan,
                         const struct query_span *span);

/* Computes a group on this worker alone and appends its text; false if the group has no members. */
bool query_run_group_alone(struct query_worker *worker, const struct query_plan *plan,
                           const struct query_span *span, struct buf *out);

/* Computes a group on all workers and appends its text. */
bool query_run_group_together(struct query_run *run, const struct query_plan *plan,
                              const struct query_span *span, struct buf *out);

/* ---- query_run_output.c ---- */

/* The texts of consecutive results, computed by one worker. */
struct query_text {
    struct buf text;     /* charged to the query until it is written */
    struct scratch ends; /* size_t: where each result ends */
    size_t count;
    bool ready;
};

enum rc query_run_output_init(struct query_run *run, size_t slots) MUST_USE;
void query_run_output_fini(struct query_run *run);

/* Starts numbering from 0 again; all earlier texts are written. */
void query_run_output_restart(struct query_run *run);

/* The slot of text `number`, empty; waits until it is free. NULL once the run has failed. */
struct query_text *query_run_output_take(struct query_run *run, size_t number);

/* Notes that a result ends here. */
void query_run_output_mark(struct query_run *run, struct query_text *text);

/* The text is complete: writes it, and those after it that were waiting for it, if it is its turn.
 */
void query_run_output_give(struct query_run *run, size_t number);
