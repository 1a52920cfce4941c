#include "store/store_state.h"

#include "base/check.h"
#include "os/machine.h"
#include "store/head_points.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * A checkpoint moves what the heads hold into segments and lets go of the log before it.
 *
 *   1. note the end of the log, and pass through every shard's lock: what stands before that
 *      position is in the heads now
 *   2. shard by shard, so that little memory is held twice: freeze the heads (short steps under the
 *      lock); write their vectors to segments, one a time window, without any lock; store a
 * manifest that names the segments; publish them, then drop from the heads what was frozen (readers
 * look at the head first, so they see a point twice rather than not at all)
 *   3. store a manifest that also has the names and starts the log at the noted position
 *
 * Appends go on all the while. A shard changes only when its manifest is stored; any failure before
 * is undone by unfreezing. Between 2 and 3 points stand in segments and in the log to be replayed:
 * replaying them again after a crash changes nothing, for the log is replayed in order and to its
 * end, deletes included.
 */

enum {
    STEP_SERIES = 128,     /* heads frozen or dropped under one hold of a shard's lock */
    NARROW_WINDOWS = 8,    /* the newest windows always get a segment of their own */
    WINDOWS_MAX = 24,      /* segments written side by side; older windows are joined beyond that */
    READY_POINTS = 512,    /* a vector of so many points is not worth encoding again */
    NAMES_OBJECTS_MAX = 8, /* beyond that, or after so many changes, names are written as a whole */
    NAMES_CHANGES_MAX = 4096
};

/* A series with what of its head is being written. */
struct frozen {
    struct series *series;
    uint32_t first; /* of its vectors in shard_work.vectors */
    uint32_t count;
};
VEC_DECLARE(frozen_vec, struct frozen)
VEC_DECLARE(vector_vec, struct head_vector *)

struct window {
    int64_t from_ms;
    int64_t to_ms;                 /* exclusive */
    struct segment_writer *writer; /* NULL: nothing in it yet */
};

struct shard_work {
    struct u32_vec ids; /* the series listed when it began, ascending */
    size_t listed;      /* how many they are: the first of shard->listed */
    struct frozen_vec frozen;
    struct vector_vec vectors;
    struct window windows[WINDOWS_MAX];
    uint32_t window_count;
};

struct checkpoint {
    struct store *store;
    uint64_t log_end;
    uint64_t sequence_next;
    uint64_t names_next;
    struct shard_work work;     /* of the shard it is at */
    struct segment_vec written; /* from it; one reference each */
    struct head_points points;  /* scratch */
};

/* ---- freezing ---- */

static int compare_ids(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool list_series(struct shard *shard, struct shard_work *work) {
    mutex_lock(&shard->lock);
    bool ok = u32_vec_reserve(&work->ids, shard->listed.n);
    if (ok && shard->listed.n > 0)
        memcpy(work->ids.p, shard->listed.p, shard->listed.n * sizeof(uint32_t));
    work->ids.n = work->listed = ok ? shard->listed.n : 0;
    mutex_unlock(&shard->lock);
    if (work->ids.n > 0)
        qsort(work->ids.p, work->ids.n, sizeof(uint32_t), compare_ids);
    return ok;
}

/* Freezes one head. The shard's lock is held. */
static bool freeze(struct shard *shard, struct shard_work *work, struct series *series) {
    struct head_vector *const *vectors;
    struct frozen frozen = {.series = series, .first = (uint32_t)work->vectors.n};
    if (!frozen_vec_reserve(&work->frozen, work->frozen.n + 1) ||
        !head_freeze(&series->head, &shard->memory, &vectors, &frozen.count))
        return false;
    work->frozen.p[work->frozen.n++] = frozen; /* from here on it is undone by unfreezing */
    if (!vector_vec_reserve(&work->vectors, work->vectors.n + frozen.count))
        return false;
    if (frozen.count > 0)
        memcpy(work->vectors.p + work->vectors.n, vectors, frozen.count * sizeof(vectors[0]));
    work->vectors.n += frozen.count;
    return true;
}

static bool freeze_shard(struct checkpoint *checkpoint, uint32_t index) {
    struct store *store = checkpoint->store;
    struct shard *shard = &store->shards[index];
    struct shard_work *work = &checkpoint->work;
    if (!list_series(shard, work) || !frozen_vec_reserve(&work->frozen, work->ids.n))
        return false;
    bool ok = true;
    for (size_t from = 0; from < work->ids.n && ok; from += STEP_SERIES) {
        mutex_lock(&shard->lock);
        for (size_t i = from; i < work->ids.n && i < from + STEP_SERIES && ok; i++) {
            struct series *series = index_by_id(store->index, work->ids.p[i]);
            if (series != NULL)
                ok = freeze(shard, work, series);
        }
        mutex_unlock(&shard->lock);
    }
    return ok;
}

/* Takes from the heads what was written (`drop`), or only unfreezes them, and lists those series
   again that still have points. */
static void thaw_shard(struct checkpoint *checkpoint, uint32_t index, bool drop) {
    struct shard *shard = &checkpoint->store->shards[index];
    struct shard_work *work = &checkpoint->work;
    size_t kept = 0;
    for (size_t from = 0; from < work->frozen.n; from += STEP_SERIES) {
        mutex_lock(&shard->lock);
        for (size_t i = from; i < work->frozen.n && i < from + STEP_SERIES; i++) {
            struct series *series = work->frozen.p[i].series;
            if (drop)
                head_drop(&series->head, &shard->memory, work->frozen.p[i].count);
            head_unfreeze(&series->head);
            if (!drop)
                continue;
            /* Those that go on being listed take the places of the first of the old list. */
            if (head_is_empty(&series->head))
                series->listed = false;
            else
                shard->listed.p[kept++] = series->id;
        }
        mutex_unlock(&shard->lock);
    }
    if (!drop)
        return;
    mutex_lock(&shard->lock);
    size_t after = shard->listed.n - work->listed;
    if (after > 0)
        memmove(shard->listed.p + kept, shard->listed.p + work->listed, after * sizeof(uint32_t));
    shard->listed.n = kept + after;
    mutex_unlock(&shard->lock);
}

/* ---- windows ---- */

static int64_t floor_to(int64_t time_ms, int64_t width_ms) {
    return time_ms - time_ms % width_ms;
}

VEC_DECLARE(i64_vec, int64_t)

/* Adds the window of a time to a sorted set. */
static bool add_window(struct i64_vec *starts, int64_t start_ms) {
    size_t at = 0;
    for (size_t end = starts->n; at < end;) {
        size_t middle = at + (end - at) / 2;
        if (starts->p[middle] < start_ms)
            at = middle + 1;
        else
            end = middle;
    }
    if (at < starts->n && starts->p[at] == start_ms)
        return true;
    if (!i64_vec_push(starts, start_ms))
        return false;
    memmove(starts->p + at + 1, starts->p + at, (starts->n - 1 - at) * sizeof(int64_t));
    starts->p[at] = start_ms;
    return true;
}

static bool add_windows_of(const struct head_vector *vector, int64_t width_ms,
                           struct i64_vec *starts) {
    const struct vector_summary *summary = &vector->summary;
    int64_t first = floor_to(summary->time_first_ms, width_ms);
    if (first == floor_to(summary->time_last_ms, width_ms))
        return add_window(starts, first);
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    if (vector_decode_times(summary, vector->payload, time_ms) < 0)
        return true; /* writing it will say so */
    bool ok = true;
    for (uint32_t i = 0; i < summary->count && ok; i++) {
        if (i > 0 && time_ms[i] - first < width_ms)
            continue;
        first = floor_to(time_ms[i], width_ms);
        ok = add_window(starts, first);
    }
    return ok;
}

/* Number of windows that the starts make when each is widened to `width_ms`. */
static size_t count_windows(const int64_t *starts, size_t n, int64_t width_ms) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += i == 0 || floor_to(starts[i], width_ms) != floor_to(starts[i - 1], width_ms);
    return count;
}

static void widen(struct shard_work *work, const int64_t *starts, size_t n, int64_t narrow_ms,
                  int64_t width_ms, int64_t end_ms) {
    for (size_t i = 0; i < n; i++) {
        int64_t from_ms = floor_to(starts[i], width_ms);
        struct window *last =
            work->window_count == 0 ? NULL : &work->windows[work->window_count - 1];
        if (last != NULL && last->from_ms == from_ms)
            continue;
        int64_t to_ms = from_ms + (width_ms > narrow_ms ? width_ms : narrow_ms);
        work->windows[work->window_count++] =
            (struct window){.from_ms = from_ms, .to_ms = to_ms < end_ms ? to_ms : end_ms};
    }
}

/* The newest windows as they are; the older ones joined into weeks, months and so on until all
   together are few enough to be written side by side. */
static void choose_windows(struct shard_work *work, const struct i64_vec *starts,
                           int64_t narrow_ms) {
    size_t old = starts->n > NARROW_WINDOWS ? starts->n - NARROW_WINDOWS : 0;
    int64_t width_ms = narrow_ms;
    if (starts->n <= WINDOWS_MAX)
        old = 0;
    while (count_windows(starts->p, old, width_ms) > WINDOWS_MAX - NARROW_WINDOWS)
        width_ms = width_ms > INT64_MAX / 8 ? INT64_MAX / 2 : width_ms * 7;
    work->window_count = 0;
    widen(work, starts->p, old, narrow_ms, width_ms, old < starts->n ? starts->p[old] : INT64_MAX);
    widen(work, starts->p + old, starts->n - old, narrow_ms, narrow_ms, INT64_MAX);
}

static bool plan_windows(struct shard_work *work, int64_t width_ms) {
    struct i64_vec starts = {0};
    bool ok = true;
    for (size_t i = 0; i < work->vectors.n && ok; i++)
        ok = add_windows_of(work->vectors.p[i], width_ms, &starts);
    if (ok)
        choose_windows(work, &starts, width_ms);
    i64_vec_fini(&starts);
    return ok;
}

/* ---- writing ---- */

/* The writer of a window, begun when its first vector comes. */
static enum rc window_writer(struct checkpoint *checkpoint, uint32_t shard, struct window *window,
                             struct err *err) {
    if (window->writer != NULL)
        return RC_OK;
    struct segment_info info = {.shard = shard,
                                .sequence = checkpoint->sequence_next++,
                                .window_from_ms = window->from_ms,
                                .window_to_ms = window->to_ms};
    store_segment_name(checkpoint->store, shard, info.name, sizeof(info.name));
    return segment_writer_new(checkpoint->store->options.medium, &info, &window->writer, err);
}

static enum rc write_vector(struct checkpoint *checkpoint, uint32_t shard, struct window *window,
                            uint32_t series_id, const struct vector_summary *summary,
                            const uint8_t *payload, struct err *err) {
    TRY(window_writer(checkpoint, shard, window, err));
    return segment_writer_add(window->writer, series_id, summary, payload, err);
}

/* True if the vectors of a series that touch the range lie wholly in it, one after the other, and
   are big enough to be kept as they are. */
static bool are_ready(struct head_vector *const *vectors, uint32_t count, int64_t from_ms,
                      int64_t to_ms) {
    int64_t before_ms = INT64_MIN;
    for (uint32_t i = 0; i < count; i++) {
        const struct vector_summary *summary = &vectors[i]->summary;
        if (summary->time_last_ms < from_ms || summary->time_first_ms > to_ms)
            continue;
        if (summary->time_first_ms < from_ms || summary->time_last_ms > to_ms ||
            summary->time_first_ms <= before_ms || summary->count < READY_POINTS)
            return false;
        before_ms = summary->time_last_ms;
    }
    return true;
}

static enum rc write_ready(struct checkpoint *checkpoint, uint32_t shard, struct window *window,
                           uint32_t series_id, struct head_vector *const *vectors, uint32_t count,
                           struct err *err) {
    for (uint32_t i = 0; i < count; i++) {
        const struct vector_summary *summary = &vectors[i]->summary;
        if (summary->time_first_ms >= window->from_ms && summary->time_first_ms < window->to_ms)
            TRY(write_vector(checkpoint, shard, window, series_id, summary, vectors[i]->payload,
                             err));
    }
    return RC_OK;
}

static enum rc gather(struct checkpoint *checkpoint, struct head_vector *const *vectors,
                      uint32_t count, int64_t from_ms, int64_t to_ms, struct err *err) {
    struct head_points *points = &checkpoint->points;
    points->count = 0;
    points->unordered = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct vector_summary *summary = &vectors[i]->summary;
        if (summary->time_last_ms < from_ms || summary->time_first_ms > to_ms)
            continue;
        enum rc rc = head_points_add_vector(points, summary, vectors[i]->payload, from_ms, to_ms);
        if (rc == RC_CORRUPT)
            store_damage(checkpoint->store, "a vector in memory");
        else if (rc < 0)
            return err_set(err, rc, "out of memory for a checkpoint");
    }
    if (!head_points_order(points))
        return err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    return RC_OK;
}

static enum rc write_window(struct checkpoint *checkpoint, uint32_t shard, struct window *window,
                            const struct series *series, struct head_vector *const *vectors,
                            uint32_t count, struct err *err) {
    int64_t cutoff_ms = store_removal_cutoff_ms(checkpoint->store, series->metric_uid);
    int64_t from_ms = window->from_ms > cutoff_ms ? window->from_ms : cutoff_ms;
    int64_t to_ms = window->to_ms - 1;
    if (from_ms > to_ms)
        return RC_OK;
    if (from_ms == window->from_ms && are_ready(vectors, count, from_ms, to_ms))
        return write_ready(checkpoint, shard, window, series->id, vectors, count, err);
    TRY(gather(checkpoint, vectors, count, from_ms, to_ms, err));
    const struct head_points *points = &checkpoint->points;
    uint8_t payload[HEAD_PAYLOAD_MAX];
    for (uint32_t from = 0; from < points->count; from += LIMIT_VECTOR_POINTS) {
        uint32_t left = points->count - from;
        struct vector_summary summary;
        head_points_encode(points, from, left < LIMIT_VECTOR_POINTS ? left : LIMIT_VECTOR_POINTS,
                           &summary, payload);
        TRY(write_vector(checkpoint, shard, window, series->id, &summary, payload, err));
    }
    return RC_OK;
}

static enum rc write_series(struct checkpoint *checkpoint, uint32_t shard,
                            const struct frozen *frozen, struct err *err) {
    struct shard_work *work = &checkpoint->work;
    struct head_vector *const *vectors = work->vectors.p + frozen->first;
    int64_t first_ms = INT64_MAX;
    int64_t last_ms = INT64_MIN;
    for (uint32_t i = 0; i < frozen->count; i++) {
        const struct vector_summary *summary = &vectors[i]->summary;
        first_ms = summary->time_first_ms < first_ms ? summary->time_first_ms : first_ms;
        last_ms = summary->time_last_ms > last_ms ? summary->time_last_ms : last_ms;
    }
    for (uint32_t i = 0; i < work->window_count; i++) {
        struct window *window = &work->windows[i];
        if (window->from_ms <= last_ms && window->to_ms > first_ms)
            TRY(write_window(checkpoint, shard, window, frozen->series, vectors, frozen->count,
                             err));
    }
    return RC_OK;
}

static enum rc commit_window(struct checkpoint *checkpoint, struct window *window,
                             struct err *err) {
    struct segment_writer *writer = window->writer;
    struct store *store = checkpoint->store;
    struct segment_info info;
    struct segment *segment;
    if (writer == NULL)
        return RC_OK;
    window->writer = NULL;
    if (!segment_vec_reserve(&checkpoint->written, checkpoint->written.n + 1)) {
        segment_writer_abort(writer);
        return err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    }
    TRY(segment_writer_commit(writer, &info, err));
    enum rc rc = segment_open(store->options.medium, info.name, &segment, err);
    if (rc < 0) {
        (void)!medium_remove(store->options.medium, MEDIUM_OBJECTS, info.name, NULL);
        return rc;
    }
    segment_use_memory(segment, store->options.budget, store->epochs);
    checkpoint->written.p[checkpoint->written.n++] = segment;
    return RC_OK;
}

static enum rc write_shard(struct checkpoint *checkpoint, uint32_t shard, struct err *err) {
    struct shard_work *work = &checkpoint->work;
    if (!plan_windows(work, checkpoint->store->options.window_ms))
        return err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    enum rc rc = RC_OK;
    for (size_t i = 0; i < work->frozen.n && rc == RC_OK; i++)
        rc = write_series(checkpoint, shard, &work->frozen.p[i], err);
    for (uint32_t i = 0; i < work->window_count; i++) {
        if (rc == RC_OK)
            rc = commit_window(checkpoint, &work->windows[i], err);
        if (work->windows[i].writer != NULL)
            segment_writer_abort(work->windows[i].writer);
        work->windows[i].writer = NULL;
    }
    return rc;
}

/* ---- names and manifest ---- */

static enum rc write_names(struct checkpoint *checkpoint, struct manifest *draft,
                           struct store_leftovers *gone, struct err *err) {
    struct store *store = checkpoint->store;
    uint64_t changes = index_sequence(store->index) - store->names_sequence;
    if (!store_is_durable(store) || changes == 0)
        return RC_OK;
    bool whole = changes > NAMES_CHANGES_MAX || draft->names.n >= NAMES_OBJECTS_MAX;
    struct manifest_object object;
    if (whole) {
        gone->names = draft->names;
        draft->names = (struct manifest_objects){0};
    }
    if (!manifest_objects_reserve(&draft->names, draft->names.n + 1))
        return err_set(err, RC_NOMEM, "out of memory for the manifest");
    TRY(store_names_write(store, whole ? 0 : store->names_sequence, &object,
                          &checkpoint->names_next, err));
    draft->names.p[draft->names.n++] = object;
    return RC_OK;
}

/* Removes objects that no stored manifest can name. */
static void undo_objects(struct checkpoint *checkpoint, const struct manifest *draft,
                         bool wrote_names) {
    for (size_t i = 0; i < checkpoint->written.n; i++)
        segment_discard(checkpoint->written.p[i]);
    if (wrote_names)
        store_names_remove(checkpoint->store, draft->names.p[draft->names.n - 1].name);
}

/* Stores a manifest with the segments written; `last` also with names and the new start of the log.
   Then puts the new lists in place. */
static enum rc publish(struct checkpoint *checkpoint, bool last, struct err *err) {
    struct store *store = checkpoint->store;
    struct segment_list *lists[STORE_SHARDS_MAX] = {0};
    struct manifest draft = {0};
    struct store_leftovers gone = {0};
    enum rc rc = RC_OK;
    for (uint32_t i = 0; i < store->shard_count && rc == RC_OK; i++)
        rc = store_segments_plan(store, i, NULL, &checkpoint->written, &lists[i]);
    if (rc == RC_OK)
        rc = store_manifest_draft(store, &draft);
    if (rc == RC_OK)
        rc = store_manifest_add_segments(store, &draft, lists);
    if (rc < 0)
        err_set(err, rc, "out of memory for the manifest");
    draft.sequence_next = checkpoint->sequence_next;
    checkpoint->names_next = store->names_sequence;
    if (last) {
        draft.log_start = checkpoint->log_end;
        if (rc == RC_OK)
            rc = write_names(checkpoint, &draft, &gone, err);
    }
    bool wrote_names = rc == RC_OK && checkpoint->names_next != store->names_sequence;
    bool certain = true;
    if (rc == RC_OK) {
        rc = store_manifest_commit(store, &draft, &gone, err);
        certain = rc == RC_NO_SPACE;
    }
    if (rc < 0 && certain)
        undo_objects(checkpoint, &draft, wrote_names);
    for (uint32_t i = 0; i < store->shard_count; i++) {
        if (rc == RC_OK)
            store_segments_swap(store, i, lists[i]);
        else
            store_segments_free(lists[i]);
    }
    if (rc == RC_OK)
        store->names_sequence = checkpoint->names_next;
    manifest_fini(&draft);
    store_leftovers_free(&gone);
    return rc;
}

/* ---- the whole ---- */

static void note_log(struct checkpoint *checkpoint) {
    struct store *store = checkpoint->store;
    checkpoint->log_end = store->log == NULL ? 0 : log_end(store->log);
    for (uint32_t i = 0; i < store->shard_count; i++) {
        mutex_lock(&store->shards[i].lock);
        mutex_unlock(&store->shards[i].lock);
    }
}

static bool is_idle(struct checkpoint *checkpoint) {
    struct store *store = checkpoint->store;
    bool idle = checkpoint->log_end == store->manifest.log_start &&
                (!store_is_durable(store) || index_sequence(store->index) == store->names_sequence);
    for (uint32_t i = 0; i < store->shard_count && idle; i++) {
        mutex_lock(&store->shards[i].lock);
        idle = store->shards[i].listed.n == 0;
        mutex_unlock(&store->shards[i].lock);
    }
    return idle;
}

static void work_free(struct checkpoint *checkpoint) {
    struct shard_work *work = &checkpoint->work;
    u32_vec_fini(&work->ids);
    frozen_vec_fini(&work->frozen);
    vector_vec_fini(&work->vectors);
    *work = (struct shard_work){0};
    for (size_t i = 0; i < checkpoint->written.n; i++)
        segment_unref(checkpoint->written.p[i]);
    segment_vec_fini(&checkpoint->written);
}

static enum rc run_shard(struct checkpoint *checkpoint, uint32_t shard, struct err *err) {
    enum rc rc = RC_OK;
    if (!freeze_shard(checkpoint, shard))
        rc = err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    if (rc == RC_OK)
        rc = write_shard(checkpoint, shard, err);
    if (rc == RC_OK && checkpoint->written.n > 0) {
        rc = publish(checkpoint, false, err);
    } else if (rc < 0) {
        for (size_t i = 0; i < checkpoint->written.n; i++)
            segment_discard(checkpoint->written.p[i]);
    }
    thaw_shard(checkpoint, shard, rc == RC_OK);
    work_free(checkpoint);
    store_collect(checkpoint->store);
    return rc;
}

static enum rc run_shards(struct checkpoint *checkpoint, struct err *err) {
    for (uint32_t i = 0; i < checkpoint->store->shard_count; i++)
        TRY(run_shard(checkpoint, i, err));
    return RC_OK;
}

static enum rc run(struct checkpoint *checkpoint, struct err *err) {
    TRY(run_shards(checkpoint, err));
    return publish(checkpoint, true, err);
}

static struct checkpoint *checkpoint_new(struct store *store) {
    struct checkpoint *checkpoint = calloc(1, sizeof(*checkpoint));
    if (checkpoint == NULL)
        return NULL;
    checkpoint->store = store;
    checkpoint->sequence_next = store->manifest.sequence_next;
    return checkpoint;
}

static void checkpoint_free(struct checkpoint *checkpoint) {
    head_points_fini(&checkpoint->points);
    free(checkpoint);
}

static void truncate_log(struct store *store) {
    struct err why;
    uint64_t start = store->log_start_previous < store->manifest.log_start
                         ? store->log_start_previous
                         : store->manifest.log_start;
    if (store->log != NULL && log_truncate(store->log, start, &why) < 0)
        store_report(store, "old log could not be removed: %s", why.message);
}

enum rc store_checkpoint_run(struct store *store, struct err *err) {
    struct checkpoint *checkpoint = checkpoint_new(store);
    if (checkpoint == NULL)
        return err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    bool was_short = store_memory_short(store);
    note_log(checkpoint);
    enum rc rc = RC_OK;
    if (!is_idle(checkpoint)) {
        rc = run(checkpoint, err);
        if (rc == RC_OK) {
            atomic_store(&store->checkpoint_log, checkpoint->log_end);
            atomic_fetch_add(&store->checkpoints, 1);
            truncate_log(store);
        }
    }
    if (rc == RC_OK)
        atomic_store(&store->checkpoint_ns, clock_monotonic_ns());
    checkpoint_free(checkpoint);
    store_collect(store);
    store_pools_trim(store);
    if (was_short)
        machine_trim_allocator();
    return rc;
}

enum rc store_checkpoint_heads(struct store *store, struct err *err) {
    if (store_tombstones_publish(store) < 0)
        return err_set(err, RC_NOMEM, "out of memory for the list of deletes");
    struct checkpoint *checkpoint = checkpoint_new(store);
    if (checkpoint == NULL)
        return err_set(err, RC_NOMEM, "out of memory for a checkpoint");
    enum rc rc = run_shards(checkpoint, err);
    checkpoint_free(checkpoint);
    store_collect(store);
    store_pools_trim(store);
    machine_trim_allocator();
    return rc;
}

enum rc store_checkpoint(struct store *store, struct err *err) {
    mutex_lock(&store->maintenance);
    enum rc rc = store_checkpoint_run(store, err);
    mutex_unlock(&store->maintenance);
    return rc;
}
