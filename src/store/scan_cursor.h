/*
 * Cursors of a merge: a decoded run of points of one source, with a position; and the pool they
 * come from. Private to scan*.c.
 */
#pragma once

#include "base/budget.h"
#include "base/vec.h"
#include "model/limits.h"
#include "model/points.h"

#include <stdbool.h>
#include <stdint.h>

/* A decoded piece, or the merged output. `time_ms`, `bits` and `mask` point at its own room, or
   into a tail that is in order already. */
struct scan_cursor {
    const int64_t *time_ms;
    const uint64_t *bits;
    const uint64_t *mask;
    uint32_t at;
    uint32_t end;
    uint32_t rank;
    enum points_kind kind;
    size_t bytes; /* of the allocation, charged */
    int64_t *time_room;
    uint64_t *bits_room;
    uint64_t *mask_room;
    uint64_t room[];
};

VEC_DECLARE(scan_cursor_vec, struct scan_cursor *)

/* Free cursors with room for a full vector. A zeroed pool with a budget (may be NULL) is empty. */
struct scan_cursor_pool {
    struct scan_cursor_vec free;
    struct budget *budget;
};

/* A cursor with room for a full vector, holding nothing; NULL over budget or out of memory. */
struct scan_cursor *scan_cursor_take(struct scan_cursor_pool *pool);

/* Gives a cursor back. NULL is harmless. */
void scan_cursor_give(struct scan_cursor_pool *pool, struct scan_cursor *cursor);
void scan_cursor_pool_fini(struct scan_cursor_pool *pool);

/* Makes a cursor hold nothing, in its own room. */
void scan_cursor_clear(struct scan_cursor *cursor);

/* Moves what is left of a cursor to one with little room, if it fits and memory allows. */
struct scan_cursor *scan_cursor_shrink(struct scan_cursor_pool *pool, struct scan_cursor *cursor);

/* First position in [at, end) whose time is >= `time_ms`. */
uint32_t scan_cursor_find(const struct scan_cursor *cursor, int64_t time_ms);

/* Narrows [at, end) to [from_ms, to_ms]. */
void scan_cursor_clip(struct scan_cursor *cursor, int64_t from_ms, int64_t to_ms);

/* Sets or clears bit `i` of the cursor's own mask. */
void scan_cursor_mask(struct scan_cursor *cursor, uint32_t i, bool is_float);

/* Appends the next `n` points of `from` to `to`, which has room; adds their kinds to *kinds. */
void scan_cursor_copy(struct scan_cursor *to, const struct scan_cursor *from, uint32_t n,
                      unsigned *kinds);

/* Positions [at, end) as points, borrowed. */
void scan_cursor_view(const struct scan_cursor *cursor, uint32_t at, uint32_t end,
                      enum points_kind kind, struct points *points);

static inline int64_t scan_cursor_time(const struct scan_cursor *cursor) {
    return cursor->time_ms[cursor->at];
}

static inline bool scan_cursor_is_float(const struct scan_cursor *cursor, uint32_t i) {
    return cursor->kind == POINTS_DOUBLES ||
           (cursor->kind == POINTS_MIXED && (cursor->mask[i / 64] >> (i % 64) & 1) != 0);
}

/* The kinds of points met, as a set of bits: scan_cursor_kind_bit of each, combined. */
static inline unsigned scan_cursor_kind_bit(bool is_float) {
    return is_float ? 2 : 1;
}

static inline enum points_kind scan_cursor_kind(unsigned kinds) {
    return kinds == 1 ? POINTS_INTEGERS : kinds == 2 ? POINTS_DOUBLES : POINTS_MIXED;
}
