/*
 * What only the directory does: the lock, left-overs, files that something else has changed, and
 * sentences for the operator.
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "medium/file_medium.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static int setup(void **state) {
    snprintf(root, sizeof(root), "/tmp/barograph-file-medium-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int teardown(void **state) {
    char command[256];
    snprintf(command, sizeof(command), "chmod -R u+w '%s'; rm -rf '%s'", root, root);
    return system(command);
}

static const char *path_of(const char *name) {
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static struct medium *open_medium(void) {
    struct medium *medium;
    struct err err;
    if (file_medium_open(root, &medium, &err) != RC_OK)
        fail_msg("%s", err.message);
    return medium;
}

static void write_file(const char *name, const void *bytes, size_t n) {
    struct file file;
    assert_int_equal(file_open(path_of(name), FILE_REPLACE, &file, NULL), RC_OK);
    assert_int_equal(file_write_at(&file, 0, bytes, n, NULL), RC_OK);
    file_close(&file);
}

static void a_second_opener_is_told_that_the_directory_is_in_use(void **state) {
    struct medium *medium = open_medium(), *second;
    struct err err;
    char expected[256];
    assert_int_equal(file_medium_open(root, &second, &err), RC_CONFLICT);
    snprintf(expected, sizeof(expected),
             "data directory %s is in use by another process; stop it, or choose another directory",
             root);
    assert_string_equal(err.message, expected);
    medium_close(medium);
    medium_close(open_medium());
}

static void the_lock_goes_with_the_process_that_held_it(void **state) {
    pid_t child = fork();
    if (child == 0) {
        struct medium *medium;
        _exit(file_medium_open(root, &medium, NULL) == RC_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    medium_close(open_medium());
}

/* Run as a user who may not write, since root may everywhere. */
static void a_directory_that_is_not_writable_says_what_to_do(void **state) {
    assert_int_equal(chmod(root, 0755), 0);
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        struct medium *medium;
        struct err err = {0};
        if (geteuid() == 0 ? setuid(65534) != 0 : chmod(root, 0555) != 0)
            _exit(1);
        enum rc rc = file_medium_open(root, &medium, &err);
        if (write(pipe_fd[1], err.message, strlen(err.message)) < 0)
            _exit(1);
        _exit(rc == RC_IO ? 0 : 1);
    }
    int status;
    char message[512] = "", expected[512];
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(read(pipe_fd[0], message, sizeof(message) - 1) > 0);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
    snprintf(expected, sizeof(expected),
             "data directory %s: cannot write to %s/lock: permission denied; give it to uid %u or "
             "mount it writable",
             root, root, geteuid() == 0 ? 65534u : (unsigned)geteuid());
    assert_string_equal(message, expected);
}

static enum rc count(void *context, const char *name, uint64_t size) {
    (*(int *)context)++;
    return RC_OK;
}

static void left_over_temporary_files_go_and_strangers_stay(void **state) {
    medium_close(open_medium());
    write_file("objects/.seg-1.tmp", "x", 1);
    write_file("catalog/.manifest.tmp", "x", 1);
    write_file("objects/lost+Found", "x", 1);
    struct medium *medium = open_medium();
    int n = 0;
    assert_int_equal(medium_list(medium, MEDIUM_OBJECTS, count, &n, NULL), RC_OK);
    assert_int_equal(n, 0);
    assert_int_equal(file_stat(path_of("objects/.seg-1.tmp"), NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(file_stat(path_of("catalog/.manifest.tmp"), NULL, NULL), RC_NOT_FOUND);
    assert_int_equal(file_stat(path_of("objects/lost+Found"), NULL, NULL), RC_OK);
    medium_close(medium);
}

static void a_catalog_value_is_laid_out_as_documented(void **state) {
    struct medium *medium = open_medium();
    struct buf file = {0};
    assert_int_equal(medium_catalog_put(medium, "k", "abc", 3, 0, NULL), RC_OK);
    assert_int_equal(file_read_all(path_of("catalog/k"), 100, &file, NULL), RC_OK);
    assert_int_equal(file.n, 35);
    assert_memory_equal(file.p, "BGCAT001\1\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24);
    assert_memory_equal(file.p + 32, "abc", 3);
    buf_fini(&file);
    medium_close(medium);
}

static void any_changed_byte_of_a_catalog_value_is_noticed(void **state) {
    struct medium *medium = open_medium();
    struct buf file = {0}, value = {0};
    uint64_t version;
    assert_int_equal(medium_catalog_put(medium, "k", "some value", 10, 0, NULL), RC_OK);
    assert_int_equal(file_read_all(path_of("catalog/k"), 100, &file, NULL), RC_OK);
    for (size_t i = 0; i < file.n; i++) {
        file.p[i] ^= 0x10;
        write_file("catalog/k", file.p, file.n);
        assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_CORRUPT);
        assert_int_equal(medium_catalog_put(medium, "k", "x", 1, 1, NULL), RC_CORRUPT);
        file.p[i] ^= 0x10;
    }
    for (size_t n = 0; n < file.n; n++) {
        write_file("catalog/k", file.p, n);
        assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_CORRUPT);
    }
    assert_int_equal(value.n, 0);
    write_file("catalog/k", file.p, file.n);
    assert_int_equal(medium_catalog_get(medium, "k", &value, &version, NULL), RC_OK);
    buf_fini(&file);
    buf_fini(&value);
    medium_close(medium);
}

static void a_catalog_value_of_a_newer_version_is_neither_read_nor_replaced(void **state) {
    struct medium *medium = open_medium();
    struct buf file = {0}, value = {0};
    uint64_t version;
    struct err err;
    char expected[300];
    assert_int_equal(medium_catalog_put(medium, "k", "some value", 10, 0, NULL), RC_OK);
    assert_int_equal(file_read_all(path_of("catalog/k"), 100, &file, NULL), RC_OK);
    file.p[7] = '2';
    bytes_put_u64((uint8_t *)file.p + 24, hash_chain(hash_checksum(file.p, 24), "some value", 10));
    write_file("catalog/k", file.p, file.n);
    snprintf(expected, sizeof(expected),
             "%s/catalog/k was written by a newer version; start that version", root);
    assert_int_equal(medium_catalog_get(medium, "k", &value, &version, &err), RC_UNSUPPORTED);
    assert_string_equal(err.message, expected);
    assert_int_equal(medium_catalog_put(medium, "k", "x", 1, 1, &err), RC_UNSUPPORTED);
    assert_int_equal(value.n, 0);
    buf_fini(&file);
    buf_fini(&value);
    medium_close(medium);
}

static void a_data_directory_may_lie_several_levels_down(void **state) {
    struct medium *medium;
    char deep[160];
    snprintf(deep, sizeof(deep), "%s/var/lib/barograph/", root);
    assert_int_equal(file_medium_open(deep, &medium, NULL), RC_OK);
    medium_close(medium);
    assert_int_equal(file_stat(path_of("var/lib/barograph/lock"), NULL, NULL), RC_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
        EACH(a_second_opener_is_told_that_the_directory_is_in_use),
        EACH(the_lock_goes_with_the_process_that_held_it),
        EACH(a_directory_that_is_not_writable_says_what_to_do),
        EACH(left_over_temporary_files_go_and_strangers_stay),
        EACH(a_catalog_value_is_laid_out_as_documented),
        EACH(any_changed_byte_of_a_catalog_value_is_noticed),
        EACH(a_catalog_value_of_a_newer_version_is_neither_read_nor_replaced),
        EACH(a_data_directory_may_lie_several_levels_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
