/*
 * What an engine full of TSBS cpu-only data costs to keep and to scan, in one process on a memory
 * medium: bytes a point after a checkpoint and after a compaction, and the time a scan of all
 * series takes when summaries answer it, when everything is decoded, and when the last point is
 * wanted. One core.
 *
 *   bench_scan [hosts] [points of a series]
 */
#include "store/scan.h"
#include "base/check.h"
#include "medium/memory_medium.h"
#include "os/clock.h"
#include "store/store.h"
#include "tsbs.h"

#include <stdio.h>
#include <stdlib.h>

static struct store *store;
static struct series **all; /* host * TSBS_METRICS + metric */
static uint32_t series_count;

static int64_t long_after(void *context) {
    return (TSBS_START_S + 30 * INT64_C(86400)) * 1000;
}

static void fail_if(enum rc rc, const struct err *err) {
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_scan: %s\n", err->message);
    exit(1);
}

static void open_store(struct medium **medium, struct budget *budget, struct clock *clock) {
    struct err err;
    budget_init(budget, 0, NULL);
    *clock = (struct clock){.wall_ms = long_after};
    fail_if(memory_medium_open(NULL, medium, &err), &err);
    struct store_options options;
    store_options_default(&options, (size_t)8 << 30);
    options.medium = *medium;
    options.budget = budget;
    options.clock = clock;
    options.background = false;
    fail_if(store_open(&options, &store, &err), &err);
}

static void create_series(const struct tsbs *tsbs, uint32_t hosts) {
    struct err err;
    for (uint32_t i = 0; i < series_count; i++) {
        struct series_key key = {.metric = str_of(tsbs_metric(i % TSBS_METRICS)), .tag_count = 8};
        for (uint32_t tag = 0; tag < key.tag_count; tag++)
            key.tags[tag] = (struct tag){str_of(tsbs_tag_key(tag)),
                                         str_of(tsbs_tag_value(tsbs, i / TSBS_METRICS, tag))};
        fail_if(series_key_canonicalise(&key, &err), &err);
        fail_if(index_series(store_index(store), &key, &all[i], &err), &err);
    }
}

static void append_epoch(const struct tsbs *tsbs, int64_t time_ms) {
    static struct series *series[LIMIT_BATCH_POINTS];
    static int64_t times[LIMIT_BATCH_POINTS];
    static uint64_t bits[LIMIT_BATCH_POINTS];
    static uint8_t is_float[LIMIT_BATCH_POINTS];
    struct err err;
    for (uint32_t i = 0; i < series_count;) {
        struct store_batch batch = {
            .series = series, .time_ms = times, .bits = bits, .is_float = is_float};
        for (; i < series_count && batch.count < LIMIT_BATCH_POINTS; i++, batch.count++) {
            series[batch.count] = all[i];
            times[batch.count] = time_ms;
            bits[batch.count] = (uint64_t)tsbs_value(tsbs, i / TSBS_METRICS, i % TSBS_METRICS);
        }
        store_writers_enter(store);
        fail_if(store_append(store, &batch, NULL, &err), &err);
        store_writers_leave(store);
    }
}

static void report_size(const char *what, uint64_t points, int64_t began_ns) {
    struct store_stats stats;
    store_stats(store, &stats);
    printf("%-12s %7.3f s  %3lu segments  %.4f bytes a point, names %.4f\n", what,
           (double)(clock_monotonic_ns() - began_ns) / 1e9, (unsigned long)stats.segments,
           (double)stats.segment_bytes / (double)points,
           (double)stats.names_bytes / (double)points);
}

enum task { HEADERS, DECODE, LAST };

static void scan_one(struct scan *scan, struct series *series, enum task task, double *sum) {
    int64_t time_ms;
    struct value value;
    if (task == LAST) {
        CHECK(scan_last(scan, series, 0, INT64_MAX, &time_ms, &value) == 1);
        *sum += (double)value.bits;
        scan->points_seen++;
        return;
    }
    CHECK(scan_open(scan, series, 0, INT64_MAX) == RC_OK);
    int outcome;
    while ((outcome = scan_next(scan)) > 0) {
        if (outcome == SCAN_VECTOR && task == DECODE)
            CHECK(scan_decode(scan) == RC_OK);
        *sum += outcome == SCAN_VECTOR ? scan->summary->sum : (double)scan->points.bits[0];
    }
    CHECK(outcome == SCAN_END);
    scan_close(scan);
}

static void scan_all(const char *what, enum task task) {
    struct scan scan;
    CHECK(scan_init(&scan, store, NULL) == RC_OK);
    double sum = 0;
    for (int round = 0; round < 2; round++) {
        int64_t began_ns = clock_monotonic_ns();
        scan.points_seen = 0;
        for (uint32_t i = 0; i < series_count; i++)
            scan_one(&scan, all[i], task, &sum);
        double ns = (double)(clock_monotonic_ns() - began_ns);
        printf("  %-8s %-6s %8.2f ms  %7.1f ns a series  %8.3f G points/s\n", what,
               round == 0 ? "first" : "again", ns / 1e6, ns / series_count,
               (double)scan.points_seen / ns);
    }
    CHECK(scan.damaged == 0 && sum > 0);
    scan_fini(&scan);
}

static void scan_each_way(void) {
    scan_all("headers", HEADERS);
    scan_all("decode", DECODE);
    scan_all("last", LAST);
}

int main(int argc, char **argv) {
    uint32_t hosts = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4000;
    uint32_t epochs = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 360;
    struct medium *medium;
    struct budget budget;
    struct clock clock;
    struct err err;
    series_count = hosts * TSBS_METRICS;
    all = calloc(series_count, sizeof(struct series *));
    struct tsbs *tsbs = tsbs_new(hosts, 123);
    CHECK(all != NULL && tsbs != NULL && series_count > 0);
    open_store(&medium, &budget, &clock);
    create_series(tsbs, hosts);
    uint64_t points = (uint64_t)series_count * epochs;
    int64_t began_ns = clock_monotonic_ns();
    for (uint32_t e = 0; e < epochs; e++, tsbs_tick(tsbs))
        append_epoch(tsbs, (TSBS_START_S + (int64_t)e * TSBS_STEP_S) * 1000);
    report_size("appended", points, began_ns);
    scan_each_way();
    began_ns = clock_monotonic_ns();
    fail_if(store_checkpoint(store, &err), &err);
    report_size("checkpointed", points, began_ns);
    scan_each_way();
    began_ns = clock_monotonic_ns();
    fail_if(store_compact(store, &err), &err);
    report_size("compacted", points, began_ns);
    scan_each_way();
    fail_if(store_close(store, &err), &err);
    medium_close(medium);
    tsbs_free(tsbs);
    free(all);
    return 0;
}
