#include "os/host.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 1024, NAME_BYTES = 64 };

static void read_cpu(host_each *each, void *context) {
    FILE *file = fopen("/proc/stat", "re");
    if (file == NULL)
        return;
    static const char *const names[] = {
        "cpu.user_seconds",   "cpu.nice_seconds", "cpu.system_seconds",  "cpu.idle_seconds",
        "cpu.iowait_seconds", "cpu.irq_seconds",  "cpu.softirq_seconds", "cpu.steal_seconds"};
    unsigned long long v[8];
    double tick = (double)sysconf(_SC_CLK_TCK);
    if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3],
               &v[4], &v[5], &v[6], &v[7]) == 8)
        for (int i = 0; i < 8; i++)
            each(context, names[i], NULL, NULL, (double)v[i] / tick);
    fclose(file);
}

static void read_load(host_each *each, void *context) {
    FILE *file = fopen("/proc/loadavg", "re");
    if (file == NULL)
        return;
    double one, five, fifteen;
    if (fscanf(file, "%lf %lf %lf", &one, &five, &fifteen) == 3) {
        each(context, "load.1m", NULL, NULL, one);
        each(context, "load.5m", NULL, NULL, five);
        each(context, "load.15m", NULL, NULL, fifteen);
    }
    fclose(file);
}

static void read_memory(host_each *each, void *context) {
    static const struct {
        const char *key, *metric;
    } wanted[] = {
        {"MemTotal", "memory.total_bytes"},         {"MemFree", "memory.free_bytes"},
        {"MemAvailable", "memory.available_bytes"}, {"Cached", "memory.cached_bytes"},
        {"Buffers", "memory.buffers_bytes"},        {"Dirty", "memory.dirty_bytes"},
    };
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return;
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file) != NULL) {
        char key[NAME_BYTES];
        unsigned long long kib;
        if (sscanf(line, "%63[^:]: %llu", key, &kib) != 2)
            continue;
        for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
            if (strcmp(key, wanted[i].key) == 0)
                each(context, wanted[i].metric, NULL, NULL, (double)kib * 1024);
    }
    fclose(file);
}

static bool is_real_disk(const char *name) {
    return strncmp(name, "loop", 4) != 0 && strncmp(name, "ram", 3) != 0;
}

static void read_disks(host_each *each, void *context) {
    FILE *file = fopen("/proc/diskstats", "re");
    if (file == NULL)
        return;
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file) != NULL) {
        char name[NAME_BYTES];
        unsigned long long reads, read_sectors, writes, written_sectors, busy_ms;
        if (sscanf(line, "%*u %*u %63s %llu %*u %llu %*u %llu %*u %llu %*u %*u %llu", name, &reads,
                   &read_sectors, &writes, &written_sectors, &busy_ms) != 6 ||
            !is_real_disk(name))
            continue;
        each(context, "disk.reads", "device", name, (double)reads);
        each(context, "disk.read_bytes", "device", name, (double)read_sectors * 512);
        each(context, "disk.writes", "device", name, (double)writes);
        each(context, "disk.written_bytes", "device", name, (double)written_sectors * 512);
        each(context, "disk.busy_seconds", "device", name, (double)busy_ms / 1e3);
    }
    fclose(file);
}

static void read_network(host_each *each, void *context) {
    FILE *file = fopen("/proc/net/dev", "re");
    if (file == NULL)
        return;
    char line[LINE_BYTES];
    while (fgets(line, sizeof(line), file) != NULL) {
        char name[NAME_BYTES];
        unsigned long long in_bytes, in_packets, in_errors, in_drops;
        unsigned long long out_bytes, out_packets, out_errors, out_drops;
        if (sscanf(line, " %63[^:]: %llu %llu %llu %llu %*u %*u %*u %*u %llu %llu %llu %llu", name,
                   &in_bytes, &in_packets, &in_errors, &in_drops, &out_bytes, &out_packets,
                   &out_errors, &out_drops) != 9)
            continue;
        each(context, "net.received_bytes", "interface", name, (double)in_bytes);
        each(context, "net.received_packets", "interface", name, (double)in_packets);
        each(context, "net.sent_bytes", "interface", name, (double)out_bytes);
        each(context, "net.sent_packets", "interface", name, (double)out_packets);
        each(context, "net.errors", "interface", name, (double)(in_errors + out_errors));
        each(context, "net.drops", "interface", name, (double)(in_drops + out_drops));
    }
    fclose(file);
}

void host_read(host_each *each, void *context) {
    read_cpu(each, context);
    read_load(each, context);
    read_memory(each, context);
    read_disks(each, context);
    read_network(each, context);
}
