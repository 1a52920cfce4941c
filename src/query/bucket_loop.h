/*
 * The loops of downsampling over plain arrays, in lanes that compilers turn into vector
 * instructions.
 */
#pragma once

#include <stddef.h>

enum {
    BUCKET_LOOP_LANES = 8,
    BUCKET_LOOP_FEW = 16 /* below this many values the lanes cost more than they give */
};

/* Sums of integers below 2^53 do not depend on the order, so lanes may go side by side. */
static inline double bucket_loop_sum(const double *values, size_t n) {
    double lanes[BUCKET_LOOP_LANES] = {0};
    size_t whole = n / BUCKET_LOOP_LANES * BUCKET_LOOP_LANES;
    for (size_t i = 0; i < whole; i += BUCKET_LOOP_LANES)
        for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
            lanes[lane] += values[i + lane];
    double sum = 0;
    for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
        sum += lanes[lane];
    for (size_t i = whole; i < n; i++)
        sum += values[i];
    return sum;
}

static inline double bucket_loop_sum_in_order(const double *values, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

static inline double bucket_loop_min(const double *values, size_t n, double least) {
    if (n < BUCKET_LOOP_FEW) {
        for (size_t i = 0; i < n; i++)
            least = values[i] < least ? values[i] : least;
        return least;
    }
    double lanes[BUCKET_LOOP_LANES];
    for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
        lanes[lane] = least;
    size_t whole = n / BUCKET_LOOP_LANES * BUCKET_LOOP_LANES;
    for (size_t i = 0; i < whole; i += BUCKET_LOOP_LANES)
        for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
            lanes[lane] = values[i + lane] < lanes[lane] ? values[i + lane] : lanes[lane];
    for (size_t i = whole; i < n; i++)
        least = values[i] < least ? values[i] : least;
    for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
        least = lanes[lane] < least ? lanes[lane] : least;
    return least;
}

static inline double bucket_loop_max(const double *values, size_t n, double most) {
    if (n < BUCKET_LOOP_FEW) {
        for (size_t i = 0; i < n; i++)
            most = values[i] > most ? values[i] : most;
        return most;
    }
    double lanes[BUCKET_LOOP_LANES];
    for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
        lanes[lane] = most;
    size_t whole = n / BUCKET_LOOP_LANES * BUCKET_LOOP_LANES;
    for (size_t i = 0; i < whole; i += BUCKET_LOOP_LANES)
        for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
            lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
    for (size_t i = whole; i < n; i++)
        most = values[i] > most ? values[i] : most;
    for (size_t lane = 0; lane < BUCKET_LOOP_LANES; lane++)
        most = lanes[lane] > most ? lanes[lane] : most;
    return most;
}
