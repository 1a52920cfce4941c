#include "store/store_state.h"

#include "base/bytes.h"
#include "base/check.h"
#include "store/batch.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    PART_POINTS = 2048,        /* a batch is worked off in parts whose series stay in the cache */
    PREFETCH_SERIES = 32,      /* points ahead whose series is brought into cache */
    DEFINE_BYTES_MAX = 1 << 20 /* of definitions in one record of the log */
};

/* Where a batch is put in order of shard and encoded. Idle ones wait in the store. */
struct append_scratch {
    struct append_scratch *next;
    size_t charged;
    struct series **series;
    uint32_t *series_id;
    int64_t *time_ms;
    uint64_t *bits;
    uint8_t *is_float;
    uint8_t *encoded;
};

static void scratch_free(struct store *store, struct append_scratch *scratch) {
    free(scratch->series);
    free(scratch->series_id);
    free(scratch->time_ms);
    free(scratch->bits);
    free(scratch->is_float);
    free(scratch->encoded);
    budget_release(store->options.budget, scratch->charged);
    free(scratch);
}

static struct append_scratch *scratch_new(struct store *store) {
    struct append_scratch *scratch = calloc(1, sizeof(*scratch));
    if (scratch == NULL)
        return NULL;
    const size_t n = PART_POINTS;
    scratch->series = malloc(n * sizeof(*scratch->series));
    scratch->series_id = malloc(n * sizeof(*scratch->series_id));
    scratch->time_ms = malloc(n * sizeof(*scratch->time_ms));
    scratch->bits = malloc(n * sizeof(*scratch->bits));
    scratch->is_float = malloc(n);
    scratch->encoded = malloc(batch_points_bound(PART_POINTS));
    scratch->charged = n * 29 + batch_points_bound(PART_POINTS);
    budget_force(store->options.budget, scratch->charged);
    if (scratch->series != NULL && scratch->series_id != NULL && scratch->time_ms != NULL &&
        scratch->bits != NULL && scratch->is_float != NULL && scratch->encoded != NULL)
        return scratch;
    scratch_free(store, scratch);
    return NULL;
}

static struct append_scratch *scratch_take(struct store *store) {
    mutex_lock(&store->scratch_lock);
    struct append_scratch *scratch = store->scratch;
    if (scratch != NULL)
        store->scratch = scratch->next;
    mutex_unlock(&store->scratch_lock);
    return scratch != NULL ? scratch : scratch_new(store);
}

static void scratch_give(struct store *store, struct append_scratch *scratch) {
    mutex_lock(&store->scratch_lock);
    scratch->next = store->scratch;
    store->scratch = scratch;
    mutex_unlock(&store->scratch_lock);
}

void store_scratch_free(struct store *store) {
    while (store->scratch != NULL) {
        struct append_scratch *next = store->scratch->next;
        scratch_free(store, store->scratch);
        store->scratch = next;
    }
}

/* ---- definitions ---- */

struct define {
    struct log *log;
    struct err *err;
};

static enum rc push_definitions(void *context, const uint8_t *bytes, size_t n) {
    const struct define *define = context;
    return log_push(define->log, LOG_DEFINE, bytes, n, NULL, define->err);
}

/* What is undefined can be more than one record may hold, or the log buffer: series go on being
   made while the log refuses to be written. */
static enum rc push_all_definitions(struct store *store, const struct buf *bytes, struct err *err) {
    struct define define = {store->log, err};
    size_t most = store->options.log.buffer_bytes_max / 4;
    if (most == 0 || most > DEFINE_BYTES_MAX)
        most = DEFINE_BYTES_MAX;
    enum rc rc = index_pieces((const uint8_t *)bytes->p, bytes->n, most, push_definitions, &define);
    if (rc == RC_NOMEM)
        err_set(err, rc, "out of memory for the names of new series");
    return rc;
}

enum rc store_define(struct store *store, struct err *err) {
    if (store->log == NULL ||
        index_sequence(store->index) == atomic_load_explicit(&store->defined, memory_order_acquire))
        return RC_OK;
    struct buf bytes = {0};
    uint64_t next;
    mutex_lock(&store->define);
    uint64_t from = atomic_load_explicit(&store->defined, memory_order_relaxed);
    enum rc rc = index_encode_since(store->index, from, &bytes, &next);
    if (rc < 0 || bytes.failed)
        rc = err_set(err, rc < 0 ? rc : RC_NOMEM, "out of memory for the names of new series");
    if (rc == RC_OK && next > from)
        rc = push_all_definitions(store, &bytes, err);
    if (rc == RC_OK)
        atomic_store_explicit(&store->defined, next, memory_order_release);
    mutex_unlock(&store->define);
    buf_fini(&bytes);
    return rc;
}

/* ---- points ---- */

/* Where the points of each shard begin in the scratch; [shard_count] is the end. */
struct layout {
    uint32_t begin[STORE_SHARDS_MAX + 1];
};

static void prefetch_series(const struct series *series) {
    __builtin_prefetch(series, 1);
}

/* With strides that are constants for arrays, whose loops then become vector instructions. */
static ALWAYS_INLINE bool is_valid_by(const struct store_batch *batch, size_t wide, size_t narrow) {
    const uint8_t *time_ms = (const uint8_t *)batch->time_ms;
    const uint8_t *is_float = batch->is_float;
    size_t n = batch->count;
    uint64_t outside = 0;
    uint8_t kinds = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t time = bytes_u64(time_ms + i * wide);
        outside |= (time - 1) | ((uint64_t)LIMIT_TIME_MS_MAX - time);
    }
    for (size_t i = 0; i < n; i++)
        kinds |= is_float[i * narrow];
    return outside >> 63 == 0 && kinds <= 1;
}

/* Whether the points are what the rest relies on. */
static bool is_valid(const struct store_batch *batch) {
    return batch->stride == 0 ? is_valid_by(batch, sizeof(*batch->time_ms), 1)
                              : is_valid_by(batch, batch->stride, batch->stride);
}

static void count_shards(const struct store_batch *batch, uint32_t *count) {
    struct series *const *series = batch->series;
    uint32_t n = batch->count;
    uint32_t ahead = n > PREFETCH_SERIES ? n - PREFETCH_SERIES : 0;
    for (uint32_t i = 0; i < ahead; i++) {
        prefetch_series(series[i + PREFETCH_SERIES]);
        count[series[i]->shard]++;
    }
    for (uint32_t i = ahead; i < n; i++)
        count[series[i]->shard]++;
}

/* Copies the points to where those of their shard stand, and has their tails brought into the
   cache: the series is in it now. The strides are constants wherever this is called for arrays. */
static ALWAYS_INLINE void scatter(const struct store_batch *batch, uint32_t *restrict at,
                                  const struct append_scratch *scratch, size_t wide,
                                  size_t narrow) {
    struct series *const *from = batch->series;
    const uint8_t *restrict from_time_ms = (const uint8_t *)batch->time_ms;
    const uint8_t *restrict from_bits = (const uint8_t *)batch->bits;
    const uint8_t *restrict from_is_float = batch->is_float;
    struct series **restrict series = scratch->series;
    uint32_t *restrict series_id = scratch->series_id;
    int64_t *restrict time_ms = scratch->time_ms;
    uint64_t *restrict bits = scratch->bits;
    uint8_t *restrict is_float = scratch->is_float;
    for (size_t i = 0, n = batch->count; i < n; i++) {
        struct series *one = from[i];
        uint32_t to = at[one->shard]++;
        head_prefetch(&one->head);
        series[to] = one;
        series_id[to] = one->id;
        time_ms[to] = (int64_t)bytes_u64(from_time_ms + i * wide);
        bits[to] = bytes_u64(from_bits + i * wide);
        is_float[to] = from_is_float[i * narrow];
    }
}

static void group(const struct store *store, const struct store_batch *batch,
                  const struct append_scratch *scratch, struct layout *layout) {
    uint32_t count[STORE_SHARDS_MAX] = {0};
    uint32_t at[STORE_SHARDS_MAX];
    count_shards(batch, count);
    layout->begin[0] = 0;
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        at[shard] = layout->begin[shard];
        layout->begin[shard + 1] = at[shard] + count[shard];
    }
    if (batch->stride == 0)
        scatter(batch, at, scratch, sizeof(*batch->bits), 1);
    else
        scatter(batch, at, scratch, batch->stride, batch->stride);
}

bool store_apply_hard(struct shard *shard, struct series *series, int64_t time_ms, uint64_t bits,
                      bool is_float) {
    if (UNLIKELY(!series->listed)) {
        if (!u32_vec_push(&shard->listed, series->id))
            return false;
        series->listed = true;
    }
    return head_append(&series->head, &shard->memory, time_ms, bits, is_float);
}

/* Returns how many points could not be applied. */
static uint32_t apply(struct shard *shard, const struct append_scratch *scratch, uint32_t begin,
                      uint32_t end) {
    struct series *const *series = scratch->series;
    const int64_t *time_ms = scratch->time_ms;
    const uint64_t *bits = scratch->bits;
    const uint8_t *is_float = scratch->is_float;
    uint32_t failed = 0;
    for (uint32_t i = begin; i < end; i++)
        failed += !store_apply(shard, series[i], time_ms[i], bits[i], is_float[i]);
    return failed;
}

/* Log first, then heads, under the shard's lock: the order in the log is the order in memory, and
   what the log refuses is not applied. Should memory run out after that, the points are in the log
   but not acknowledged, like those of a writer that was cut off. */
static enum rc append_shard(struct store *store, uint32_t index, struct append_scratch *scratch,
                            uint32_t begin, uint32_t end, uint64_t *commit, struct err *err) {
    struct shard *shard = &store->shards[index];
    struct batch_points points = {.count = end - begin,
                                  .series_id = scratch->series_id + begin,
                                  .time_ms = scratch->time_ms + begin,
                                  .bits = scratch->bits + begin,
                                  .is_float = scratch->is_float + begin};
    size_t n = store->log == NULL ? 0 : batch_encode_points(&points, scratch->encoded);
    enum rc rc = RC_OK;
    uint32_t failed = 0;
    mutex_lock(&shard->lock);
    if (store->log != NULL)
        rc = log_push(store->log, LOG_POINTS, scratch->encoded, n, commit, err);
    if (rc == RC_OK)
        failed = apply(shard, scratch, begin, end);
    mutex_unlock(&shard->lock);
    if (rc == RC_OK)
        atomic_fetch_add_explicit(&shard->points_appended, points.count - failed,
                                  memory_order_relaxed);
    if (failed > 0)
        rc = err_set(err, RC_NOMEM, "out of memory: %u points of %u were not stored", failed,
                     points.count);
    return rc;
}

/* ---- back-pressure ---- */

static enum rc refuse(struct store *store, struct err *err) {
    return err_set(err, RC_THROTTLE,
                   "over the memory budget: %zu MiB of points wait to be written out, %zu MiB of "
                   "the limit are left; try again later",
                   budget_used(&store->heads) >> 20, budget_left(store->options.budget) >> 20);
}

/* Without a maintenance thread the writer that meets the limit does the work. */
static enum rc make_room(struct store *store, struct err *err) {
    if (mutex_try_lock(&store->maintenance)) {
        struct err why;
        if (store_checkpoint_run(store, &why) < 0)
            store_report(store, "no memory was given back: %s", why.message);
        mutex_unlock(&store->maintenance);
    }
    return store_memory_full(store) ? refuse(store, err) : RC_OK;
}

static enum rc wait_for_room(struct store *store, struct err *err) {
    if (!store->running)
        return make_room(store, err);
    const int64_t poll_ns = 10 * 1000000;
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)store->options.throttle_ms * 1000000;
    bool full = true;
    while (full && clock_monotonic_ns() < deadline_ns) {
        store_wake(store);
        mutex_lock(&store->wake_lock);
        condition_wait_until(&store->room, &store->wake_lock, clock_monotonic_ns() + poll_ns);
        mutex_unlock(&store->wake_lock);
        full = store_memory_full(store);
    }
    return full ? refuse(store, err) : RC_OK;
}

static enum rc append_part(struct store *store, const struct store_batch *batch,
                           struct append_scratch *scratch, uint64_t *commit, struct err *err) {
    struct layout layout;
    if (!batch->checked && !is_valid(batch))
        return err_set(err, RC_INVALID, "a time is out of range: 1 .. %" PRId64 " ms",
                       LIMIT_TIME_MS_MAX);
    group(store, batch, scratch, &layout);
    for (uint32_t shard = 0; shard < store->shard_count; shard++)
        if (layout.begin[shard] < layout.begin[shard + 1])
            TRY(append_shard(store, shard, scratch, layout.begin[shard], layout.begin[shard + 1],
                             commit, err));
    return RC_OK;
}

/* `count` points of the batch from `from` on. */
static struct store_batch part_of(const struct store_batch *batch, uint32_t from, uint32_t count) {
    bool are_arrays = batch->stride == 0;
    size_t wide = from * (are_arrays ? sizeof(*batch->bits) : batch->stride);
    struct store_batch part = *batch;
    part.count = count;
    part.series += from;
    part.time_ms = (const void *)((const uint8_t *)part.time_ms + wide);
    part.bits = (const void *)((const uint8_t *)part.bits + wide);
    part.is_float += from * (are_arrays ? 1 : batch->stride);
    return part;
}

static enum rc append(struct store *store, const struct store_batch *batch,
                      struct append_scratch *scratch, uint64_t *commit, struct err *err) {
    TRY(store_define(store, err));
    for (uint32_t from = 0; from < batch->count; from += PART_POINTS) {
        uint32_t left = batch->count - from;
        struct store_batch part = part_of(batch, from, left < PART_POINTS ? left : PART_POINTS);
        TRY(append_part(store, &part, scratch, commit, err));
    }
    return RC_OK;
}

enum rc store_append(struct store *store, const struct store_batch *batch, uint64_t *commit,
                     struct err *err) {
    CHECK(batch->count <= LIMIT_BATCH_POINTS);
    uint64_t end = 0;
    if (commit != NULL)
        *commit = 0;
    if (batch->count == 0)
        return RC_OK;
    if (UNLIKELY(store_memory_short(store)))
        store_wake(store);
    enum rc rc = UNLIKELY(store_memory_full(store)) ? wait_for_room(store, err) : RC_OK;
    struct append_scratch *scratch = rc == RC_OK ? scratch_take(store) : NULL;
    if (rc == RC_OK && scratch == NULL)
        rc = err_set(err, RC_NOMEM, "out of memory for a batch of points");
    if (rc == RC_OK)
        rc = append(store, batch, scratch, &end, err);
    if (scratch != NULL)
        scratch_give(store, scratch);
    if (rc < 0)
        atomic_fetch_add(&store->points_rejected, batch->count);
    else if (commit != NULL)
        *commit = end;
    return rc;
}
