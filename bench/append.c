/*
 * Appends: points per second of CPU through store_append, with a log in real files.
 *
 *     bench_append [directory] [seconds] [batch] [series] [doubles percent] [memory MiB] [rounds]
 *
 * Prints points per second of user and system time (all threads: log and maintenance included, but
 * not what making the points up takes), bytes a point in the log, and memory a series; run again on
 * the directory of a killed run it prints how long recovery takes. Which part takes what: perf
 * record -g bench_append && perf report With a number of rounds (a point of each series) the work
 * is the same each time, for callgrind.
 */
#include "medium/file_medium.h"
#include "os/clock.h"
#include "os/machine.h"
#include "rate.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct series *batch_series[LIMIT_BATCH_POINTS];
static int64_t batch_time_ms[LIMIT_BATCH_POINTS];
static uint64_t batch_bits[LIMIT_BATCH_POINTS];
static uint8_t batch_is_float[LIMIT_BATCH_POINTS];

struct load {
    struct store *store;
    struct series **all;
    uint32_t series_count;
    uint32_t batch_count;
    uint32_t doubles_percent;
    struct store_batch batch;
    uint64_t random;
    uint64_t points;
    uint64_t refused;
    int64_t made_ns; /* CPU time it took to make the points up: not the store's */
};

static _Noreturn void die(const char *what, const struct err *err) {
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static uint64_t next_random(struct load *load) {
    load->random ^= load->random << 13;
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return load->random;
}

/* 8 tags, as many hosts as it takes. */
static void make_series(struct load *load) {
    static const char *const keys[8] = {"arch",   "datacenter", "hostname", "os",
                                        "region", "service",    "team",     "zone"};
    char values[8][32];
    struct err err;
    for (uint32_t i = 0; i < load->series_count; i++) {
        char metric[32];
        struct series_key key = {.tag_count = 8};
        snprintf(metric, sizeof(metric), "cpu.usage_%u", i % 10);
        key.metric = str_of(metric);
        for (uint32_t t = 0; t < 8; t++) {
            snprintf(values[t], sizeof(values[t]), "%s_%u", keys[t], t == 2 ? i / 10 : i / 10 % 7);
            key.tags[t] = (struct tag){str_of(keys[t]), str_of(values[t])};
        }
        if (index_series(store_index(load->store), &key, &load->all[i], &err) < 0) {
            printf("series %u refused: %s\n", i, err.message);
            load->series_count = i;
        }
    }
}

/* A point for each of the series from `from` on: small integers, or percentages with two digits. */
static void make_batch(struct load *load, uint32_t from, int64_t time_ms) {
    struct store_batch *batch = &load->batch;
    int64_t begin = clock_thread_cpu_ns();
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t r = next_random(load);
        double percent = (double)(r % 10000) / 100;
        batch_series[i] = load->all[from + i];
        batch_time_ms[i] = time_ms;
        batch_is_float[i] = (from + i) % 100 < load->doubles_percent;
        batch_bits[i] = batch_is_float[i] ? points_bits_of(percent) : r % 100;
    }
    load->made_ns += clock_thread_cpu_ns() - begin;
}

/* One round: each series gets a point 10 s after its last. */
static void run_round(struct load *load, int64_t time_ms) {
    struct err err;
    for (uint32_t from = 0; from < load->series_count; from += load->batch_count) {
        uint32_t left = load->series_count - from;
        struct store_batch *batch = &load->batch;
        batch->count = left < load->batch_count ? left : load->batch_count;
        make_batch(load, from, time_ms);
        store_writers_enter(load->store);
        enum rc rc = store_append(load->store, batch, NULL, &err);
        store_writers_leave(load->store);
        if (rc < 0 && rc != RC_THROTTLE)
            die("append", &err);
        load->points += rc < 0 ? 0 : batch->count;
        load->refused += rc < 0 ? batch->count : 0;
    }
}

/* The machine's own limit: the same points, each stored behind the last one of its series and
   nothing more. Points per nanosecond. */
static double bare_rate(const struct load *load) {
    enum { CELLS = 32, SLICE_NS = 300000000 };
    struct bare {
        struct head_cell *cells;
        uint64_t count;
    } *all = calloc(load->series_count, sizeof(*all));
    struct head_cell *cells = calloc((size_t)load->series_count * CELLS, sizeof(*cells));
    if (all == NULL || cells == NULL)
        abort();
    for (uint32_t i = 0; i < load->series_count; i++)
        all[i].cells = cells + (size_t)i * CELLS;
    int64_t begin_ns = clock_thread_cpu_ns(), spent_ns = 0;
    uint64_t points = 0;
    for (int64_t time_ms = 1; spent_ns < SLICE_NS; time_ms += 10000) {
        for (uint32_t i = 0; i < load->series_count; i++)
            all[i].cells[all[i].count++ % CELLS] = (struct head_cell){time_ms, i};
        points += load->series_count;
        spent_ns = clock_thread_cpu_ns() - begin_ns;
    }
    free(cells);
    free(all);
    return (double)points / (double)spent_ns;
}

static void report(struct load *load, const struct rate *rate, int64_t wall_ns) {
    struct store_stats stats;
    store_stats(load->store, &stats);
    printf("points                     %12" PRIu64 "\n", load->points);
    printf("points refused             %12" PRIu64 "\n", load->refused);
    rate_print(rate, load->points, load->made_ns);
    double bare = bare_rate(load);
    printf("bare stores of the points  %12.2f M, best half second %.2f of it\n", bare * 1e3,
           rate->best / bare);
    printf("points per second          %12.2f M\n", (double)load->points * 1e3 / (double)wall_ns);
    printf("log bytes a point          %12.2f\n", (double)stats.log.end / (double)load->points);
    printf("head bytes                 %12" PRIu64 "\n", stats.head_bytes);
    printf("checkpoints                %12" PRIu64 "\n", stats.checkpoints);
    printf("segment bytes              %12" PRIu64 "\n", stats.segment_bytes);
}

static uint32_t argument(int argc, char **argv, int i, uint32_t otherwise) {
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : otherwise;
}

static void *allocate(size_t count, size_t size) {
    void *p = calloc(count, size);
    if (p == NULL)
        abort();
    return p;
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 ? argv[1] : "/tmp/bench_append";
    uint32_t seconds = argument(argc, argv, 2, 5);
    struct load load = {.batch_count = argument(argc, argv, 3, 10000),
                        .series_count = argument(argc, argv, 4, 40000),
                        .doubles_percent = argument(argc, argv, 5, 50),
                        .random = 88172645463325252u};
    struct err err;
    struct budget budget;
    struct medium *medium;
    struct store_options options;
    if (load.batch_count < 1 || load.batch_count > LIMIT_BATCH_POINTS)
        load.batch_count = 10000;
    machine_tune_allocator();
    size_t limit = (size_t)argument(argc, argv, 6, 2048) << 20;
    budget_init(&budget, limit, NULL);
    if (file_medium_open(directory, &medium, &err) < 0)
        die("medium", &err);
    store_options_default(&options, limit);
    options.medium = medium;
    options.clock = &clock_system;
    options.budget = &budget;
    int64_t open_ns = clock_monotonic_ns();
    if (store_open(&options, &load.store, &err) < 0)
        die("store", &err);
    struct store_stats opened;
    store_stats(load.store, &opened);
    printf("opened, log replayed       %12.1f ms, %" PRIu64 " bytes\n",
           (double)(clock_monotonic_ns() - open_ns) / 1e6, opened.replay.bytes);
    load.all = allocate(load.series_count, sizeof(struct series *));
    load.batch = (struct store_batch){0, batch_series, batch_time_ms, batch_bits, batch_is_float};
    size_t before = budget_used(&budget);
    make_series(&load);
    printf("index bytes a series       %12.1f\n",
           (double)(budget_used(&budget) - before) / load.series_count);

    int64_t time_ms = clock_wall_ms(&clock_system) - 86400000;
    int64_t wall_ns = clock_monotonic_ns();
    struct rate rate = rate_begin();
    uint32_t rounds = argument(argc, argv, 7, UINT32_MAX);
    while (rounds-- > 0 && clock_monotonic_ns() - wall_ns < (int64_t)seconds * 1000000000) {
        run_round(&load, time_ms);
        time_ms += 10000;
        rate_look(&rate, load.points, load.made_ns);
    }
    report(&load, &rate, clock_monotonic_ns() - wall_ns);
    if (store_close(load.store, &err) < 0)
        die("close", &err);
    medium_close(medium);
    free(load.all);
    return 0;
}
