#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/engine_model.h"

static void points_are_there_at_once_and_after_a_restart(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    assert_int_equal(engine_append(engine, 7, 150, true), RC_OK);
    engine_compare(engine, "at once");
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after a restart");
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_true(stats.segments > 0);
    assert_int_equal(stats.replay.records, 0);
    engine_free(engine);
}

/* More of them than are worked off at once. */
static void a_batch_may_be_an_array_of_structures(void **state) {
    enum { POINTS = 5000 };
    struct row {
        uint64_t bits;
        uint32_t is_float;
        int64_t time_ms;
    } *rows = calloc(POINTS, sizeof(*rows));
    struct series **series = calloc(POINTS, sizeof(*series));
    assert_true(rows != NULL && series != NULL);
    for (int checked = 0; checked < 2; checked++) {
        struct engine *engine = engine_new();
        assert_int_equal(engine_open(engine), RC_OK);
        struct store_batch batch = {.count = POINTS,
                                    .series = series,
                                    .time_ms = &rows->time_ms,
                                    .bits = &rows->bits,
                                    .is_float = (const void *)&rows->is_float,
                                    .stride = sizeof(*rows),
                                    .checked = checked == 1};
        store_writers_enter(engine->store);
        for (uint32_t i = 0; i < POINTS; i++) {
            uint32_t number = i % ENGINE_SERIES, slot = i / ENGINE_SERIES;
            uint64_t r = hash_u64(i + 1);
            enum rc rc;
            series[i] = engine_series(engine, number, true, &rc);
            assert_int_equal(rc, RC_OK);
            rows[i].is_float = r & 1;
            rows[i].time_ms = engine_time(slot);
            rows[i].bits = r & 1 ? points_bits_of((double)i / 8) : r;
            cell_is(&engine->cells[number][slot], (struct cell_state){true, r & 1, rows[i].bits});
        }
        assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_OK);
        rows[POINTS - 1].time_ms = 0;
        if (checked == 0)
            assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_INVALID);
        store_writers_leave(engine->store);
        engine_compare(engine, "at once");
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after a restart");
        engine_free(engine);
    }
    free(series);
    free(rows);
}

static void step(struct engine *engine, uint64_t r) {
    switch (r % 24) {
    case 0:
        assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        break;
    case 1:
        assert_int_equal(store_maintain(engine->store, NULL), RC_OK);
        break;
    case 2:
        if (r >> 8 & 1)
            assert_int_equal(store_compact(engine->store, NULL), RC_OK);
        break;
    case 3:
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after a restart");
        break;
    case 4:
    case 5: {
        uint32_t from = (uint32_t)((r >> 8) % ENGINE_SLOTS);
        uint32_t to = from + (uint32_t)((r >> 32) % 300);
        assert_int_equal(engine_delete(engine, (uint32_t)((r >> 20) % ENGINE_SERIES), from,
                                       to < ENGINE_SLOTS ? to : ENGINE_SLOTS - 1),
                         RC_OK);
        break;
    }
    case 6:
        engine_compare(engine, "in between");
        break;
    default:
        assert_int_equal(engine_append(engine, r, 1 + (uint32_t)(r >> 16) % ENGINE_BATCH, true),
                         RC_OK);
    }
}

static void the_engine_is_a_map_from_series_and_time_to_the_last_write(void **state) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct engine *engine = engine_new();
        engine->options.shards = seed % 2 == 0 ? 1 : 3;
        assert_int_equal(engine_open(engine), RC_OK);
        for (uint64_t i = 0; i < 250; i++)
            step(engine, hash_u64(seed * 7919 + i));
        engine_compare(engine, "at the end");
        assert_int_equal(store_compact(engine->store, NULL), RC_OK);
        engine_compare(engine, "after compacting everything");
        uint64_t damaged;
        assert_int_equal(store_scrub(engine->store, &damaged, NULL), RC_OK);
        assert_int_equal(damaged, 0);
        engine_free(engine);
    }
}

static void a_volatile_store_works_the_same_without_a_log(void **state) {
    struct engine *engine = engine_new();
    medium_close(engine->medium);
    assert_int_equal(memory_medium_open(NULL, &engine->medium, NULL), RC_OK);
    engine->options.medium = engine->medium;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 150; i++) {
        uint64_t r = hash_u64(77 + i);
        step(engine, r % 24 == 3 ? 6 : r);
    }
    engine_compare(engine, "at the end");
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_int_equal(stats.log.end, 0);
    engine_free(engine);
}

static void a_deleted_range_survives_a_crash_and_can_be_written_again(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    for (uint32_t number = 0; number < ENGINE_SERIES; number++)
        assert_int_equal(engine_delete(engine, number, 100, 2500), RC_OK);
    engine_compare(engine, "after the delete");
    assert_int_equal(engine_append(engine, 1000, ENGINE_BATCH, true), RC_OK);
    /* The machine stops: nothing is closed properly. */
    struct memory_medium_faults dead = {.crash_at_operation = 1};
    memory_medium_set_faults(engine->medium, &dead);
    (void)!engine_close(engine);
    memory_medium_power_cycle(engine->medium, 3);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after the crash");
    assert_int_equal(store_compact(engine->store, NULL), RC_OK);
    engine_compare(engine, "after compacting");
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after a restart");
    engine_free(engine);
}

static void retention_hides_old_points_and_then_removes_them_and_their_series(void **state) {
    struct engine *engine = engine_new();
    struct store_retention retention[] = {{STR("cpu.*"), INT64_C(86400000)}, {STR("*"), 0}};
    engine->options.retention = retention;
    engine->options.retention_count = 2;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    int64_t cutoff_ms = engine->now_ms - 86400000;
    for (uint32_t number = 0; number < ENGINE_SERIES; number += 3)
        for (uint32_t slot = 0; slot < ENGINE_SLOTS; slot++)
            if (engine_time(slot) < cutoff_ms)
                cell_is(&engine->cells[number][slot], (struct cell_state){0});
    engine_compare(engine, "old points in heads");
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    engine_compare(engine, "old points in segments");

    engine->now_ms += INT64_C(30) * 86400000;
    memset(engine->cells[0], 0, sizeof(engine->cells[0]));
    memset(engine->cells[3], 0, sizeof(engine->cells[3]));
    memset(engine->cells[6], 0, sizeof(engine->cells[6]));
    memset(engine->cells[9], 0, sizeof(engine->cells[9]));
    assert_int_equal(store_compact(engine->store, NULL), RC_OK);
    uint64_t generation = store_writers_enter(engine->store);
    store_writers_leave(engine->store);
    assert_int_equal(store_maintain(engine->store, NULL), RC_OK);
    engine_compare(engine, "after everything of one metric is past");
    enum rc rc;
    assert_null(engine_series(engine, 0, false, &rc));
    assert_non_null(engine_series(engine, 1, false, &rc));
    assert_int_equal(index_uid(store_index(engine->store), INDEX_METRIC, STR("cpu.user")), 0);
    assert_true(store_writers_enter(engine->store) > generation);
    store_writers_leave(engine->store);
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after a restart");
    assert_null(engine_series(engine, 0, false, &rc));
    engine_free(engine);
}

/* The clock goes a year ahead, everything has its chance to remove points, and the clock comes
   back. */
static void a_clock_that_jumps_ahead_removes_nothing(void **state) {
    struct engine *engine = engine_new();
    struct store_retention retention[] = {{STR("*"), INT64_C(30) * 86400000}};
    engine->options.retention = retention;
    engine->options.retention_count = 1;
    engine->options.clock_patience_s = 3600;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    for (uint64_t i = 20; i < 40; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(store_maintain(engine->store, NULL), RC_OK);
    uint32_t reports = engine->reports;

    engine->now_ms += INT64_C(365) * 86400000;
    struct scan scan;
    enum rc rc;
    assert_int_equal(scan_init(&scan, engine->store, &engine->budget), RC_OK);
    engine_read(engine, &scan, engine_series(engine, 0, false, &rc));
    scan_fini(&scan);
    for (uint32_t slot = 0; slot < ENGINE_SLOTS; slot++)
        assert_false(engine->seen[slot].present);
    assert_int_equal(store_maintain(engine->store, NULL), RC_OK);
    assert_int_equal(engine->reports, reports + 1);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    assert_int_equal(store_compact(engine->store, NULL), RC_OK);
    assert_int_equal(store_maintain(engine->store, NULL), RC_OK);
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    assert_int_equal(store_maintain(engine->store, NULL), RC_OK);

    engine->now_ms -= INT64_C(365) * 86400000;
    engine_compare(engine, "after the clock came back");
    engine_free(engine);
}

static void points_over_many_years_go_into_few_segments(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    enum { YEARS = 40, DAYS = 365 };
    enum rc rc;
    struct series *series = engine_series(engine, 0, true, &rc);
    store_writers_enter(engine->store);
    for (int64_t day = 0; day < YEARS * DAYS; day++) {
        int64_t time_ms = 1 + day * INT64_C(86400000);
        uint64_t bits = (uint64_t)day;
        uint8_t is_float = 0;
        struct store_batch batch = {1, &series, &time_ms, &bits, &is_float};
        assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_OK);
    }
    store_writers_leave(engine->store);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_in_range(stats.segments, 9, 24);
    assert_int_equal(stats.head_bytes, 0);
    struct scan scan;
    assert_int_equal(scan_init(&scan, engine->store, &engine->budget), RC_OK);
    assert_int_equal(scan_open(&scan, series, INT64_MIN, INT64_MAX), RC_OK);
    uint64_t next = 0;
    int outcome;
    while ((outcome = scan_next(&scan)) > 0) {
        if (outcome == SCAN_VECTOR)
            assert_int_equal(scan_decode(&scan), RC_OK);
        for (uint32_t i = 0; i < scan.points.count; i++)
            assert_int_equal(scan.points.bits[i], next++);
    }
    assert_int_equal(outcome, 0);
    assert_int_equal(next, YEARS * DAYS);
    scan_close(&scan);
    scan_fini(&scan);
    engine_free(engine);
}

static void a_time_or_a_kind_out_of_range_is_refused(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    enum rc rc;
    struct series *series = engine_series(engine, 0, true, &rc);
    uint64_t bits = 1;
    uint8_t is_float = 0;
    const int64_t bad[] = {0, -1, LIMIT_TIME_MS_MAX + 1, INT64_MIN};
    for (size_t i = 0; i < 4; i++) {
        int64_t time_ms = bad[i];
        struct store_batch batch = {1, &series, &time_ms, &bits, &is_float};
        assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_INVALID);
    }
    struct row {
        uint8_t is_float;
        int64_t time_ms;
        uint64_t bits;
    } rows[3] = {{0, 1000, 1}, {1, 0, 2}, {0, 3000, 3}};
    struct series *all[3] = {series, series, series};
    struct store_batch batch = {.count = 3,
                                .series = all,
                                .time_ms = &rows[0].time_ms,
                                .bits = &rows[0].bits,
                                .is_float = &rows[0].is_float,
                                .stride = sizeof(rows[0])};
    assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_INVALID);
    rows[1].time_ms = 2000;
    rows[2].is_float = 2;
    assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_INVALID);
    rows[2].is_float = 0;
    assert_int_equal(store_append(engine->store, &batch, NULL, NULL), RC_OK);
    struct head_view view;
    head_view(&series->head, &view);
    assert_int_equal(view.tail_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(view.tail_time_ms[i], rows[i].time_ms);
        assert_int_equal(view.tail_bits[i], rows[i].bits);
        assert_int_equal(view.tail_float_mask >> i & 1, rows[i].is_float);
    }
    engine_free(engine);
}

static void appends_over_the_head_budget_are_written_out_or_refused(void **state) {
    struct engine *engine = engine_new();
    engine->options.head_bytes_max = 20000;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 60; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_true(stats.checkpoints > 0);
    assert_true(stats.head_bytes < 100000);
    engine_compare(engine, "after checkpoints under way");

    /* Now nothing can be written out. */
    struct memory_medium_faults full = {.space_bytes = 1};
    memory_medium_set_faults(engine->medium, &full);
    struct err err = {0};
    enum rc rc;
    struct series *series = engine_series(engine, 0, true, &rc);
    int64_t time_ms = engine_time(0);
    uint64_t bits = 0;
    uint8_t is_float = 0;
    struct store_batch batch = {1, &series, &time_ms, &bits, &is_float};
    for (uint32_t i = 0; i < 100000 && rc == RC_OK; i++)
        rc = store_append(engine->store, &batch, NULL, &err);
    assert_true(rc == RC_THROTTLE || rc == RC_NO_SPACE);
    assert_true(strlen(err.message) > 20);
    engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_there_at_once_and_after_a_restart),
        cmocka_unit_test(a_batch_may_be_an_array_of_structures),
        cmocka_unit_test(the_engine_is_a_map_from_series_and_time_to_the_last_write),
        cmocka_unit_test(a_volatile_store_works_the_same_without_a_log),
        cmocka_unit_test(a_deleted_range_survives_a_crash_and_can_be_written_again),
        cmocka_unit_test(retention_hides_old_points_and_then_removes_them_and_their_series),
        cmocka_unit_test(a_clock_that_jumps_ahead_removes_nothing),
        cmocka_unit_test(points_over_many_years_go_into_few_segments),
        cmocka_unit_test(a_time_or_a_kind_out_of_range_is_refused),
        cmocka_unit_test(appends_over_the_head_budget_are_written_out_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
