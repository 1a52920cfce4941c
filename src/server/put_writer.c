#include "server/put_writer.h"

#include "base/check.h"
#include "os/clock.h"
#include "server/report.h"
#include "store/key_cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEEP_POINTS_MAX = 1 << 18, /* columns longer than this are given back after the batch */
    REFUSAL_TOLD_S = 60,
};

static const int64_t NS_PER_S = 1000000000;

struct put_writer {
    struct instance *instance;
    struct key_cache_cursor keys;
    bool finding;            /* between begin and flush: keys are looked up */
    struct put_writer *next; /* in the pool */
    size_t count;
    size_t capacity;
    size_t charged_bytes;
    struct series **series;
    int64_t *time_ms;
    uint64_t *bits;
    uint8_t *is_float;
    struct put_shape shape;
};

static const size_t row_bytes =
    sizeof(struct series *) + sizeof(int64_t) + sizeof(uint64_t) + sizeof(uint8_t);

struct put_writer *put_writer_new(struct instance *instance, enum put_protocol protocol) {
    struct put_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return NULL;
    writer->instance = instance;
    key_cache_open(instance->keys, protocol, &writer->keys);
    return writer;
}

static void give_columns_back(struct put_writer *writer) {
    free(writer->series);
    free(writer->time_ms);
    free(writer->bits);
    free(writer->is_float);
    budget_release(&writer->instance->budget, writer->charged_bytes);
    writer->series = NULL;
    writer->time_ms = NULL;
    writer->bits = NULL;
    writer->is_float = NULL;
    writer->capacity = 0;
    writer->charged_bytes = 0;
}

void put_writer_free(struct put_writer *writer) {
    if (writer == NULL)
        return;
    give_columns_back(writer);
    free(writer);
}

void put_writer_begin(struct put_writer *writer) {
    CHECK(writer->count == 0);
    key_cache_begin(&writer->keys, store_writers_enter(writer->instance->store));
    writer->finding = true;
}

/* Appending may wait for memory: nobody else need wait for that. */
static void stop_finding(struct put_writer *writer) {
    if (writer->finding)
        key_cache_end(&writer->keys);
    writer->finding = false;
}

static bool grow_column(void *column_pointer, size_t capacity, size_t size) {
    void *old;
    memcpy(&old, column_pointer, sizeof(old));
    void *grown = realloc(old, capacity * size);
    if (grown == NULL)
        return false;
    memcpy(column_pointer, &grown, sizeof(grown));
    return true;
}

static bool grow(struct put_writer *writer) {
    size_t capacity = writer->capacity == 0 ? 1024 : writer->capacity * 2;
    size_t more = (capacity - writer->capacity) * row_bytes;
    if (!budget_charge(&writer->instance->budget, more))
        return false;
    if (!grow_column(&writer->series, capacity, sizeof(*writer->series)) ||
        !grow_column(&writer->time_ms, capacity, sizeof(*writer->time_ms)) ||
        !grow_column(&writer->bits, capacity, sizeof(*writer->bits)) ||
        !grow_column(&writer->is_float, capacity, sizeof(*writer->is_float))) {
        budget_release(&writer->instance->budget, more);
        return false;
    }
    writer->charged_bytes += more;
    writer->capacity = capacity;
    return true;
}

static enum rc resolve(struct put_writer *writer, str metric, str tags, put_writer_split *split,
                       void *context, struct series **series, struct err *err) {
    struct series_key key;
    TRY(split(context, &key, err));
    TRY(series_key_canonicalise(&key, err));
    TRY(series_key_check(&key, &writer->instance->rules, err));
    TRY(index_series(writer->instance->index, &key, series, err));
    key_cache_add(&writer->keys, metric, tags, *series);
    return RC_OK;
}

/* A state that every point may meet: one line says it for a while, whoever writes. */
static void tell_of_refusal(struct instance *instance, const struct err *err) {
    int64_t now = clock_monotonic_ns();
    int64_t told = atomic_load_explicit(&instance->refusal_told_ns, memory_order_relaxed);
    if ((told == 0 || now - told > REFUSAL_TOLD_S * NS_PER_S) &&
        atomic_compare_exchange_strong(&instance->refusal_told_ns, &told, now))
        report(REPORT_WARN, REPORT_STORE, "points are refused: %s", err->message);
}

static enum rc refuse(struct put_writer *writer, enum rc rc, const struct err *err) {
    if (rc == RC_THROTTLE || rc == RC_LIMIT || rc == RC_NOMEM)
        tell_of_refusal(writer->instance, err);
    return rc;
}

/* There is room. */
static inline void push_row(struct put_writer *writer, struct series *series, int64_t time_ms,
                            struct value value) {
    size_t at = writer->count++;
    writer->series[at] = series;
    writer->time_ms[at] = time_ms;
    writer->bits[at] = value.bits;
    writer->is_float[at] = value.is_float;
}

enum rc put_writer_add(struct put_writer *writer, str metric, str tags, put_writer_split *split,
                       void *context, int64_t time_ms, struct value value, struct err *err) {
    if (UNLIKELY(writer->count == writer->capacity) && !grow(writer)) {
        err_set(err, RC_THROTTLE, "the server is over its memory budget, retry later");
        return refuse(writer, RC_THROTTLE, err);
    }
    struct series *series = key_cache_find(&writer->keys, metric, tags);
    if (UNLIKELY(series == NULL)) {
        enum rc rc = resolve(writer, metric, tags, split, context, &series, err);
        if (UNLIKELY(rc < 0))
            return refuse(writer, rc, err);
    }
    push_row(writer, series, time_ms, value);
    return RC_OK;
}

bool put_writer_expected(struct put_writer *writer, str *metric, str *tags) {
    return LIKELY(writer->count < writer->capacity || grow(writer)) &&
           key_cache_expected(&writer->keys, metric, tags);
}

void put_writer_add_expected(struct put_writer *writer, int64_t time_ms, struct value value) {
    push_row(writer, key_cache_take_expected(&writer->keys), time_ms, value);
}

struct put_shape *put_writer_shape(struct put_writer *writer) {
    return &writer->shape;
}

enum rc put_writer_flush(struct put_writer *writer, uint64_t *stored, uint64_t *commit,
                         struct err *err) {
    enum rc rc = RC_OK;
    size_t done = 0;
    *commit = 0;
    stop_finding(writer);
    while (rc == RC_OK && done < writer->count) {
        size_t left = writer->count - done;
        uint32_t part = (uint32_t)(left < LIMIT_BATCH_POINTS ? left : LIMIT_BATCH_POINTS);
        struct store_batch batch = {part, writer->series + done, writer->time_ms + done,
                                    writer->bits + done, writer->is_float + done};
        uint64_t end;
        rc = store_append(writer->instance->store, &batch, &end, err);
        if (rc == RC_OK) {
            done += part;
            *commit = end;
        }
    }
    *stored = done;
    put_writer_abandon(writer);
    return rc;
}

void put_writer_abandon(struct put_writer *writer) {
    stop_finding(writer);
    store_writers_leave(writer->instance->store);
    writer->count = 0;
    if (writer->capacity > KEEP_POINTS_MAX)
        give_columns_back(writer);
}

bool put_writer_is_full(const struct put_writer *writer) {
    return writer->count == writer->capacity;
}

uint64_t put_writer_pending(const struct put_writer *writer) {
    return writer->count;
}

struct put_pool {
    struct instance *instance;
    struct mutex lock;
    struct condition changed;
    struct put_writer *idle; /* newest first */
    uint32_t count;          /* writers that exist */
};

struct put_pool *put_pool_new(struct instance *instance) {
    struct put_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->instance = instance;
    mutex_init(&pool->lock);
    condition_init(&pool->changed);
    return pool;
}

void put_pool_free(struct put_pool *pool) {
    if (pool == NULL)
        return;
    for (struct put_writer *writer = pool->idle, *next; writer != NULL; writer = next) {
        next = writer->next;
        put_writer_free(writer);
    }
    condition_fini(&pool->changed);
    mutex_fini(&pool->lock);
    free(pool);
}

struct put_writer *put_pool_take(struct put_pool *pool) {
    mutex_lock(&pool->lock);
    while (pool->idle == NULL && pool->count >= pool->instance->processors)
        condition_wait(&pool->changed, &pool->lock);
    struct put_writer *writer = pool->idle;
    if (writer != NULL)
        pool->idle = writer->next;
    else if ((writer = put_writer_new(pool->instance, PUT_HTTP)) != NULL)
        pool->count++;
    mutex_unlock(&pool->lock);
    return writer;
}

void put_pool_give(struct put_pool *pool, struct put_writer *writer) {
    mutex_lock(&pool->lock);
    writer->next = pool->idle;
    pool->idle = writer;
    condition_signal(&pool->changed);
    mutex_unlock(&pool->lock);
}
