#include "os/machine.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { LINE_BYTES = 4096 };

/* Reads the first line of root + path. */
static bool read_line(const char *root, const char *path, char line[LINE_BYTES]) {
    char full[LINE_BYTES];
    int n = snprintf(full, sizeof(full), "%s%s", root, path);
    if (n < 0 || (size_t)n >= sizeof(full))
        return false;
    FILE *file = fopen(full, "re");
    if (file == NULL)
        return false;
    bool got = fgets(line, LINE_BYTES, file) != NULL;
    fclose(file);
    if (got)
        line[strcspn(line, "\n")] = '\0';
    return got;
}

/* Path of this process's control group for a v1 controller, or for v2 when `controller` is "". */
static bool group_path(const char *root, const char *controller, char path[LINE_BYTES]) {
    char full[LINE_BYTES];
    int n = snprintf(full, sizeof(full), "%s/proc/self/cgroup", root);
    if (n < 0 || (size_t)n >= sizeof(full))
        return false;
    FILE *file = fopen(full, "re");
    if (file == NULL)
        return false;
    char line[LINE_BYTES];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':');
        char *where = names == NULL ? NULL : strchr(names + 1, ':');
        if (where == NULL)
            continue;
        *where = '\0';
        char list[LINE_BYTES + 2];
        char want[64];
        snprintf(list, sizeof(list), ",%s,", names + 1);
        snprintf(want, sizeof(want), ",%s,", controller);
        if (strstr(list, want) == NULL)
            continue;
        snprintf(path, LINE_BYTES, "%s", where + 1);
        found = true;
    }
    fclose(file);
    return found;
}

static bool read_in_group(const char *root, const char *mount, const char *group, const char *file,
                          char line[LINE_BYTES]) {
    char path[2 * LINE_BYTES];
    int n =
        snprintf(path, sizeof(path), "%s%s/%s", mount, strcmp(group, "/") == 0 ? "" : group, file);
    return n > 0 && (size_t)n < sizeof(path) && read_line(root, path, line);
}

/* Calls `visit` with the text of `file` in the group and each of its ancestors, after it and a
   space that of `second` unless that is NULL. A container often sees its own group mounted as the
   root, so a path that is not there is no failure. */
static void each_ancestor(const char *root, const char *mount, const char *group, const char *file,
                          const char *second, void (*visit)(void *context, const char *text),
                          void *context) {
    char at[LINE_BYTES];
    snprintf(at, sizeof(at), "%s", group);
    for (;;) {
        char line[LINE_BYTES];
        char more[LINE_BYTES] = "";
        char both[2 * LINE_BYTES + 1];
        if (read_in_group(root, mount, at, file, line) &&
            (second == NULL || read_in_group(root, mount, at, second, more))) {
            snprintf(both, sizeof(both), "%s %s", line, more);
            visit(context, both);
        }
        char *slash = strrchr(at, '/');
        if (slash == NULL || strcmp(at, "/") == 0)
            return;
        slash[slash == at ? 1 : 0] = '\0';
    }
}

static void smallest(void *context, const char *text) {
    uint64_t *limit = context;
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end != text && v > 0 && v < *limit)
        *limit = v;
}

uint64_t machine_memory_limit_below(const char *root) {
    uint64_t limit = UINT64_MAX;
    struct sysinfo info;
    if (sysinfo(&info) == 0)
        limit = (uint64_t)info.totalram * info.mem_unit;
    char group[LINE_BYTES];
    if (group_path(root, "", group))
        each_ancestor(root, "/sys/fs/cgroup", group, "memory.max", NULL, smallest, &limit);
    if (group_path(root, "memory", group))
        each_ancestor(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", NULL, smallest,
                      &limit);
    return limit;
}

uint64_t machine_memory_limit(void) {
    return machine_memory_limit_below("");
}

static void smallest_cpu_max(void *context, const char *text) {
    double *limit = context;
    char *end;
    double quota = strtod(text, &end);
    double period = strtod(end, NULL);
    if (end != text && quota > 0 && period > 0 && quota / period < *limit)
        *limit = quota / period;
}

uint32_t machine_processors_below(const char *root) {
    cpu_set_t set;
    double limit = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    char group[LINE_BYTES];
    if (group_path(root, "", group))
        each_ancestor(root, "/sys/fs/cgroup", group, "cpu.max", NULL, smallest_cpu_max, &limit);
    if (group_path(root, "cpu", group))
        each_ancestor(root, "/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us", "cpu.cfs_period_us",
                      smallest_cpu_max, &limit);
    uint32_t whole = (uint32_t)limit;
    return whole < limit || whole == 0 ? whole + 1 : whole;
}

uint32_t machine_processors(void) {
    return machine_processors_below("");
}

void machine_host_name(char *name, size_t size) {
    if (gethostname(name, size) != 0 || name[0] == '\0')
        snprintf(name, size, "localhost");
    name[size - 1] = '\0';
}

uint64_t machine_resident_bytes(void) {
    char line[LINE_BYTES];
    unsigned long long total, resident;
    if (!read_line("", "/proc/self/statm", line) ||
        sscanf(line, "%llu %llu", &total, &resident) != 2)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint32_t count_entries(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL)
        return 0;
    uint32_t n = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

uint32_t machine_open_files(void) {
    uint32_t n = count_entries("/proc/self/fd");
    return n > 0 ? n - 1 : 0;
}

uint32_t machine_threads(void) {
    return count_entries("/proc/self/task");
}

uint64_t machine_raise_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

void machine_tune_allocator(void) {
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 4 << 20); /* answers of a few MiB reuse their pages */
    mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

void machine_trim_allocator(void) {
    malloc_trim(0);
}
