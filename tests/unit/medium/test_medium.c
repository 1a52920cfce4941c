/*
 * What every medium must do, run on each of them.
 */
#include "medium/file_medium.h"
#include "medium/memory_medium.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct medium *medium;
    char directory[64]; /* "": in memory */
};

static int setup_memory(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    *state = fixture;
    return memory_medium_open(NULL, &fixture->medium, NULL);
}

static int setup_file(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    *state = fixture;
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/barograph-medium-XXXXXX");
    if (mkdtemp(fixture->directory) == NULL)
        return -1;
    return file_medium_open(fixture->directory, &fixture->medium, NULL);
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    medium_close(fixture->medium);
    int r = 0;
    if (fixture->directory[0] != '\0') {
        char command[128];
        snprintf(command, sizeof(command), "rm -rf '%s'", fixture->directory);
        r = system(command);
    }
    free(fixture);
    return r;
}

static struct medium *medium_of(void **state) {
    return ((struct fixture *)*state)->medium;
}

/* The file medium is closed and opened again, the memory medium loses power. */
static struct medium *restart(void **state) {
    struct fixture *fixture = *state;
    if (fixture->directory[0] == '\0') {
        memory_medium_power_cycle(fixture->medium, 1);
        return fixture->medium;
    }
    medium_close(fixture->medium);
    fixture->medium = NULL;
    assert_int_equal(file_medium_open(fixture->directory, &fixture->medium, NULL), RC_OK);
    return fixture->medium;
}

static enum rc add_line(void *context, const char *name, uint64_t size) {
    buf_printf(context, "%s=%llu ", name, (unsigned long long)size);
    return RC_OK;
}

static void assert_listed(struct medium *medium, enum medium_kind kind, const char *expected) {
    struct buf text = {0};
    assert_int_equal(medium_list(medium, kind, add_line, &text, NULL), RC_OK);
    buf_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_fini(&text);
}

static void assert_log(struct medium *medium, const char *name, const char *expected) {
    char bytes[64];
    size_t got;
    assert_int_equal(medium_log_read(medium, name, 0, bytes, sizeof(bytes), &got, NULL), RC_OK);
    assert_int_equal(got, strlen(expected));
    assert_memory_equal(bytes, expected, got);
}

static void put_object(struct medium *medium, const char *name, const char *text) {
    struct medium_object_writer *writer;
    assert_int_equal(medium_object_create(medium, name, &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, text, strlen(text), NULL), RC_OK);
    assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
}

static enum rc put_value(struct medium *medium, const char *key, const char *text,
                         uint64_t expected) {
    return medium_catalog_put(medium, key, text, strlen(text), expected, NULL);
}

static void a_synced_log_survives_a_restart(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_log *log;
    assert_int_equal(medium_log_create(medium, "a", 1, &log, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, "hello ", 6, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, "world", 5, NULL), RC_OK);
    assert_int_equal(medium_log_sync(log, NULL), RC_OK);
    medium_log_close(log);
    medium = restart(state);
    assert_log(medium, "a", "hello world");
    assert_listed(medium, MEDIUM_LOGS, "a=11 ");
}

static void a_log_is_cut_and_continued(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_log *log;
    assert_int_equal(medium_log_create(medium, "a", 1, &log, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, "hello world", 11, NULL), RC_OK);
    assert_int_equal(medium_log_truncate(log, 6, NULL), RC_OK);
    assert_int_equal(medium_log_truncate(log, 7, NULL), RC_INVALID);
    assert_int_equal(medium_log_append(log, "you", 3, NULL), RC_OK);
    medium_log_close(log);
    assert_log(medium, "a", "hello you");
}

static void a_log_is_read_at_any_offset(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_log *log;
    char bytes[4];
    size_t got;
    assert_int_equal(medium_log_create(medium, "a", 1, &log, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, "0123456789", 10, NULL), RC_OK);
    medium_log_close(log);
    assert_int_equal(medium_log_read(medium, "a", 3, bytes, 4, &got, NULL), RC_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(bytes, "3456", 4);
    assert_int_equal(medium_log_read(medium, "a", 8, bytes, 4, &got, NULL), RC_OK);
    assert_int_equal(got, 2);
    assert_int_equal(medium_log_read(medium, "a", 99, bytes, 4, &got, NULL), RC_OK);
    assert_int_equal(got, 0);
    assert_int_equal(medium_log_read(medium, "b", 0, bytes, 4, &got, NULL), RC_NOT_FOUND);
}

static void a_writer_of_a_smaller_epoch_is_fenced(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_log *old, *new, *late;
    assert_int_equal(medium_log_create(medium, "a", 1, &old, NULL), RC_OK);
    assert_int_equal(medium_log_create(medium, "a", 1, &late, NULL), RC_CONFLICT);
    assert_int_equal(medium_log_append(old, "x", 1, NULL), RC_OK);
    assert_int_equal(medium_log_create(medium, "b", 2, &new, NULL), RC_OK);
    assert_int_equal(medium_log_append(old, "y", 1, NULL), RC_CONFLICT);
    assert_int_equal(medium_log_sync(old, NULL), RC_CONFLICT);
    assert_int_equal(medium_log_truncate(old, 0, NULL), RC_CONFLICT);
    assert_int_equal(medium_log_create(medium, "c", 1, &late, NULL), RC_CONFLICT);
    assert_int_equal(medium_log_append(new, "z", 1, NULL), RC_OK);
    medium_log_close(old);
    medium_log_close(new);
    assert_listed(medium, MEDIUM_LOGS, "a=1 b=1 ");
}

static void an_object_is_invisible_until_committed(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object_writer *writer;
    struct medium_object *object;
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, "abc", 3, NULL), RC_OK);
    assert_listed(medium, MEDIUM_OBJECTS, "");
    assert_int_equal(medium_object_open(medium, "o", &object, NULL), RC_NOT_FOUND);
    assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
    medium = restart(state);
    assert_listed(medium, MEDIUM_OBJECTS, "o=3 ");
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_CONFLICT);
}

static void an_aborted_object_leaves_nothing(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object_writer *writer;
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    assert_int_equal(medium_object_write(writer, "abc", 3, NULL), RC_OK);
    medium_object_abort(writer);
    medium_object_abort(NULL);
    assert_listed(medium, MEDIUM_OBJECTS, "");
    put_object(medium, "o", "again");
    assert_listed(medium, MEDIUM_OBJECTS, "o=5 ");
}

static void an_object_is_read_by_range_and_mapped(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object *object;
    char bytes[3];
    put_object(medium, "o", "0123456789");
    assert_int_equal(medium_object_open(medium, "o", &object, NULL), RC_OK);
    assert_int_equal(medium_object_size(object), 10);
    assert_int_equal(medium_object_read(object, 7, bytes, 3, NULL), RC_OK);
    assert_memory_equal(bytes, "789", 3);
    assert_int_equal(medium_object_read(object, 8, bytes, 3, NULL), RC_CORRUPT);
    assert_memory_equal(medium_object_map(object), "0123456789", 10);
    medium_object_close(object);
}

static void an_empty_object_is_an_object(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object *object;
    put_object(medium, "o", "");
    assert_int_equal(medium_object_open(medium, "o", &object, NULL), RC_OK);
    assert_int_equal(medium_object_size(object), 0);
    assert_non_null(medium_object_map(object));
    medium_object_close(object);
}

static void a_large_object_written_in_odd_pieces_is_whole(void **state) {
    enum { SIZE = 1500000 };
    struct medium *medium = medium_of(state);
    struct medium_object_writer *writer;
    struct medium_object *object;
    uint8_t *bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 251);
    assert_int_equal(medium_object_create(medium, "o", &writer, NULL), RC_OK);
    for (size_t at = 0, step = 1; at < SIZE; step = step * 3 + 1) {
        size_t n = step < SIZE - at ? step : SIZE - at;
        assert_int_equal(medium_object_write(writer, bytes + at, n, NULL), RC_OK);
        at += n;
    }
    assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
    assert_int_equal(medium_object_open(medium, "o", &object, NULL), RC_OK);
    assert_int_equal(medium_object_size(object), SIZE);
    assert_memory_equal(medium_object_map(object), bytes, SIZE);
    medium_object_close(object);
    free(bytes);
}

static void a_removed_object_stays_readable_while_open(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object *object;
    char bytes[3];
    put_object(medium, "o", "abc");
    assert_int_equal(medium_object_open(medium, "o", &object, NULL), RC_OK);
    assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "o", NULL), RC_OK);
    assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "o", NULL), RC_NOT_FOUND);
    assert_memory_equal(medium_object_map(object), "abc", 3);
    assert_int_equal(medium_object_read(object, 0, bytes, 3, NULL), RC_OK);
    assert_memory_equal(bytes, "abc", 3);
    medium_object_close(object);
}

static void a_catalog_value_is_replaced_only_at_its_version(void **state) {
    struct medium *medium = medium_of(state);
    struct buf value = {0};
    uint64_t version = 0;
    assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_NOT_FOUND);
    assert_int_equal(put_value(medium, "k", "one", 1), RC_CONFLICT);
    assert_int_equal(put_value(medium, "k", "one", 0), RC_OK);
    assert_int_equal(put_value(medium, "k", "two", 0), RC_CONFLICT);
    assert_int_equal(put_value(medium, "k", "three", 1), RC_OK);
    medium = restart(state);
    buf_str(&value, STR("> "));
    assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_OK);
    assert_int_equal(version, 2);
    assert_int_equal(value.n, 7);
    assert_memory_equal(value.p, "> three", 7);
    buf_fini(&value);
    assert_listed(medium, MEDIUM_CATALOG, "k=5 ");
    assert_int_equal(medium_remove(medium, MEDIUM_CATALOG, "k", NULL), RC_OK);
    assert_int_equal(put_value(medium, "k", "", 0), RC_OK);
    assert_listed(medium, MEDIUM_CATALOG, "k=0 ");
}

static void names_are_listed_in_byte_order(void **state) {
    struct medium *medium = medium_of(state);
    static const char *const names[] = {"b", "a-10", "a", "a.9", "zz", "a_1", "0"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        put_object(medium, names[i], names[i]);
    assert_listed(medium, MEDIUM_OBJECTS, "0=1 a=1 a-10=4 a.9=3 a_1=3 b=1 zz=2 ");
}

static enum rc stop(void *context, const char *name, uint64_t size) {
    (*(int *)context)++;
    return RC_CANCELLED;
}

static void listing_stops_when_told(void **state) {
    struct medium *medium = medium_of(state);
    int calls = 0;
    put_object(medium, "a", "");
    put_object(medium, "b", "");
    assert_int_equal(medium_list(medium, MEDIUM_OBJECTS, stop, &calls, NULL), RC_CANCELLED);
    assert_int_equal(calls, 1);
}

static void names_that_could_leave_the_folder_are_refused(void **state) {
    struct medium *medium = medium_of(state);
    struct medium_object_writer *writer;
    struct err err;
    char longest[MEDIUM_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[MEDIUM_NAME_MAX + 1] = '\0';
    const char *const names[] = {"", ".", "..", "../a", "a/b", "A", ".hidden", "\xc3\xa9", longest};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(medium_object_create(medium, names[i], &writer, &err), RC_INVALID);
    assert_int_equal(medium_object_create(medium, "../a", &writer, &err), RC_INVALID);
    assert_string_equal(err.message,
                        "object name \"../a\" is not made of 1 to 100 of a-z 0-9 . _ -");
    put_object(medium, longest + 1, "");
}

static void space_counts_what_is_stored(void **state) {
    struct medium *medium = medium_of(state);
    uint64_t before, after, left;
    assert_int_equal(medium_space(medium, &left, &before, NULL), RC_OK);
    assert_true(left > 0);
    put_object(medium, "o", "0123456789");
    assert_int_equal(medium_space(medium, &left, &after, NULL), RC_OK);
    assert_int_equal(after - before, 10);
}

#define ON(kind, test)                                                                             \
    { #test " (" #kind ")", test, setup_##kind, teardown, NULL }
#define ALL(kind)                                                                                  \
    ON(kind, a_synced_log_survives_a_restart), ON(kind, a_log_is_cut_and_continued),               \
        ON(kind, a_log_is_read_at_any_offset), ON(kind, a_writer_of_a_smaller_epoch_is_fenced),    \
        ON(kind, an_object_is_invisible_until_committed),                                          \
        ON(kind, an_aborted_object_leaves_nothing),                                                \
        ON(kind, an_object_is_read_by_range_and_mapped), ON(kind, an_empty_object_is_an_object),   \
        ON(kind, a_large_object_written_in_odd_pieces_is_whole),                                   \
        ON(kind, a_removed_object_stays_readable_while_open),                                      \
        ON(kind, a_catalog_value_is_replaced_only_at_its_version),                                 \
        ON(kind, names_are_listed_in_byte_order), ON(kind, listing_stops_when_told),               \
        ON(kind, names_that_could_leave_the_folder_are_refused),                                   \
        ON(kind, space_counts_what_is_stored)

int main(void) {
    const struct CMUnitTest tests[] = {ALL(memory), ALL(file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
