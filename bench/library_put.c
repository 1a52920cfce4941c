/*
 * Appends through libbarograph: points per second of CPU of barograph_put and the threads
 * behind it (making the points up is not counted), log in real files.
 *
 *     bench_library_put [directory] [seconds] [doubles percent]
 *
 * 40,000 series of 8 tags, 10,000 points a call: small integers, and doubles with two digits.
 * Compare with bench_append, which enters the engine below the library.
 */
#include "barograph.h"
#include "os/clock.h"
#include "rate.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SERIES = 40000, BATCH = 10000 };

static barograph_series series[SERIES];
static barograph_point points[BATCH];
static unsigned doubles_percent;
static int64_t made_ns; /* CPU time it took to make the points up: not the library's */

static void check(int code, const barograph_error *error) {
    if (code == BAROGRAPH_OK)
        return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

static void open_series(barograph *db) {
    static const char *const keys[8] = {"arch",   "datacenter", "hostname", "os",
                                        "region", "service",    "team",     "zone"};
    barograph_error error;
    for (unsigned i = 0; i < SERIES; i++) {
        char metric[32];
        char values[8][32];
        barograph_tag tags[8];
        snprintf(metric, sizeof(metric), "cpu.usage_%u", i % 10);
        for (unsigned t = 0; t < 8; t++) {
            snprintf(values[t], sizeof(values[t]), "%s_%u", keys[t], t == 2 ? i / 10 : i / 10 % 7);
            tags[t] = (barograph_tag){keys[t], values[t]};
        }
        check(barograph_series_open(db, metric, tags, 8, &series[i], &error), &error);
    }
}

static void make_points(unsigned from, int64_t time_ms) {
    static uint64_t random = 88172645463325252u;
    int64_t begin = clock_thread_cpu_ns();
    for (unsigned i = 0; i < BATCH; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t r = random >> 33;
        points[i] = (barograph_point){
            .series = series[from + i], .is_double = i % 100 < doubles_percent, .time_ms = time_ms};
        if (points[i].is_double)
            points[i].value.real = (double)(r % 10000) / 100;
        else
            points[i].value.integer = (int64_t)(r % 100);
    }
    made_ns += clock_thread_cpu_ns() - begin;
}

/* A point of each series. */
static void put_round(barograph *db, int64_t time_ms) {
    barograph_error error;
    for (unsigned from = 0; from < SERIES; from += BATCH) {
        make_points(from, time_ms);
        check(barograph_put(db, points, BATCH, 0, &error), &error);
    }
}

int main(int argc, char **argv) {
    int64_t seconds = argc > 2 ? strtol(argv[2], NULL, 10) : 3;
    doubles_percent = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 50;
    barograph_options options;
    barograph_error error;
    barograph *db;
    barograph_options_default(&options);
    options.directory = argc > 1 ? argv[1] : "/tmp/bench_library_put";
    options.memory_limit_bytes = (size_t)2 << 30;
    check(barograph_open(&options, &db, &error), &error);
    open_series(db);
    uint64_t total = 0;
    int64_t time_ms = clock_wall_ms(&clock_system) - 86400000;
    int64_t wall_ns = clock_monotonic_ns();
    struct rate rate = rate_begin();
    while (clock_monotonic_ns() - wall_ns < seconds * 1000000000) {
        put_round(db, time_ms);
        total += SERIES;
        time_ms += 10000;
        rate_look(&rate, total, made_ns);
    }
    rate_print(&rate, total, made_ns);
    check(barograph_close(db, &error), &error);
    return 0;
}
