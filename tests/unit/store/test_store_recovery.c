#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/engine_model.h"

/* What happens after something went wrong: names that could not be logged, names that are lost,
   manifests that are lost, a log that is gone. */

/* Plays the power loss. */
static void crash(struct engine *engine) {
    memory_medium_set_faults(engine->medium,
                             &(struct memory_medium_faults){.crash_at_operation = 1});
    (void)!engine_close(engine);
    memory_medium_power_cycle(engine->medium, 7);
}

static struct series *make_series(struct engine *engine, const char *metric, uint32_t number) {
    char host[32];
    snprintf(host, sizeof(host), "host-%08u", number);
    struct series_key key = {.metric = str_of(metric), .tag_count = 1};
    key.tags[0] = (struct tag){STR("host"), str_of(host)};
    struct series *series = NULL;
    assert_int_equal(index_series(store_index(engine->store), &key, &series, NULL), RC_OK);
    return series;
}

static enum rc put_one(struct engine *engine, const char *metric, uint32_t number, int64_t time_ms,
                       uint64_t value, struct err *err) {
    uint8_t is_float = 0;
    uint64_t commit = 0;
    store_writers_enter(engine->store);
    struct series *series = make_series(engine, metric, number);
    struct store_batch batch = {1, &series, &time_ms, &value, &is_float};
    enum rc rc = store_append(engine->store, &batch, &commit, err);
    store_writers_leave(engine->store);
    return rc == RC_OK ? store_commit_wait(engine->store, commit, 0, err) : rc;
}

static uint64_t points_of(struct engine *engine, const char *metric, uint32_t number) {
    struct scan scan;
    uint64_t count = 0;
    int outcome;
    struct series *series = make_series(engine, metric, number);
    assert_int_equal(scan_init(&scan, engine->store, &engine->budget), RC_OK);
    assert_int_equal(scan_open(&scan, series, INT64_MIN, INT64_MAX), RC_OK);
    while ((outcome = scan_next(&scan)) > 0)
        count += outcome == SCAN_VECTOR ? scan.summary->count : scan.points.count;
    assert_int_equal(outcome, 0);
    scan_close(&scan);
    scan_fini(&scan);
    return count;
}

static void more_new_names_than_the_log_can_buffer_are_logged_in_pieces(void **state) {
    enum { MANY = 20000 };
    struct engine *engine = engine_new();
    engine->options.log.buffer_bytes_max = 128 << 10;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < MANY; i++)
        make_series(engine, "storm", i);
    struct err err = {0};
    if (put_one(engine, "storm", 77, ENGINE_BASE_MS, 5, &err) != RC_OK)
        fail_msg("%s", err.message);
    crash(engine);
    assert_int_equal(engine_open(engine), RC_OK);
    assert_int_equal(index_series_count(store_index(engine->store)), MANY);
    assert_int_equal(points_of(engine, "storm", 77), 1);
    engine_free(engine);
}

static enum rc flip_names(void *context, const char *name, uint64_t size) {
    struct engine *engine = context;
    if (strncmp(name, "names-", 6) == 0)
        assert_int_equal(memory_medium_flip_bit(engine->medium, MEDIUM_OBJECTS, name, size * 4),
                         RC_OK);
    return RC_OK;
}

static enum rc flip_first_names(void *context, const char *name, uint64_t size) {
    return strstr(name, ".copy") == NULL ? flip_names(context, name, size) : RC_OK;
}

static void the_copy_of_damaged_names_is_as_good(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    assert_int_equal(engine_append(engine, 1, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(medium_list(engine->medium, MEDIUM_OBJECTS, flip_first_names, engine, NULL),
                     RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    assert_true(engine->reports > 0);
    engine_compare(engine, "from the copy");
    engine_free(engine);
}

static void points_of_lost_names_are_never_served_under_new_ones(void **state) {
    enum { MANY = 50 };
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(put_one(engine, "old", i, ENGINE_BASE_MS, i, NULL), RC_OK);
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(medium_list(engine->medium, MEDIUM_OBJECTS, flip_names, engine, NULL), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(points_of(engine, "new", i), 0);
    engine_free(engine);
}

struct found_log {
    char name[128];
    uint64_t size;
};

static enum rc last_log(void *context, const char *name, uint64_t size) {
    struct found_log *found = context;
    snprintf(found->name, sizeof(found->name), "%s", name);
    found->size = size;
    return RC_OK;
}

/* The record with the definitions is damaged, those with the points are not. */
static void points_whose_definition_in_the_log_is_lost_stay_nobodys(void **state) {
    enum { MANY = 50 };
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < MANY; i++)
        make_series(engine, "old", i);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(put_one(engine, "old", i, ENGINE_BASE_MS, i, NULL), RC_OK);
    crash(engine);
    struct found_log log = {0};
    assert_int_equal(medium_list(engine->medium, MEDIUM_LOGS, last_log, &log, NULL), RC_OK);
    assert_int_equal(
        memory_medium_flip_bit(engine->medium, MEDIUM_LOGS, log.name, (32 + 24 + 100) * 8), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(put_one(engine, "new", i, ENGINE_BASE_MS + 1, i, NULL), RC_OK);
    for (int restart = 0; restart < 3; restart++) {
        for (uint32_t i = 0; i < MANY; i++) {
            assert_int_equal(points_of(engine, "new", i), 1);
            assert_int_equal(points_of(engine, "old", i), 0);
        }
        if (restart == 1)
            assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        crash(engine);
        assert_int_equal(engine_open(engine), RC_OK);
    }
    engine_free(engine);
}

static void a_store_put_together_without_a_manifest_goes_on(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
        assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
    }
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(medium_remove(engine->medium, MEDIUM_CATALOG, "manifest", NULL), RC_OK);
    assert_int_equal(medium_remove(engine->medium, MEDIUM_CATALOG, "manifest.previous", NULL),
                     RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "from the objects");
    struct err err = {0};
    for (uint64_t i = 10; i < 20; i++) {
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
        if (store_checkpoint(engine->store, &err) != RC_OK)
            fail_msg("%s", err.message);
    }
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after going on");
    engine_free(engine);
}

static void
a_manifest_that_is_damaged_while_the_store_runs_does_not_stop_checkpoints(void **state) {
    static const char *const keys[] = {"manifest", "manifest.previous"};
    for (size_t i = 0; i < 2; i++) {
        struct engine *engine = engine_new();
        assert_int_equal(engine_open(engine), RC_OK);
        for (uint64_t k = 0; k < 3; k++) {
            assert_int_equal(engine_append(engine, k, ENGINE_BATCH, true), RC_OK);
            assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        }
        assert_int_equal(memory_medium_flip_bit(engine->medium, MEDIUM_CATALOG, keys[i], 300),
                         RC_OK);
        assert_int_equal(engine_append(engine, 9, ENGINE_BATCH, true), RC_OK);
        assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        assert_true(engine->reports > 0);
        crash(engine);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after the damage and a crash");
        engine_free(engine);
    }
}

static void a_manifest_that_cannot_be_read_is_as_good_as_lost(void **state) {
    static const char *const keys[] = {"manifest", "manifest.previous"};
    for (size_t i = 0; i < 2; i++) {
        struct engine *engine = engine_new();
        assert_int_equal(engine_open(engine), RC_OK);
        for (uint64_t k = 0; k < 3; k++) {
            assert_int_equal(engine_append(engine, k, ENGINE_BATCH, true), RC_OK);
            assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        }
        assert_int_equal(engine_append(engine, 9, ENGINE_BATCH, true), RC_OK);
        crash(engine);
        memory_medium_set_faults(engine->medium,
                                 &(struct memory_medium_faults){.unreadable = keys[i]});
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "without one of the manifests");
        memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){0});
        assert_int_equal(engine_append(engine, 10, ENGINE_BATCH, true), RC_OK);
        assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        crash(engine);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "when the disk can read again");
        engine_free(engine);
    }
}

static enum rc remove_log(void *context, const char *name, uint64_t size) {
    struct engine *engine = context;
    return medium_remove(engine->medium, MEDIUM_LOGS, name, NULL);
}

static void a_log_that_is_gone_is_reported_and_the_rest_is_served(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    assert_int_equal(engine_append(engine, 1, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    engine_compare(engine, "before");
    assert_int_equal(engine_append(engine, 2, 1, true), RC_OK);
    crash(engine);
    assert_int_equal(medium_list(engine->medium, MEDIUM_LOGS, remove_log, engine, NULL), RC_OK);
    engine->reports = 0;
    assert_int_equal(engine_open(engine), RC_OK);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_true(stats.damaged_blocks + stats.replay.damaged_records > 0);
    assert_true(engine->reports > 0);
    engine_compare_all(engine, true, "without the log");
    engine_free(engine);
}

/* A log of writes, deletes and writes again, never checkpointed; then the memory is little. */
static struct engine *engine_with_a_long_log(void) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(engine_append(engine, i / 2, ENGINE_BATCH, true), RC_OK);
        if (i % 3 == 2)
            assert_int_equal(engine_delete(engine, i % ENGINE_SERIES, 200 + i * 10, 2600), RC_OK);
    }
    crash(engine);
    engine->options.head_bytes_max = 16 << 10;
    return engine;
}

static void a_log_that_needs_more_memory_than_there_is_goes_into_segments_on_the_way(void **state) {
    struct engine *engine = engine_with_a_long_log();
    assert_int_equal(engine_open(engine), RC_OK);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    assert_true(stats.segments > 8);
    assert_true(stats.head_bytes < 32 << 10);
    engine_compare(engine, "after the replay");
    crash(engine);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after a second one");
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    assert_int_equal(store_compact(engine->store, NULL), RC_OK);
    engine_compare(engine, "compacted");
    engine_free(engine);
}

static void a_crash_at_any_operation_of_such_a_replay_loses_nothing(void **state) {
    bool crashed = true;
    for (uint64_t at = 1; crashed; at += 1 + at / 16) {
        struct engine *engine = engine_with_a_long_log();
        struct memory_medium_faults faults = {.seed = at, .crash_at_operation = at};
        uint64_t before = memory_medium_operations(engine->medium);
        memory_medium_set_faults(engine->medium, &faults);
        enum rc rc = engine_open(engine);
        crashed = memory_medium_operations(engine->medium) - before >= at;
        if (rc == RC_OK)
            (void)!engine_close(engine);
        memory_medium_power_cycle(engine->medium, at);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after the crash");
        engine_free(engine);
    }
}

static void a_full_disk_does_not_stop_such_a_replay(void **state) {
    struct engine *engine = engine_with_a_long_log();
    memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){.space_bytes = 1});
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "while the disk is full");
    memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){0});
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    engine_compare(engine, "with room again");
    engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_new_names_than_the_log_can_buffer_are_logged_in_pieces),
        cmocka_unit_test(the_copy_of_damaged_names_is_as_good),
        cmocka_unit_test(points_of_lost_names_are_never_served_under_new_ones),
        cmocka_unit_test(points_whose_definition_in_the_log_is_lost_stay_nobodys),
        cmocka_unit_test(a_store_put_together_without_a_manifest_goes_on),
        cmocka_unit_test(a_manifest_that_is_damaged_while_the_store_runs_does_not_stop_checkpoints),
        cmocka_unit_test(a_manifest_that_cannot_be_read_is_as_good_as_lost),
        cmocka_unit_test(a_log_that_is_gone_is_reported_and_the_rest_is_served),
        cmocka_unit_test(a_log_that_needs_more_memory_than_there_is_goes_into_segments_on_the_way),
        cmocka_unit_test(a_crash_at_any_operation_of_such_a_replay_loses_nothing),
        cmocka_unit_test(a_full_disk_does_not_stop_such_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
