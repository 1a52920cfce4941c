/*
 * The state of a store, shared by the store_*.c files and by nobody else.
 *
 * Locks, in the order in which they may be taken together:
 *
 *     removal        shared: somebody holds series across calls and may append to them;
 *                    exclusive: series are being removed
 *     maintenance    one checkpoint, compaction, delete or removal at a time; guards `manifest`
 *                    and what stands with it. Taken before `removal` by the removal itself, never
 *                    waited for by those who hold `removal`
 *     shard.lock     one writer of the heads of a shard; never held during I/O on objects
 *     define         definitions reach the log in order
 *     wake_lock      the maintenance thread's condition; innermost
 */
#pragma once

#include "os/thread.h"
#include "store/internal.h"
#include "store/manifest.h"
#include "store/store.h"

#include <stdatomic.h>

enum { STORE_SHARDS_MAX = 64 };

struct shard {
    ALIGNED(64) struct mutex lock;
    struct head_memory memory;
    struct u32_vec listed; /* ids of the series whose heads may hold points: series->listed */
    _Atomic uint64_t points_appended;
    _Atomic(struct segment_list *) segments; /* replaced under `lock` */
};

/* The tombstones of all series as readers see them; immutable, replaced as a whole. */
struct tombstone_table {
    uint32_t series_count;
    uint32_t *series_id; /* ascending */
    uint32_t *first;     /* series_count + 1 positions in `ranges` */
    struct tombstone *ranges;
};

/* How long the points of a metric are kept, by UID; grown in pages so that reading takes no lock.
   0: not looked up yet. */
enum { RETENTION_PAGE = 4096, RETENTION_PAGES = 1024 };
struct retention_page {
    _Atomic int64_t keep_ms[RETENTION_PAGE];
};

VEC_DECLARE(segment_vec, struct segment *)

/* What a new manifest no longer names. It stays while the manifest before, kept as a fallback,
   still names it. */
struct store_leftovers {
    struct segment_vec segments; /* one reference each */
    struct manifest_objects names;
};

struct append_scratch; /* store_append.c */

struct store {
    struct store_options options; /* patterns copied */
    struct index *index;
    struct epoch_domain *epochs;
    struct budget heads; /* what heads take; a child of options.budget, as is `names` */
    struct budget names; /* what the index takes, limited to options.index_bytes_max */
    struct log *log;     /* NULL: none is kept */
    struct shard *shards;
    uint32_t shard_count;

    struct rwlock removal;
    _Atomic uint64_t generation; /* grows with each removal of series */

    struct mutex define;
    _Atomic uint64_t defined; /* index sequence up to which definitions are in log or names */

    struct mutex scratch_lock;
    struct append_scratch *scratch; /* idle ones */

    /* Guarded by `maintenance`. */
    struct mutex maintenance;
    struct manifest manifest;         /* what is live now: as stored, and the deletes since */
    struct buf manifest_stored;       /* bytes of the newest stored manifest */
    uint64_t manifest_version;        /* in the catalog; 0: none */
    uint64_t previous_version;        /* of the fallback */
    uint64_t log_start_previous;      /* where replay from the fallback begins */
    uint64_t names_sequence;          /* index sequence up to which definitions are in names */
    struct manifest_objects isolated; /* segments that could not be opened: kept for a repair */
    struct store_leftovers leftovers;
    bool removal_due;        /* data has gone: some series may have none left */
    int64_t retention_ns;    /* when retention looked last */
    int64_t clock_offset_ms; /* of wall time to monotonic time, when looked at last */
    int64_t clock_even_ns;   /* since when that has changed only slowly; 0: never looked at */

    _Atomic uint32_t object_next;                 /* number of the next object of this opening */
    _Atomic(struct tombstone_table *) tombstones; /* NULL: none */
    _Atomic(struct retention_page *) retention[RETENTION_PAGES];

    struct mutex wake_lock;
    struct condition wake; /* there may be something to do, or it is time to stop */
    struct condition room; /* memory has been given back */
    bool stopping;         /* guarded by wake_lock, as is `wanted` */
    bool wanted;
    bool running; /* the maintenance thread exists; set once */
    struct thread thread;
    _Atomic int64_t checkpoint_ns;   /* when the last checkpoint ended */
    _Atomic uint64_t checkpoint_log; /* log position it covered */

    struct log_replay_report replay;
    _Atomic uint64_t points_rejected;
    _Atomic uint64_t checkpoints;
    _Atomic uint64_t compactions;
    _Atomic uint64_t damaged;
    _Atomic uint64_t deleted_points;
};

/* ---- store.c ---- */

/* Passes a line to options->report: a problem, or something only worth knowing. */
void store_report(struct store *store, const char *format, ...) PRINTF_LIKE(2, 3);
void store_note(struct store *store, const char *format, ...) PRINTF_LIKE(2, 3);

/* True if what is stored outlives the process: only then are a log, names and a manifest kept. */
bool store_is_durable(const struct store *store);

/* Gives back what no reader holds any more. Not with the lock of a shard. */
void store_collect(struct store *store);

/* Frees the empty pages of the heads. */
void store_pools_trim(struct store *store);

/* Frees a store, complete or not, writing nothing. */
void store_free(struct store *store);

/* ---- store_append.c ---- */

/* Makes the log know every series and name there is. */
enum rc store_define(struct store *store, struct err *err) MUST_USE;

/* Puts a point into the head of a series of the shard, whose lock is held. False when memory is
   out. */
bool store_apply_hard(struct shard *shard, struct series *series, int64_t time_ms, uint64_t bits,
                      bool is_float) MUST_USE;
static inline bool store_apply(struct shard *shard, struct series *series, int64_t time_ms,
                               uint64_t bits, bool is_float) {
    /* A series that is not listed has no tail, so it never goes the easy way. */
    return LIKELY(head_append_easy(&series->head, time_ms, bits, is_float)) ||
           store_apply_hard(shard, series, time_ms, bits, is_float);
}

void store_scratch_free(struct store *store);

/* ---- store_maintain.c ---- */

/* Asks the maintenance thread to look now. */
void store_wake(struct store *store);

/* True when a checkpoint should give memory back; true when no more points may come in before it
   has. */
bool store_memory_short(struct store *store);
bool store_memory_full(struct store *store);

/* Starts and stops the maintenance thread. */
enum rc store_maintain_start(struct store *store, struct err *err) MUST_USE;
void store_maintain_stop(struct store *store);

/* ---- the rest: callers hold `maintenance`, or are alone with the store ---- */

/* store_checkpoint.c */
enum rc store_checkpoint_run(struct store *store, struct err *err) MUST_USE;
/* Step 2 alone: gives the memory of the heads back while the log is being replayed, which goes on
   to begin where it did. */
enum rc store_checkpoint_heads(struct store *store, struct err *err) MUST_USE;

/* store_compact.c: one merge of what is worth it; *done false: there was none. */
enum rc store_compact_step(struct store *store, bool *done, struct err *err) MUST_USE;

/* store_retention.c */
/* Looks whether the wall clock has jumped. With `maintenance` held, about every second. */
void store_clock_look(struct store *store);
enum rc store_retention_run(struct store *store, struct err *err) MUST_USE;
void store_retention_free(struct store *store);

/* store_segments.c: a new list for a shard, without `removed` and with `added` (whose references it
   takes over when it is swapped in), ascending by sequence. */
enum rc store_segments_plan(struct store *store, uint32_t shard, const struct segment_vec *removed,
                            const struct segment_vec *added, struct segment_list **out) MUST_USE;
void store_segments_swap(struct store *store, uint32_t shard, struct segment_list *list);
void store_segments_free(struct segment_list *list);
const struct segment_list *store_segments_now(const struct store *store, uint32_t shard);
struct manifest_object store_segments_object(const struct segment *segment);

/* store_manifest.c */
enum rc store_manifest_load(struct store *store, struct manifest *manifest, bool *found,
                            struct err *err) MUST_USE;
/* Copies the manifest without its lists of segments and names, which the caller fills. */
enum rc store_manifest_draft(struct store *store, struct manifest *draft) MUST_USE;
/* Adds all isolated segments and those of the shard's planned or current list. */
enum rc store_manifest_add_segments(struct store *store, struct manifest *draft,
                                    struct segment_list *const *lists) MUST_USE;
/* Stores the draft and takes it over; `gone` (may be NULL) is what it no longer names, also taken
   over. On failure both stay the caller's, and after anything but RC_NO_SPACE the medium may hold
   the draft all the same: objects that are new in it must not be removed. */
enum rc store_manifest_commit(struct store *store, struct manifest *draft,
                              struct store_leftovers *gone, struct err *err) MUST_USE;
void store_leftovers_free(struct store_leftovers *leftovers);

/* store_names.c */
enum rc store_names_write(struct store *store, uint64_t from, struct manifest_object *object,
                          uint64_t *next, struct err *err) MUST_USE;
enum rc store_names_load(struct store *store, const char *name, struct manifest *shape,
                         struct err *err) MUST_USE;
void store_names_remove(struct store *store, const char *name);

/* store_tombstones.c */
/* Adds to the list, which is in order again after store_tombstones_publish. */
enum rc store_tombstones_add(struct store *store, const struct manifest_tombstone *added,
                             uint32_t count) MUST_USE;
enum rc store_tombstones_publish(struct store *store) MUST_USE;
/* Removes tombstones under which no segment of the shard has points any more. */
enum rc store_tombstones_prune(struct store *store, uint32_t shard) MUST_USE;
void store_tombstones_free(struct store *store);
