/*
 * The engine: one tenant's series and points on one medium.
 *
 *     append -> shard (head) + log -> commit        checkpoint: heads -> segments -> manifest
 *
 * See ARCHITECTURE.md for the life of a write and of a query. All functions are safe from any
 * thread.
 */
#pragma once

#include "base/budget.h"
#include "base/err.h"
#include "medium/medium.h"
#include "os/clock.h"
#include "store/index.h"
#include "store/log.h"

#include <stdbool.h>
#include <stdint.h>

struct store;

struct store_retention {
    str pattern;         /* glob on the metric name: * and ? */
    int64_t duration_ms; /* points older than now - duration are gone */
};

struct store_options {
    struct medium *medium;     /* borrowed; outlives the store */
    const struct clock *clock; /* wall time for retention and windows */
    uint32_t shards;           /* 1 .. 64; fixed when the store is created (4) */
    struct budget *budget;     /* root of memory: the store's limit; borrowed */
    size_t head_bytes_max;  /* a checkpoint starts when heads take more (a quarter of the limit) */
    size_t index_bytes_max; /* new series are refused past this (half of the limit) */
    struct log_options log;
    uint64_t log_bytes_max; /* a checkpoint starts when the log to replay is longer: 96 MiB */
    uint32_t
        checkpoint_interval_s; /* and at least this often when there is something: 600; 0: never */
    int64_t window_ms;         /* time window of a fresh segment: 1 day */
    uint32_t uid_width[INDEX_KINDS];
    bool auto_create[INDEX_KINDS];
    const struct store_retention *retention; /* first match counts; copied */
    uint32_t retention_count;
    uint32_t clock_patience_s; /* retention removes nothing until wall time has gone evenly with
                                  monotonic time for so long: 3600; 0: it is always believed */
    uint32_t throttle_ms;      /* how long an append may wait for memory before RC_THROTTLE: 5000 */
    bool background;           /* run the maintenance thread (tests turn it off and call
                                  store_maintain) */
    /* What happened that nobody asked for: a problem, or only worth knowing. May be NULL. */
    void (*report)(void *context, bool problem, const char *line);
    void *report_context;
};

/* Defaults for everything but medium, clock and budget. */
void store_options_default(struct store_options *options, size_t memory_limit_bytes);

/* Opens or creates; replays the log. Damage is reported through options->report, isolated, and does
   not fail the open. */
enum rc store_open(const struct store_options *options, struct store **out,
                   struct err *err) MUST_USE;

/* Commits, checkpoints (if durable) and frees. Returns the outcome of the last commit. */
enum rc store_close(struct store *store, struct err *err);

struct index *store_index(struct store *store);
struct budget *store_budget(struct store *store);

/* Who holds series or names across calls (a query, from selection to the last result) pins this
   meanwhile. */
struct epoch_domain *store_epochs(struct store *store);

/* ---- writing ---- */

/* Points in order of arrival; `count` up to LIMIT_BATCH_POINTS. Borrowed. */
struct store_batch {
    uint32_t count;
    struct series **series;
    const int64_t *time_ms; /* 1 .. LIMIT_TIME_MS_MAX */
    const uint64_t *bits;
    const uint8_t *is_float; /* 0 or 1 each; doubles must be finite */
    size_t stride; /* 0: these are arrays. Else they stand in an array of structures of this size */
    bool checked;  /* the caller has seen to times and is_float */
};

/* Between these two calls no series is removed, so what index_series and key_cache_find return may
   be appended to. Keep the stretch short (one batch). Returns the removal generation. */
uint64_t store_writers_enter(struct store *store);
void store_writers_leave(struct store *store);

/* Appends the batch to heads and log. Called between enter and leave. *commit (may be NULL) is what
   store_commit_wait takes. RC_THROTTLE (over the memory budget: waits up to throttle_ms for the
   checkpoint first): nothing is applied. RC_NO_SPACE or RC_IO (the log is failing): a prefix of the
   batch may have been applied; none of it counts as stored, and putting it again is harmless. */
enum rc store_append(struct store *store, const struct store_batch *batch, uint64_t *commit,
                     struct err *err) MUST_USE;

/* Waits until the commit is durable; at once on a medium that is not. timeout_ms 0: no limit. */
enum rc store_commit_wait(struct store *store, uint64_t commit, uint32_t timeout_ms,
                          struct err *err) MUST_USE;

/* Between these two calls series found in the index stay valid memory (they may be removed all the
   same: then they have no points). Never blocks. Memory that writers give back is held up, so keep
   the stretch to one query. */
void store_readers_enter(struct store *store);
void store_readers_leave(struct store *store);

/* Deletes exactly the points of `series` in [from_ms, to_ms]; durable when it returns. Called
   between store_readers_enter and leave, never between store_writers_enter and leave. Points
   written later are not touched. *deleted (may be NULL) gets the number of points. */
enum rc store_delete(struct store *store, struct series *const *series, uint32_t count,
                     int64_t from_ms, int64_t to_ms, uint64_t *deleted, struct err *err) MUST_USE;

/* ---- maintenance ---- */

/* Heads to segments, now; the log before it can go. */
enum rc store_checkpoint(struct store *store, struct err *err) MUST_USE;

/* One round of what the maintenance thread does: checkpoint if due, compaction, retention, removal
   of empty series. */
enum rc store_maintain(struct store *store, struct err *err) MUST_USE;

/* Compacts everything that can be, tightest encoding. For tests, benchmarks and "compact now". */
enum rc store_compact(struct store *store, struct err *err) MUST_USE;

/* Gives back the memory of caches, for who needs some and finds none left. It is there at once, but
   for what running queries still use; nothing happens while maintenance is at work, which does the
   same. */
void store_trim(struct store *store);

/* Verifies every stored block; *damaged counts the bad ones. */
enum rc store_scrub(struct store *store, uint64_t *damaged, struct err *err) MUST_USE;

struct store_stats {
    uint64_t points_appended;
    uint64_t points_rejected;
    uint64_t head_bytes;
    uint64_t segments;
    uint64_t segment_bytes;
    uint64_t names_bytes;
    uint64_t checkpoints;
    uint64_t compactions;
    uint64_t damaged_blocks;
    uint64_t deleted_points;
    struct log_replay_report replay;
    struct log_stats log;
};
void store_stats(struct store *store, struct store_stats *stats);
