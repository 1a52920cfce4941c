#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static const char *path_of(const char *name) {
    static char path[4][160];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", root, name);
    return p;
}

static int setup(void **state) {
    snprintf(root, sizeof(root), "/tmp/barograph-file-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int teardown(void **state) {
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static void put(const char *name, const char *text) {
    struct file file;
    assert_int_equal(file_open(path_of(name), FILE_REPLACE, &file, NULL), RC_OK);
    assert_int_equal(file_write_at(&file, 0, text, strlen(text), NULL), RC_OK);
    assert_int_equal(file_sync(&file, NULL), RC_OK);
    file_close(&file);
}

static void reads_a_whole_file_after_what_the_buffer_holds(void **state) {
    put("a", "hello");
    struct buf out = {0};
    buf_str(&out, STR("> "));
    assert_int_equal(file_read_all(path_of("a"), 5, &out, NULL), RC_OK);
    assert_int_equal(out.n, 7);
    assert_memory_equal(out.p, "> hello", 7);
    buf_fini(&out);
}

static void refuses_a_file_larger_than_the_limit(void **state) {
    put("a", "hello");
    struct buf out = {0};
    struct err err;
    assert_int_equal(file_read_all(path_of("a"), 4, &out, &err), RC_LIMIT);
    char expected[200];
    snprintf(expected, sizeof(expected), "%s/a is larger than 4 bytes", root);
    assert_string_equal(err.message, expected);
    buf_fini(&out);
}

static void reads_files_that_do_not_tell_their_size(void **state) {
    struct buf out = {0};
    assert_int_equal(file_read_all("/proc/self/status", 1 << 20, &out, NULL), RC_OK);
    assert_true(out.n > 5);
    assert_memory_equal(out.p, "Name:", 5);
    buf_fini(&out);
}

static void says_which_file_is_missing(void **state) {
    struct buf out = {0};
    struct err err;
    assert_int_equal(file_read_all("/nonexistent/x", 10, &out, &err), RC_NOT_FOUND);
    assert_string_equal(err.message, "cannot open /nonexistent/x: No such file or directory");
    buf_fini(&out);
}

static void writes_and_reads_at_an_offset_and_cuts(void **state) {
    struct file file;
    char bytes[8] = {0};
    size_t got;
    uint64_t size;
    assert_int_equal(file_open(path_of("w"), FILE_CREATE_NEW, &file, NULL), RC_OK);
    assert_int_equal(file_write_at(&file, 3, "abc", 3, NULL), RC_OK);
    assert_int_equal(file_read_at(&file, 2, bytes, 8, &got, NULL), RC_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(bytes, "\0abc", 4);
    assert_int_equal(file_truncate(&file, 4, NULL), RC_OK);
    assert_int_equal(file_size(&file, &size, NULL), RC_OK);
    assert_int_equal(size, 4);
    file_close(&file);
    assert_int_equal(file_open(path_of("w"), FILE_CREATE_NEW, &file, NULL), RC_CONFLICT);
}

static void locks_out_a_second_opener(void **state) {
    struct file a, b;
    struct err err;
    assert_int_equal(file_open(path_of("lock"), FILE_OPEN, &a, NULL), RC_OK);
    assert_int_equal(file_open(path_of("lock"), FILE_OPEN, &b, NULL), RC_OK);
    assert_int_equal(file_lock(&a, &err), RC_OK);
    assert_int_equal(file_lock(&b, &err), RC_CONFLICT);
    file_close(&a);
    assert_int_equal(file_lock(&b, &err), RC_OK);
    file_close(&b);
}

static void maps_what_was_written(void **state) {
    struct file file;
    const uint8_t *bytes;
    put("m", "mapped");
    assert_int_equal(file_open(path_of("m"), FILE_READ, &file, NULL), RC_OK);
    assert_int_equal(file_map(&file, 6, &bytes, NULL), RC_OK);
    file_close(&file);
    assert_memory_equal(bytes, "mapped", 6);
    file_unmap(bytes, 6);
}

static enum rc collect(void *context, const char *name, uint64_t size) {
    char *text = context;
    size_t n = strlen(text);
    snprintf(text + n, 100 - n, "%s:%u ", name, (unsigned)size);
    return RC_OK;
}

static void lists_regular_files_only(void **state) {
    char names[100] = "";
    assert_int_equal(file_make_directory(path_of("l/deep"), NULL), RC_OK);
    assert_int_equal(file_make_directory(path_of("l/deep/"), NULL), RC_OK);
    put("l/one", "1");
    assert_int_equal(file_list(path_of("l"), collect, names, NULL), RC_OK);
    assert_string_equal(names, "one:1 ");
    assert_int_equal(file_rename(path_of("l/one"), path_of("l/two"), NULL), RC_OK);
    assert_int_equal(file_sync_directory(path_of("l"), NULL), RC_OK);
    assert_int_equal(file_stat(path_of("l/one"), NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(file_remove(path_of("l/two"), NULL), RC_OK);
    assert_int_equal(file_remove(path_of("l/two"), NULL), RC_NOT_FOUND);
}

static void a_directory_cannot_be_made_under_a_file(void **state) {
    put("plain", "x");
    struct err err;
    assert_int_equal(file_make_directory(path_of("plain"), &err), RC_IO);
    char expected[200];
    snprintf(expected, sizeof(expected), "%s/plain is not a directory", root);
    assert_string_equal(err.message, expected);
}

static void a_full_device_is_told_apart_from_a_failing_one(void **state) {
    struct file file;
    struct err err;
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(file_open("/dev/full", FILE_OPEN, &file, &err), RC_OK);
    assert_int_equal(file_write_at(&file, 0, "x", 1, &err), RC_NO_SPACE);
    assert_string_equal(err.message, "cannot write to /dev/full: no space left on the file system; "
                                     "free some or enlarge it");
    file_close(&file);
}

static void knows_the_space_left(void **state) {
    uint64_t bytes = 0;
    assert_int_equal(file_space(root, &bytes, NULL), RC_OK);
    assert_true(bytes > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_whole_file_after_what_the_buffer_holds),
        cmocka_unit_test(refuses_a_file_larger_than_the_limit),
        cmocka_unit_test(reads_files_that_do_not_tell_their_size),
        cmocka_unit_test(says_which_file_is_missing),
        cmocka_unit_test(writes_and_reads_at_an_offset_and_cuts),
        cmocka_unit_test(locks_out_a_second_opener),
        cmocka_unit_test(maps_what_was_written),
        cmocka_unit_test(lists_regular_files_only),
        cmocka_unit_test(a_directory_cannot_be_made_under_a_file),
        cmocka_unit_test(a_full_device_is_told_apart_from_a_failing_one),
        cmocka_unit_test(knows_the_space_left),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
