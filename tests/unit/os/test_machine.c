#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "os/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A root directory with only the files given. */
static char root[] = "test-machine-XXXXXX";

static void put_file(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int fresh_root(void **state) {
    strcpy(root, "test-machine-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static void version_2_takes_the_smallest_limit_of_all_ancestors(void **state) {
    put_file("/proc/self/cgroup", "0::/pods/barograph\n");
    put_file("/sys/fs/cgroup/pods/barograph/memory.max", "max\n");
    put_file("/sys/fs/cgroup/pods/memory.max", "134217728\n");
    put_file("/sys/fs/cgroup/pods/barograph/cpu.max", "150000 100000\n");
    assert_true(machine_memory_limit_below(root) == 134217728);
    assert_true(machine_processors_below(root) <= 2);
}

static void a_container_that_sees_its_group_as_the_root_is_understood(void **state) {
    put_file("/proc/self/cgroup", "0::/\n");
    put_file("/sys/fs/cgroup/memory.max", "67108864\n");
    put_file("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    assert_true(machine_memory_limit_below(root) == 67108864);
    assert_int_equal(machine_processors_below(root), 1);
}

static void version_1_limits_are_read(void **state) {
    put_file("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n");
    put_file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    put_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n");
    put_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_true(machine_memory_limit_below(root) == 268435456);
    assert_int_equal(machine_processors_below(root), 1);
}

/* A group without a quota has a period all the same, which says nothing about the others'. */
static void version_1_takes_quota_and_period_of_the_same_group(void **state) {
    put_file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n");
    put_file("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "100000\n");
    put_file("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
    put_file("/sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us", "-1\n");
    put_file("/sys/fs/cgroup/cpu/docker/cpu.cfs_period_us", "25000\n");
    assert_int_equal(machine_processors_below(root), 1);
}

static void without_groups_the_machine_is_the_limit(void **state) {
    assert_true(machine_memory_limit_below(root) > 1 << 20);
    assert_true(machine_processors_below(root) >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_2_takes_the_smallest_limit_of_all_ancestors,
                                        fresh_root, remove_root),
        cmocka_unit_test_setup_teardown(a_container_that_sees_its_group_as_the_root_is_understood,
                                        fresh_root, remove_root),
        cmocka_unit_test_setup_teardown(version_1_limits_are_read, fresh_root, remove_root),
        cmocka_unit_test_setup_teardown(version_1_takes_quota_and_period_of_the_same_group,
                                        fresh_root, remove_root),
        cmocka_unit_test_setup_teardown(without_groups_the_machine_is_the_limit, fresh_root,
                                        remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
