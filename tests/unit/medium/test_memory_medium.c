/*
 * The faults of the memory medium: that they strike when told and leave what they may leave.
 */
#include "medium/memory_medium.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct medium *memory(struct budget *budget) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(budget, &medium, NULL), RC_OK);
    return medium;
}

static struct medium_log *create(struct medium *medium, const char *name) {
    struct medium_log *log;
    assert_int_equal(medium_log_create(medium, name, 1, &log, NULL), RC_OK);
    return log;
}

static size_t read_log(struct medium *medium, const char *name, char *bytes, size_t n) {
    size_t got;
    assert_int_equal(medium_log_read(medium, name, 0, bytes, n, &got, NULL), RC_OK);
    return got;
}

static void the_power_cycle_keeps_what_is_synced_and_a_prefix_of_the_rest(void **state) {
    enum { SYNCED = 700, REST = 3000 };
    char written[SYNCED + REST], read[SYNCED + REST];
    memset(written, 'x', sizeof(written));
    bool shorter = false, whole = false, torn = false, torn_inside_a_sector = false;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct medium *medium = memory(NULL);
        struct medium_log *log = create(medium, "a");
        assert_int_equal(medium_log_append(log, written, SYNCED, NULL), RC_OK);
        assert_int_equal(medium_log_sync(log, NULL), RC_OK);
        assert_int_equal(medium_log_append(log, written, REST, NULL), RC_OK);
        medium_log_close(log);
        memory_medium_power_cycle(medium, seed);
        size_t n = read_log(medium, "a", read, sizeof(read));
        assert_in_range(n, SYNCED, SYNCED + REST);
        assert_memory_equal(read, written, SYNCED);
        shorter |= n < SYNCED + REST;
        whole |= n == SYNCED + REST || memchr(read, 0, n) == NULL;
        for (size_t i = SYNCED; i + 1 < n; i++) {
            bool tears = read[i] == 'x' && read[i + 1] == 0;
            torn |= tears;
            torn_inside_a_sector |= tears && (i + 1) % 512 != 0;
        }
        medium_close(medium);
    }
    assert_true(shorter && whole && torn && torn_inside_a_sector);
}

static void a_failed_sync_may_lose_bytes_that_a_later_one_seems_to_cover(void **state) {
    char bytes[2048], read[2048];
    memset(bytes, 'x', sizeof(bytes));
    bool lost = false, kept = false;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct medium *medium = memory(NULL);
        struct medium_log *log = create(medium, "a");
        struct memory_medium_faults failing = {.seed = seed, .sync_fails_percent = 100}, none = {0};
        assert_int_equal(medium_log_append(log, bytes, sizeof(bytes), NULL), RC_OK);
        memory_medium_set_faults(medium, &failing);
        assert_int_equal(medium_log_sync(log, NULL), RC_IO);
        memory_medium_set_faults(medium, &none);
        assert_int_equal(medium_log_sync(log, NULL), RC_OK);
        medium_log_close(log);
        memory_medium_power_cycle(medium, seed);
        assert_int_equal(read_log(medium, "a", read, sizeof(read)), sizeof(read));
        if (memcmp(read, bytes, sizeof(read)) == 0)
            kept = true;
        else
            lost = true;
        medium_close(medium);
    }
    assert_true(lost && kept);
}

static void after_the_crash_every_operation_fails(void **state) {
    struct medium *medium = memory(NULL);
    struct memory_medium_faults faults = {.seed = 1, .crash_at_operation = 3};
    struct medium_log *log = create(medium, "a"), *other;
    struct medium_object_writer *writer;
    char bytes[8];
    assert_int_equal(memory_medium_operations(medium), 1);
    memory_medium_set_faults(medium, &faults);
    assert_int_equal(medium_log_append(log, "1", 1, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, "2", 1, NULL), RC_OK);
    assert_int_equal(medium_log_sync(log, NULL), RC_IO);
    assert_int_equal(medium_log_append(log, "3", 1, NULL), RC_IO);
    assert_int_equal(medium_log_truncate(log, 0, NULL), RC_IO);
    assert_int_equal(medium_log_create(medium, "b", 1, &other, NULL), RC_IO);
    assert_int_equal(medium_catalog_put(medium, "k", "v", 1, 0, NULL), RC_IO);
    assert_int_equal(medium_remove(medium, MEDIUM_LOGS, "a", NULL), RC_IO);
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, "x", 1, NULL), RC_IO);
    assert_int_equal(medium_object_commit(writer, NULL), RC_IO);
    assert_int_equal(memory_medium_operations(medium), 11);
    assert_int_equal(read_log(medium, "a", bytes, 8), 2);
    medium_log_close(log);
    memory_medium_power_cycle(medium, 1);
    log = create(medium, "b");
    medium_log_close(log);
    medium_close(medium);
}

static void short_writes_leave_a_prefix(void **state) {
    struct medium *medium = memory(NULL);
    struct memory_medium_faults faults = {.seed = 3, .write_short_percent = 50};
    struct medium_log *log = create(medium, "a");
    memory_medium_set_faults(medium, &faults);
    size_t size = 0;
    int failures = 0;
    char bytes[4096];
    for (int i = 0; i < 100; i++) {
        if (medium_log_append(log, "0123456789", 10, NULL) == RC_OK) {
            size += 10;
            continue;
        }
        failures++;
        assert_in_range(read_log(medium, "a", bytes, sizeof(bytes)), size, size + 9);
        assert_int_equal(medium_log_truncate(log, size, NULL), RC_OK);
    }
    assert_in_range(failures, 20, 80);
    assert_int_equal(read_log(medium, "a", bytes, sizeof(bytes)), size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], '0' + i % 10);
    medium_log_close(log);
    medium_close(medium);
}

static void a_full_medium_takes_what_fits_and_has_room_after_removal(void **state) {
    struct medium *medium = memory(NULL);
    struct memory_medium_faults faults = {.space_bytes = 10};
    memory_medium_set_faults(medium, &faults);
    struct medium_log *log = create(medium, "a");
    struct medium_object_writer *writer;
    char bytes[16];
    uint64_t left, used;
    assert_int_equal(medium_log_append(log, "012345", 6, NULL), RC_OK);
    assert_int_equal(medium_space(medium, &left, &used, NULL), RC_OK);
    assert_int_equal(left, 4);
    assert_int_equal(used, 6);
    assert_int_equal(medium_log_append(log, "012345", 6, NULL), RC_NO_SPACE);
    assert_int_equal(read_log(medium, "a", bytes, sizeof(bytes)), 10);
    medium_log_close(log);
    assert_int_equal(medium_catalog_put(medium, "k", "v", 1, 0, NULL), RC_NO_SPACE);
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, "x", 1, NULL), RC_NO_SPACE);
    assert_int_equal(medium_remove(medium, MEDIUM_LOGS, "a", NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, "x", 1, NULL), RC_OK);
    assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
    medium_close(medium);
}

static void bytes_are_charged_and_given_back(void **state) {
    struct budget budget;
    budget_init(&budget, 10000, NULL);
    struct medium *medium = memory(&budget);
    struct medium_object_writer *writer;
    char bytes[9000] = {0};
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, bytes, 5000, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, bytes, 9000, NULL), RC_NO_SPACE);
    assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
    assert_int_equal(budget_used(&budget), 5000);
    assert_int_equal(medium_catalog_put(medium, "k", bytes, 9000, 0, NULL), RC_NO_SPACE);
    assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "o", NULL), RC_OK);
    assert_int_equal(budget_used(&budget), 0);
    medium_close(medium);
}

/* Old or new, never another; and the same put may be tried again. */
static void a_failed_put_is_old_or_new_and_can_be_repeated(void **state) {
    bool saw_old = false, saw_new = false;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct medium *medium = memory(NULL);
        struct memory_medium_faults faults = {.seed = seed, .sync_fails_percent = 100}, none = {0};
        struct buf value = {0};
        uint64_t version;
        assert_int_equal(medium_catalog_put(medium, "k", "old", 3, 0, NULL), RC_OK);
        memory_medium_set_faults(medium, &faults);
        assert_int_equal(medium_catalog_put(medium, "k", "new", 3, 1, NULL), RC_IO);
        assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_OK);
        bool is_new = version == 2;
        assert_memory_equal(value.p, is_new ? "new" : "old", 3);
        saw_new |= is_new;
        saw_old |= !is_new;
        memory_medium_set_faults(medium, &none);
        assert_int_equal(medium_catalog_put(medium, "k", "newer", 5, 1, NULL), RC_OK);
        assert_int_equal(medium_catalog_put(medium, "k", "newer", 5, 1, NULL), RC_CONFLICT);
        buf_fini(&value);
        medium_close(medium);
    }
    assert_true(saw_old && saw_new);
}

static void a_flipped_bit_is_read_back_flipped(void **state) {
    struct medium *medium = memory(NULL);
    struct medium_log *log = create(medium, "a");
    struct buf value = {0};
    uint64_t version;
    char bytes[8];
    assert_int_equal(medium_log_append(log, "abc", 3, NULL), RC_OK);
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_LOGS, "a", 9), RC_OK);
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_LOGS, "a", 24), RC_NOT_FOUND);
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_LOGS, "b", 0), RC_NOT_FOUND);
    assert_int_equal(read_log(medium, "a", bytes, sizeof(bytes)), 3);
    assert_memory_equal(bytes, "a`c", 3);
    assert_int_equal(medium_catalog_put(medium, "k", "v", 1, 0, NULL), RC_OK);
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_CATALOG, "k", 0), RC_OK);
    assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_CORRUPT);
    medium_log_close(log);
    buf_fini(&value);
    medium_close(medium);
}

static void uncommitted_objects_vanish_and_committed_ones_stay(void **state) {
    struct medium *medium = memory(NULL);
    struct medium_object_writer *a, *b;
    struct medium_object *object;
    assert_int_equal(medium_object_create(medium, "a", &a, NULL), RC_OK);
    assert_int_equal(medium_object_create(medium, "b", &b, NULL), RC_OK);
    assert_int_equal(medium_object_commit(a, NULL), RC_OK);
    medium_object_abort(b);
    memory_medium_power_cycle(medium, 1);
    assert_int_equal(medium_object_open(medium, "a", &object, NULL), RC_OK);
    medium_object_close(object);
    assert_int_equal(medium_object_open(medium, "b", &object, NULL), RC_NOT_FOUND);
    medium_close(medium);
}

static void durability_is_claimed_only_when_told(void **state) {
    struct medium *medium = memory(NULL);
    assert_false(medium_is_durable(medium));
    memory_medium_claim_durable(medium);
    assert_true(medium_is_durable(medium));
    medium_close(medium);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_power_cycle_keeps_what_is_synced_and_a_prefix_of_the_rest),
        cmocka_unit_test(a_failed_sync_may_lose_bytes_that_a_later_one_seems_to_cover),
        cmocka_unit_test(after_the_crash_every_operation_fails),
        cmocka_unit_test(short_writes_leave_a_prefix),
        cmocka_unit_test(a_full_medium_takes_what_fits_and_has_room_after_removal),
        cmocka_unit_test(bytes_are_charged_and_given_back),
        cmocka_unit_test(a_failed_put_is_old_or_new_and_can_be_repeated),
        cmocka_unit_test(a_flipped_bit_is_read_back_flipped),
        cmocka_unit_test(uncommitted_objects_vanish_and_committed_ones_stay),
        cmocka_unit_test(durability_is_claimed_only_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
