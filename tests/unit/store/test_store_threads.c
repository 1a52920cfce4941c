#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/clock.h"
#include "store/engine_model.h"

#include <pthread.h>
#include <stdatomic.h>

/* Writers, readers, checkpoints, compactions and deletes at the same time. Point k of a series is k
   at second k; what a writer says is written a reader must find. */

enum { WRITERS = 2, READERS = 2, SERIES_EACH = 3, PART = 64, POINTS = 600 * PART };

struct shared {
    struct engine *engine;
    struct series *series[WRITERS * SERIES_EACH];
    _Atomic int64_t written[WRITERS * SERIES_EACH]; /* points 0 .. n-1 are in the store */
    _Atomic int64_t deleted;                        /* those of series 0 before this are going */
    _Atomic bool stop;
    _Atomic uint32_t failures;
    _Atomic uint32_t next_writer;
    _Atomic uint64_t checked;
};

static void *write_points(void *context) {
    struct shared *shared = context;
    uint32_t first = atomic_fetch_add(&shared->next_writer, 1) * SERIES_EACH;
    struct series *series[PART * SERIES_EACH];
    int64_t time_ms[PART * SERIES_EACH];
    uint64_t bits[PART * SERIES_EACH];
    uint8_t is_float[PART * SERIES_EACH];
    for (int64_t k = 0; k < POINTS; k += PART) {
        uint32_t n = 0;
        for (int64_t i = k; i < k + PART; i++)
            for (uint32_t s = 0; s < SERIES_EACH; s++, n++) {
                series[n] = shared->series[first + s];
                time_ms[n] = ENGINE_BASE_MS + i * 1000;
                bits[n] = (uint64_t)i;
                is_float[n] = 0;
            }
        struct store_batch batch = {n, series, time_ms, bits, is_float};
        enum rc rc;
        do {
            store_writers_enter(shared->engine->store);
            rc = store_append(shared->engine->store, &batch, NULL, NULL);
            store_writers_leave(shared->engine->store);
        } while (rc == RC_THROTTLE);
        if (rc < 0)
            atomic_fetch_add(&shared->failures, 1);
        for (uint32_t s = 0; s < SERIES_EACH; s++)
            atomic_store(&shared->written[first + s], k + PART);
    }
    return NULL;
}

/* Looks at one run of points. Those of series 0 that are being deleted may be missing. */
static void check_run(struct shared *shared, const struct points *points, uint32_t number,
                      int64_t *next) {
    for (uint32_t i = 0; i < points->count; i++) {
        int64_t k = (points->time_ms[i] - ENGINE_BASE_MS) / 1000;
        bool may_miss = number == 0 && k <= atomic_load(&shared->deleted);
        if (points->bits[i] != (uint64_t)k || (k != *next && !may_miss))
            atomic_fetch_add(&shared->failures, 1);
        *next = k + 1;
    }
}

/* Point k must be k, and none may be missing that was written before. */
static void check(struct shared *shared, struct scan *scan, uint32_t number) {
    int64_t written = atomic_load(&shared->written[number]);
    int64_t next = 0;
    int outcome = scan_open(scan, shared->series[number], INT64_MIN, INT64_MAX);
    while (outcome >= 0 && (outcome = scan_next(scan)) > 0) {
        if (outcome == SCAN_VECTOR && scan_decode(scan) < 0)
            outcome = RC_CORRUPT;
        else
            check_run(shared, &scan->points, number, &next);
    }
    if (number == 0 && next < atomic_load(&shared->deleted))
        next = atomic_load(&shared->deleted);
    if (outcome < 0 || next < written)
        atomic_fetch_add(&shared->failures, 1);
    scan_close(scan);
    atomic_fetch_add(&shared->checked, 1);
}

static void *read_points(void *context) {
    struct shared *shared = context;
    struct scan scan;
    if (scan_init(&scan, shared->engine->store, &shared->engine->budget) < 0) {
        atomic_fetch_add(&shared->failures, 1);
        return NULL;
    }
    for (uint32_t i = 0; !atomic_load(&shared->stop); i++)
        check(shared, &scan, i % (WRITERS * SERIES_EACH));
    scan_fini(&scan);
    return NULL;
}

static bool all_written(struct shared *shared) {
    bool all = true;
    for (uint32_t i = 0; i < WRITERS * SERIES_EACH; i++)
        all &= atomic_load(&shared->written[i]) >= POINTS;
    return all;
}

/* Deletes the older half of what is there of series 0. */
static void delete_some(struct shared *shared) {
    int64_t to = atomic_load(&shared->written[0]) / 2;
    atomic_store(&shared->deleted, to + 1);
    store_readers_enter(shared->engine->store);
    assert_int_equal(store_delete(shared->engine->store, &shared->series[0], 1, INT64_MIN,
                                  ENGINE_BASE_MS + to * 1000, NULL, NULL),
                     RC_OK);
    store_readers_leave(shared->engine->store);
}

static void everything_goes_on_at_the_same_time(void **state) {
    struct engine *engine = engine_new();
    engine->options.background = true;
    engine->options.head_bytes_max = 40000;
    engine->options.throttle_ms = 1000;
    assert_int_equal(engine_open(engine), RC_OK);
    struct shared *shared = calloc(1, sizeof(*shared));
    assert_non_null(shared);
    shared->engine = engine;
    for (uint32_t i = 0; i < WRITERS * SERIES_EACH; i++) {
        enum rc rc;
        shared->series[i] = engine_series(engine, i, true, &rc);
    }
    pthread_t threads[WRITERS + READERS];
    for (int i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < WRITERS ? write_points : read_points, shared), 0);
    for (uint32_t i = 0; !all_written(shared); i++) {
        if (i % 4 == 0)
            assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        if (i % 16 == 8)
            assert_int_equal(store_compact(engine->store, NULL), RC_OK);
        if (i % 32 == 20)
            delete_some(shared);
        clock_sleep_ns(2000000);
    }
    atomic_store(&shared->stop, true);
    for (int i = 0; i < WRITERS + READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&shared->failures), 0);
    assert_true(atomic_load(&shared->checked) > 0);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_true(stats.checkpoints > 0);
    assert_int_equal(stats.damaged_blocks, 0);
    assert_int_equal(stats.points_appended, (uint64_t)WRITERS * SERIES_EACH * POINTS);
    free(shared);
    engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_goes_on_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
