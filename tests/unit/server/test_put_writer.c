#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "medium/memory_medium.h"
#include "model/limits.h"
#include "os/clock.h"
#include "server/put_writer.h"

#include <stdlib.h>

enum { T = 1451606400 };

static enum rc split(void *context, struct series_key *key, struct err *err) {
    key->metric = STR("m");
    key->tag_count = 1;
    key->tags[0] = (struct tag){STR("h"), STR("a")};
    return RC_OK;
}

/* What a writer needs of a server, on a medium that is lost unless it is synced. */
static struct instance *open_instance(void) {
    struct instance *instance = calloc(1, sizeof(*instance));
    assert_non_null(instance);
    budget_init(&instance->budget, 0, NULL);
    instance->rules.tags_max = 8;
    instance->keys = key_cache_new(1 << 20, &instance->budget);
    assert_non_null(instance->keys);
    assert_int_equal(memory_medium_open(NULL, &instance->medium, NULL), RC_OK);
    memory_medium_claim_durable(instance->medium);
    struct store_options options;
    store_options_default(&options, 0);
    options.medium = instance->medium;
    options.clock = &clock_system;
    options.budget = &instance->budget;
    options.background = false;
    assert_int_equal(store_open(&options, &instance->store, NULL), RC_OK);
    instance->index = store_index(instance->store);
    return instance;
}

static void close_instance(struct instance *instance) {
    key_cache_free(instance->keys);
    assert_int_equal(store_close(instance->store, NULL), RC_OK);
    medium_close(instance->medium);
    assert_int_equal(budget_used(&instance->budget), 0);
    free(instance);
}

static void add(struct put_writer *writer, int64_t time_ms) {
    struct value value = {1, false};
    assert_int_equal(
        put_writer_add(writer, STR("m"), STR("h=a"), split, NULL, time_ms, value, NULL), RC_OK);
}

/* A batch that the store takes in two parts, and the last point of it not at all. */
static void what_was_stored_before_an_error_can_be_waited_for(void **state) {
    struct instance *instance = open_instance();
    struct put_writer *writer = put_writer_new(instance, PUT_TELNET);
    assert_non_null(writer);
    uint64_t stored, commit = 0;
    put_writer_begin(writer);
    for (int i = 0; i < LIMIT_BATCH_POINTS; i++)
        add(writer, (T + (int64_t)i) * 1000);
    add(writer, 0);
    struct err err = {0};
    assert_int_equal(put_writer_flush(writer, &stored, &commit, &err), RC_INVALID);
    assert_int_equal(stored, LIMIT_BATCH_POINTS);
    assert_true(commit > 0);
    assert_int_equal(store_commit_wait(instance->store, commit, 0, NULL), RC_OK);
    put_writer_free(writer);
    close_instance(instance);
}

static void a_batch_that_cannot_grow_says_so_and_keeps_what_it_has(void **state) {
    struct instance *instance = open_instance();
    struct put_writer *writer = put_writer_new(instance, PUT_HTTP);
    assert_non_null(writer);
    put_writer_begin(writer);
    add(writer, T * INT64_C(1000));
    struct value value = {1, false};
    instance->budget.limit_bytes = (int64_t)budget_used(&instance->budget);
    uint64_t taken = 1, stored, commit;
    struct err err = {0};
    enum rc rc;
    while ((rc = put_writer_add(writer, STR("m"), STR("h=a"), split, NULL,
                                (T + (int64_t)taken) * 1000, value, &err)) == RC_OK)
        taken++;
    assert_int_equal(rc, RC_THROTTLE);
    assert_true(put_writer_is_full(writer));
    assert_int_equal(put_writer_pending(writer), taken);
    instance->budget.limit_bytes = 0;
    assert_int_equal(put_writer_flush(writer, &stored, &commit, &err), RC_OK);
    assert_int_equal(stored, taken);
    put_writer_free(writer);
    close_instance(instance);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_that_cannot_grow_says_so_and_keeps_what_it_has),
        cmocka_unit_test(what_was_stored_before_an_error_can_be_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
