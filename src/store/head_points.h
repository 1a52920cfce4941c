/*
 * Points on their way from one form to another inside a head or a checkpoint: gathered in order of
 * writing, put in order of time, encoded. Private to the store.
 */
#pragma once

#include "base/err.h"
#include "store/head.h"

#include <stdbool.h>
#include <stdint.h>

/* A zeroed struct is empty. With `borrowed` set the arrays belong to somebody else and cannot grow.
   Until head_points_order the points stand in order of writing, oldest write first. */
struct head_points {
    uint32_t count;
    uint32_t capacity;
    bool borrowed;
    bool unordered; /* times do not strictly ascend */
    int64_t *time_ms;
    uint64_t *bits;
    uint8_t *is_float;
};

void head_points_fini(struct head_points *points);

/* Adds the points of a vector that lie in [from_ms, to_ms]; makes room itself. RC_CORRUPT if the
   payload is not sound. */
enum rc head_points_add_vector(struct head_points *points, const struct vector_summary *summary,
                               const uint8_t *payload, int64_t from_ms, int64_t to_ms) MUST_USE;

/* Sorts by time and keeps the last write of each time. False when memory is out. */
bool head_points_order(struct head_points *points) MUST_USE;

/* Removes the points in [from_ms, to_ms]; returns how many. */
uint32_t head_points_remove(struct head_points *points, int64_t from_ms, int64_t to_ms);

/* Room for the payload of one full vector. */
enum { HEAD_PAYLOAD_MAX = 24 << 10 };

/* Encodes the ordered points [from, from + count) into `payload` (HEAD_PAYLOAD_MAX bytes). */
void head_points_encode(const struct head_points *points, uint32_t from, uint32_t count,
                        struct vector_summary *summary, uint8_t *payload);
