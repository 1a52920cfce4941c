/*
 * The log against its own limits, in the same directory and the same run:
 *
 *     bench_log_commit [DIRECTORY [SECONDS]]
 *
 * Each line is one measurement; a ratio stands beside what it is a ratio to. The raw figures are
 * pwrite + fdatasync of one file that grows, which is what a commit cannot do without.
 */
#include "medium/file_medium.h"
#include "medium/memory_medium.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SYNC_BYTES = 4096, STREAM_BYTES = 1 << 20, THREADS_MAX = 16 };

static int64_t run_ns = 1000000000;
static uint8_t payload[STREAM_BYTES];

static void must(enum rc rc, const struct err *err) {
    if (rc == RC_OK)
        return;
    fprintf(stderr, "bench_log_commit: %s\n", err->message);
    exit(1);
}

static enum rc ignore(void *context, enum log_record_kind kind, uint64_t position,
                      const uint8_t *bytes, size_t n) {
    return RC_OK;
}

/* ---- the machine ---- */

/* Appends of `n` bytes, each synced, a second. */
static double raw_syncs(const char *directory, size_t n) {
    struct err err;
    struct file file;
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/raw", directory);
    must(file_open(path, FILE_REPLACE, &file, &err), &err);
    uint64_t count = 0;
    int64_t begin = clock_monotonic_ns(), end;
    do {
        must(file_write_at(&file, count * n, payload, n, &err), &err);
        must(file_sync(&file, &err), &err);
        count++;
        end = clock_monotonic_ns();
    } while (end - begin < run_ns);
    file_close(&file);
    must(file_remove(path, &err), &err);
    return (double)count * 1e9 / (double)(end - begin);
}

static double memory_copies(void) {
    static uint8_t to[STREAM_BYTES];
    uint64_t bytes = 0;
    int64_t begin = clock_monotonic_ns(), end;
    do {
        memcpy(to, payload, sizeof(to));
        __asm__ volatile("" : : "r"(to) : "memory");
        bytes += sizeof(to);
        end = clock_monotonic_ns();
    } while (end - begin < run_ns / 4);
    return (double)bytes / (double)(end - begin);
}

/* ---- the log ---- */

struct load {
    struct log *log;
    size_t record;
    bool waits;
    int64_t until;
    uint64_t pushed;
    struct thread thread;
};

static void *push_until(void *context) {
    struct load *load = context;
    struct err err;
    uint64_t end = 0;
    while (clock_monotonic_ns() < load->until) {
        for (int i = 0; i < (load->waits ? 1 : 64); i++) {
            enum rc rc = log_push(load->log, LOG_POINTS, payload, load->record, &end, &err);
            if (rc != RC_THROTTLE)
                must(rc, &err);
            load->pushed += rc == RC_OK;
        }
        if (load->waits)
            must(log_wait(load->log, end, 0, &err), &err);
    }
    return NULL;
}

struct result {
    double pushes; /* a second */
    double bytes;
    double commits;
    double cpu_bytes; /* a second of CPU of all threads, the log's own included */
};

static struct result measure(struct medium *medium, uint32_t threads, size_t record, bool waits) {
    struct err err;
    struct log *log;
    struct log_replay_report report;
    struct log_options options = {0};
    must(log_open(medium, 1, 0, &options, ignore, NULL, &report, &log, &err), &err);
    struct load loads[THREADS_MAX];
    uint64_t pushed = 0;
    int64_t begin = clock_monotonic_ns(), cpu = clock_process_cpu_ns();
    for (uint32_t i = 0; i < threads; i++) {
        loads[i] = (struct load){log, record, waits, .until = begin + run_ns};
        must(thread_start(&loads[i].thread, "pusher", push_until, &loads[i], &err), &err);
    }
    for (uint32_t i = 0; i < threads; i++) {
        thread_join(&loads[i].thread);
        pushed += loads[i].pushed;
    }
    struct log_stats stats;
    must(log_wait(log, log_end(log), 0, &err), &err);
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
    double cpu_seconds = (double)(clock_process_cpu_ns() - cpu) / 1e9;
    log_stats(log, &stats);
    must(log_truncate(log, stats.end, &err), &err);
    must(log_close(log, &err), &err);
    return (struct result){(double)pushed / seconds, (double)(pushed * record) / seconds,
                           (double)stats.commits / seconds,
                           (double)(pushed * record) / cpu_seconds};
}

static void measure_push(uint32_t threads, size_t record, double memcpy_rate) {
    struct err err;
    struct medium *medium;
    must(memory_medium_open(NULL, &medium, &err), &err);
    int64_t before = run_ns;
    run_ns /= 4; /* it is kept in memory */
    struct result r = measure(medium, threads, record, false);
    run_ns = before;
    medium_close(medium);
    printf("push, memory medium, %2u threads, %7zu bytes: %9.0f pushes/s %7.3f GB/s,"
           " %.3f GB a CPU second (%.2f of memcpy)\n",
           threads, record, r.pushes, r.bytes / 1e9, r.cpu_bytes / 1e9,
           r.cpu_bytes / 1e9 / memcpy_rate);
}

static void measure_wait(struct medium *medium, uint32_t threads, double syncs) {
    struct result r = measure(medium, threads, SYNC_BYTES, true);
    printf("push and wait, file,  %2u threads, %7d bytes: %9.0f pushes/s %7.0f commits/s"
           " (pushes %.2f, commits %.2f of raw syncs)\n",
           threads, SYNC_BYTES, r.pushes, r.commits, r.pushes / syncs, r.commits / syncs);
}

static void measure_stream(struct medium *medium, size_t record, double syncs) {
    struct result r = measure(medium, 2, record, false);
    printf("push, file medium,     2 threads, %7zu bytes: %9.0f pushes/s %7.3f GB/s"
           " (%.2f of raw)\n",
           record, r.pushes, r.bytes / 1e9, r.bytes / (syncs * STREAM_BYTES));
}

/* Replay of what measure_stream would leave behind. */
static void measure_replay(size_t record, double memcpy_rate) {
    struct err err;
    struct log *log;
    struct medium *medium;
    struct log_replay_report report;
    struct log_options options = {0};
    must(memory_medium_open(NULL, &medium, &err), &err);
    must(log_open(medium, 1, 0, &options, ignore, NULL, &report, &log, &err), &err);
    for (size_t bytes = 0; bytes < 200 << 20; bytes += record)
        must(log_push(log, LOG_POINTS, payload, record, NULL, &err), &err);
    must(log_close(log, &err), &err);
    int64_t begin = clock_monotonic_ns();
    must(log_open(medium, 1, 0, &options, ignore, NULL, &report, &log, &err), &err);
    double ns = (double)(clock_monotonic_ns() - begin);
    must(log_close(log, &err), &err);
    medium_close(medium);
    printf("replay, memory medium,            %7zu bytes: %9.0f records/s %6.3f GB/s"
           " (%.2f of memcpy)\n",
           record, (double)report.records * 1e9 / ns, (double)report.bytes / ns,
           (double)report.bytes / ns / memcpy_rate);
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : "bench-log";
    if (argc > 2)
        run_ns = (int64_t)(strtod(argv[2], NULL) * 1e9);
    struct err err;
    struct medium *medium;
    must(file_medium_open(directory, &medium, &err), &err);
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (uint8_t)(i * 2654435761u >> 13);
    double copies = memory_copies();
    double small = raw_syncs(directory, SYNC_BYTES), large = raw_syncs(directory, STREAM_BYTES);
    printf("memcpy: %.1f GB/s; raw write and fdatasync in %s: %.0f/s of %d bytes, %.0f/s of 1 MiB"
           " = %.3f GB/s\n",
           copies, directory, small, SYNC_BYTES, large, large * STREAM_BYTES / 1e9);
    measure_push(1, 100, copies);
    measure_push(1, 16384, copies);
    measure_push(1, 262144, copies);
    measure_push(4, 16384, copies);
    measure_replay(100, copies);
    measure_replay(16384, copies);
    measure_wait(medium, 1, small);
    measure_wait(medium, 4, small);
    measure_wait(medium, 16, small);
    measure_stream(medium, 16384, large);
    medium_close(medium);
    return 0;
}
