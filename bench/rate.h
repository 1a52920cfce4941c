/*
 * Points per second of CPU, of a whole run and of its best half second: what else the machine has
 * to do only ever makes a program slower.
 */
#pragma once

#include "os/clock.h"

#include <stdint.h>
#include <stdio.h>

struct rate {
    int64_t begin_ns; /* CPU, of the run */
    int64_t slice_ns; /* CPU, of the slice */
    int64_t wall_ns;  /* when the slice began */
    uint64_t slice_points;
    double best; /* points a nanosecond */
};

static inline struct rate rate_begin(void) {
    int64_t cpu_ns = clock_process_cpu_ns();
    return (struct rate){.begin_ns = cpu_ns, .slice_ns = cpu_ns, .wall_ns = clock_monotonic_ns()};
}

/* `points` so far; `other_ns`: CPU time so far that is not to be counted. */
static inline void rate_look(struct rate *rate, uint64_t points, int64_t other_ns) {
    int64_t wall_ns = clock_monotonic_ns();
    if (wall_ns - rate->wall_ns < 500000000)
        return;
    int64_t cpu_ns = clock_process_cpu_ns() - other_ns;
    double now = (double)(points - rate->slice_points) / (double)(cpu_ns - rate->slice_ns);
    rate->best = now > rate->best ? now : rate->best;
    rate->wall_ns = wall_ns;
    rate->slice_ns = cpu_ns;
    rate->slice_points = points;
}

static inline void rate_print(const struct rate *rate, uint64_t points, int64_t other_ns) {
    int64_t spent_ns = clock_process_cpu_ns() - other_ns - rate->begin_ns;
    printf("points per second of CPU   %12.2f M, best half second %.2f M\n",
           (double)points * 1e3 / (double)spent_ns, rate->best * 1e3);
}
