#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/clock.h"
#include "store/engine_model.h"

/* ---- crashes ---- */

/* Points grow old while the store lives: what a maintenance finds past its time it removes. And log
   files are short, so that they are begun and removed all the time. */
static struct engine *aging_engine_new(void) {
    static const struct store_retention keep = {{"*", 1}, INT64_C(2) * 86400000 + 43200000};
    struct engine *engine = engine_new();
    engine->options.retention = &keep;
    engine->options.retention_count = 1;
    engine->keep_ms = keep.duration_ms;
    engine->options.log.file_bytes_max = 3000;
    return engine;
}

/* One operation of a workload: the same for the same seed and number. */
static enum rc operate(struct engine *engine, uint64_t seed, uint32_t number) {
    uint64_t r = hash_u64(seed * 104729 + number);
    switch (number % 12) {
    case 3:
        return store_checkpoint(engine->store, NULL);
    case 5:
        return engine_delete(engine, (uint32_t)r % ENGINE_SERIES, (uint32_t)(r >> 8) % 1000,
                             1000 + (uint32_t)(r >> 20) % 1500);
    case 7:
        engine->now_ms += INT64_C(4) * 3600000;
        return store_maintain(engine->store, NULL);
    case 8:
        return store_checkpoint(engine->store, NULL);
    case 10:
        return store_compact(engine->store, NULL);
    default:
        return engine_append(engine, r, 20 + (uint32_t)(r % 100), true);
    }
}

/* Opens, works until something fails, and closes; the machine may have stopped at any time. */
static void live(struct engine *engine, uint64_t seed, uint32_t operations) {
    if (engine_open(engine) != RC_OK)
        return;
    enum rc rc = RC_OK;
    for (uint32_t i = 0; i < operations && rc == RC_OK; i++)
        rc = operate(engine, seed, i);
    (void)!engine_close(engine);
}

static uint64_t operations_of(uint64_t seed, uint32_t operations) {
    struct engine *engine = aging_engine_new();
    live(engine, seed, operations);
    uint64_t count = memory_medium_operations(engine->medium);
    engine_free(engine);
    return count;
}

static void crash_and_compare(uint64_t seed, uint32_t operations, uint64_t at) {
    struct engine *engine = aging_engine_new();
    struct memory_medium_faults faults = {.seed = seed + at, .crash_at_operation = at};
    memory_medium_set_faults(engine->medium, &faults);
    live(engine, seed, operations);
    memory_medium_power_cycle(engine->medium, hash_u64(seed + at));
    char when[64];
    snprintf(when, sizeof(when), "seed %u, crash at operation %u", (unsigned)seed, (unsigned)at);
    if (engine_open(engine) != RC_OK)
        fail_msg("%s: the store does not open", when);
    engine_compare(engine, when);
    struct store_stats stats;
    store_stats(engine->store, &stats);
    if (stats.damaged_blocks + stats.replay.damaged_records > 0)
        fail_msg("%s: damage is reported", when);
    assert_int_equal(engine_append(engine, seed * 31 + at, 50, true), RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    engine_compare(engine, when);
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, when);
    engine_free(engine);
}

static void a_crash_at_any_operation_loses_nothing_that_was_acknowledged(void **state) {
    enum { OPERATIONS = 24 };
    uint64_t count = operations_of(1, OPERATIONS);
    assert_true(count > 60);
    for (uint64_t at = 1; at <= count + 2; at++)
        crash_and_compare(1, OPERATIONS, at);
}

static void crashes_at_random_operations_of_longer_lives_lose_nothing(void **state) {
    for (uint64_t seed = 2; seed < 22; seed++) {
        enum { OPERATIONS = 90 };
        uint64_t count = operations_of(seed, OPERATIONS);
        for (uint64_t i = 0; i < 4; i++)
            crash_and_compare(seed, OPERATIONS, 1 + hash_u64(seed * 4 + i) % count);
    }
}

/* Crash after crash in the same store, some of them while it recovers. */
static void a_store_survives_many_crashes_in_a_row(void **state) {
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct engine *engine = aging_engine_new();
        for (uint64_t round = 0; round < 25; round++) {
            uint64_t r = hash_u64(seed * 65537 + round);
            struct memory_medium_faults faults = {.seed = r, .crash_at_operation = 1 + r % 60};
            memory_medium_set_faults(engine->medium, &faults);
            live(engine, r, 60);
            memory_medium_power_cycle(engine->medium, r >> 7);
            assert_int_equal(engine_open(engine), RC_OK);
            engine_compare(engine, "after one of many crashes");
            assert_int_equal(engine_close(engine), RC_OK);
        }
        engine_free(engine);
    }
}

/* ---- syncs and writes that fail ---- */

static void failing_syncs_and_short_writes_never_lose_acknowledged_points(void **state) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct engine *engine = engine_new();
        assert_int_equal(engine_open(engine), RC_OK);
        for (uint32_t i = 0; i < 20; i++) {
            struct memory_medium_faults faults = {.seed = seed * 100 + i,
                                                  .sync_fails_percent = seed % 2 ? 30 : 0,
                                                  .write_short_percent = seed % 2 ? 0 : 30};
            memory_medium_set_faults(engine->medium, &faults);
            enum rc rc = operate(engine, seed, i);
            if (rc == RC_OK)
                continue;
            /* The fault goes; what was refused may be there or not. */
            memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){0});
            for (int tries = 0; tries < 400; tries++) {
                struct store_stats stats;
                store_stats(engine->store, &stats);
                if (!stats.log.failing && stats.log.durable == stats.log.end)
                    break;
                clock_sleep_ns(1000000);
            }
            engine_compare(engine, "after a fault");
        }
        memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){0});
        engine_compare(engine, "with all faults gone");
        memory_medium_set_faults(engine->medium,
                                 &(struct memory_medium_faults){.crash_at_operation = 1});
        (void)!engine_close(engine);
        memory_medium_power_cycle(engine->medium, seed);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after faults and a crash");
        engine_free(engine);
    }
}

/* What failed may have taken effect all the same, and then the machine stops. */
static void a_crash_after_a_failed_change_of_the_manifest_loses_nothing(void **state) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct engine *engine = engine_new();
        assert_int_equal(engine_open(engine), RC_OK);
        for (uint64_t i = 0; i < 6; i++)
            assert_int_equal(engine_append(engine, seed * 10 + i, ENGINE_BATCH, true), RC_OK);
        if (seed % 2 == 0)
            assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        memory_medium_set_faults(
            engine->medium, &(struct memory_medium_faults){.seed = seed, .sync_fails_percent = 20});
        enum rc rc = RC_OK;
        for (int i = 0; i < 40 && rc == RC_OK; i++)
            rc = i % 2 == 0 ? store_compact(engine->store, NULL)
                            : store_checkpoint(engine->store, NULL);
        memory_medium_set_faults(engine->medium,
                                 &(struct memory_medium_faults){.crash_at_operation = 1});
        (void)!engine_close(engine);
        memory_medium_power_cycle(engine->medium, seed);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "after the crash");
        struct store_stats stats;
        store_stats(engine->store, &stats);
        assert_int_equal(stats.damaged_blocks, 0);
        engine_free(engine);
    }
}

static void
a_full_disk_refuses_writers_serves_readers_and_goes_on_when_there_is_room(void **state) {
    struct engine *engine = engine_new();
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(engine_append(engine, i, ENGINE_BATCH, true), RC_OK);
    memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){.space_bytes = 1});
    assert_int_equal(engine_append(engine, 100, 50, true), RC_NO_SPACE);
    assert_int_equal(engine_append(engine, 101, 50, true), RC_NO_SPACE);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_NO_SPACE);
    engine_compare(engine, "while the disk is full");
    memory_medium_set_faults(engine->medium, &(struct memory_medium_faults){0});
    enum rc rc = RC_NO_SPACE;
    for (uint64_t i = 0; i < 1000 && rc != RC_OK; i++) {
        clock_sleep_ns(2000000);
        rc = engine_append(engine, 102, 50, true);
        if (rc != RC_OK)
            engine_compare(engine, "still full");
    }
    assert_int_equal(rc, RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    engine_compare(engine, "with room again");
    assert_int_equal(engine_close(engine), RC_OK);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "after a restart");
    engine_free(engine);
}

/* ---- damage ---- */

struct names {
    uint32_t count;
    char names[256][128];
    uint64_t sizes[256];
};

static enum rc add_name(void *context, const char *name, uint64_t size) {
    struct names *names = context;
    if (names->count < 256) {
        memcpy(names->names[names->count], name, strlen(name) + 1);
        names->sizes[names->count++] = size;
    }
    return RC_OK;
}

/* A store with segments, names, and a log that a crash left to be replayed. */
static struct engine *engine_with_everything(uint64_t seed) {
    struct engine *engine = engine_new();
    engine->options.log.file_bytes_max = 3000;
    assert_int_equal(engine_open(engine), RC_OK);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(engine_append(engine, seed + i, ENGINE_BATCH, true), RC_OK);
    assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
    for (uint64_t i = 10; i < 14; i++)
        assert_int_equal(engine_append(engine, seed + i, ENGINE_BATCH, true), RC_OK);
    memory_medium_set_faults(engine->medium,
                             &(struct memory_medium_faults){.crash_at_operation = 1});
    (void)!engine_close(engine);
    memory_medium_power_cycle(engine->medium, seed);
    return engine;
}

static void damaged_bits_cost_at_most_points_and_never_the_start(enum medium_kind kind) {
    static struct names names;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct engine *engine = engine_with_everything(seed * 1000);
        names.count = 0;
        assert_int_equal(medium_list(engine->medium, kind, add_name, &names, NULL), RC_OK);
        assert_true(names.count > 0);
        uint32_t victim = (uint32_t)(hash_u64(seed) % names.count);
        uint64_t bit = hash_u64(seed + 99) % (names.sizes[victim] * 8);
        assert_int_equal(memory_medium_flip_bit(engine->medium, kind, names.names[victim], bit),
                         RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare_all(engine, true, "after damage");
        assert_int_equal(engine_append(engine, seed, 50, true), RC_OK);
        assert_int_equal(store_checkpoint(engine->store, NULL), RC_OK);
        engine_compare_all(engine, true, "after writing on");
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare_all(engine, true, "after a restart");
        engine_free(engine);
    }
}

static void a_flipped_bit_in_the_log_is_reported_and_the_rest_is_served(void **state) {
    damaged_bits_cost_at_most_points_and_never_the_start(MEDIUM_LOGS);
}

static void a_flipped_bit_in_an_object_is_reported_and_the_rest_is_served(void **state) {
    damaged_bits_cost_at_most_points_and_never_the_start(MEDIUM_OBJECTS);
}

static void a_damaged_manifest_costs_nothing(void **state) {
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct engine *engine = engine_with_everything(seed * 1000);
        assert_int_equal(
            memory_medium_flip_bit(engine->medium, MEDIUM_CATALOG, "manifest", seed * 37), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        assert_true(engine->reports > 0);
        engine_compare(engine, "from the manifest before");
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, "from the new one");
        engine_free(engine);
    }
}

/* Whatever the newest manifest replaced: a checkpoint's, a compaction's, a removal's. */
static void the_manifest_before_serves_as_well_at_any_time(void **state) {
    for (uint64_t seed = 30; seed < 80; seed++) {
        enum { OPERATIONS = 40 };
        uint64_t at = 40 + hash_u64(seed) % 500;
        struct engine *engine = aging_engine_new();
        memory_medium_set_faults(
            engine->medium, &(struct memory_medium_faults){.seed = seed, .crash_at_operation = at});
        live(engine, seed, OPERATIONS);
        memory_medium_power_cycle(engine->medium, seed);
        char when[64];
        snprintf(when, sizeof(when), "seed %u, crash at operation %u", (unsigned)seed,
                 (unsigned)at);
        assert_int_equal(
            memory_medium_flip_bit(engine->medium, MEDIUM_CATALOG, "manifest", seed * 37), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, when);
        assert_int_equal(engine_close(engine), RC_OK);
        assert_int_equal(engine_open(engine), RC_OK);
        engine_compare(engine, when);
        engine_free(engine);
    }
}

static void without_any_manifest_the_store_is_put_together_from_its_objects(void **state) {
    struct engine *engine = engine_with_everything(5000);
    assert_int_equal(medium_remove(engine->medium, MEDIUM_CATALOG, "manifest", NULL), RC_OK);
    (void)!medium_remove(engine->medium, MEDIUM_CATALOG, "manifest.previous", NULL);
    assert_int_equal(engine_open(engine), RC_OK);
    engine_compare(engine, "from the objects");
    engine_free(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_at_any_operation_loses_nothing_that_was_acknowledged),
        cmocka_unit_test(crashes_at_random_operations_of_longer_lives_lose_nothing),
        cmocka_unit_test(a_store_survives_many_crashes_in_a_row),
        cmocka_unit_test(failing_syncs_and_short_writes_never_lose_acknowledged_points),
        cmocka_unit_test(a_crash_after_a_failed_change_of_the_manifest_loses_nothing),
        cmocka_unit_test(a_full_disk_refuses_writers_serves_readers_and_goes_on_when_there_is_room),
        cmocka_unit_test(a_flipped_bit_in_the_log_is_reported_and_the_rest_is_served),
        cmocka_unit_test(a_flipped_bit_in_an_object_is_reported_and_the_rest_is_served),
        cmocka_unit_test(a_damaged_manifest_costs_nothing),
        cmocka_unit_test(the_manifest_before_serves_as_well_at_any_time),
        cmocka_unit_test(without_any_manifest_the_store_is_put_together_from_its_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
