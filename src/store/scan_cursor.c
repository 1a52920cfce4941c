#include "store/scan_cursor.h"

#include <stdlib.h>
#include <string.h>

enum {
    POOL_MAX = 8,      /* free cursors kept from series to series */
    SMALL_POINTS = 64, /* room of a shrunk cursor */
};

static struct scan_cursor *cursor_new(struct scan_cursor_pool *pool, uint32_t points) {
    size_t words = 2 * (size_t)points + (points + 63) / 64;
    size_t bytes = sizeof(struct scan_cursor) + words * sizeof(uint64_t);
    if (pool->budget != NULL && !budget_charge(pool->budget, bytes))
        return NULL;
    struct scan_cursor *cursor = malloc(bytes);
    if (cursor == NULL) {
        if (pool->budget != NULL)
            budget_release(pool->budget, bytes);
        return NULL;
    }
    cursor->bytes = bytes;
    cursor->time_room = (int64_t *)cursor->room;
    cursor->bits_room = cursor->room + points;
    cursor->mask_room = cursor->room + 2 * (size_t)points;
    return cursor;
}

static void cursor_free(struct scan_cursor_pool *pool, struct scan_cursor *cursor) {
    if (cursor == NULL)
        return;
    if (pool->budget != NULL)
        budget_release(pool->budget, cursor->bytes);
    free(cursor);
}

struct scan_cursor *scan_cursor_take(struct scan_cursor_pool *pool) {
    if (pool->free.n > 0)
        return pool->free.p[--pool->free.n];
    return cursor_new(pool, LIMIT_VECTOR_POINTS);
}

void scan_cursor_give(struct scan_cursor_pool *pool, struct scan_cursor *cursor) {
    if (cursor == NULL)
        return;
    bool full = cursor->bits_room - cursor->room >= LIMIT_VECTOR_POINTS;
    if (!full || pool->free.n >= POOL_MAX || !scan_cursor_vec_push(&pool->free, cursor))
        cursor_free(pool, cursor);
}

void scan_cursor_pool_fini(struct scan_cursor_pool *pool) {
    while (pool->free.n > 0)
        cursor_free(pool, pool->free.p[--pool->free.n]);
    scan_cursor_vec_fini(&pool->free);
}

void scan_cursor_clear(struct scan_cursor *cursor) {
    cursor->time_ms = cursor->time_room;
    cursor->bits = cursor->bits_room;
    cursor->mask = cursor->mask_room;
    cursor->at = cursor->end = 0;
}

uint32_t scan_cursor_find(const struct scan_cursor *cursor, int64_t time_ms) {
    uint32_t low = cursor->at, high = cursor->end;
    if (low == high || cursor->time_ms[high - 1] < time_ms)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (cursor->time_ms[middle] < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void scan_cursor_clip(struct scan_cursor *cursor, int64_t from_ms, int64_t to_ms) {
    cursor->at = scan_cursor_find(cursor, from_ms);
    if (to_ms < INT64_MAX)
        cursor->end = scan_cursor_find(cursor, to_ms + 1);
}

void scan_cursor_mask(struct scan_cursor *cursor, uint32_t i, bool is_float) {
    uint64_t bit = UINT64_C(1) << (i % 64);
    if (is_float)
        cursor->mask_room[i / 64] |= bit;
    else
        cursor->mask_room[i / 64] &= ~bit;
}

/* scan_cursor_mask for bits [from, end), by words. */
static void mask_fill(struct scan_cursor *cursor, uint32_t from, uint32_t end, bool is_float) {
    while (from < end) {
        uint32_t stop = (from / 64 + 1) * 64 < end ? (from / 64 + 1) * 64 : end;
        uint64_t bits =
            stop - from == 64 ? UINT64_MAX : ((UINT64_C(1) << (stop - from)) - 1) << (from % 64);
        if (is_float)
            cursor->mask_room[from / 64] |= bits;
        else
            cursor->mask_room[from / 64] &= ~bits;
        from = stop;
    }
}

void scan_cursor_copy(struct scan_cursor *to, const struct scan_cursor *from, uint32_t n,
                      unsigned *kinds) {
    memcpy(to->time_room + to->end, from->time_ms + from->at, n * sizeof(int64_t));
    memcpy(to->bits_room + to->end, from->bits + from->at, n * sizeof(uint64_t));
    if (from->kind == POINTS_MIXED) {
        for (uint32_t i = 0; i < n; i++) {
            bool is_float = scan_cursor_is_float(from, from->at + i);
            *kinds |= scan_cursor_kind_bit(is_float);
            scan_cursor_mask(to, to->end + i, is_float);
        }
    } else {
        *kinds |= scan_cursor_kind_bit(from->kind == POINTS_DOUBLES);
        mask_fill(to, to->end, to->end + n, from->kind == POINTS_DOUBLES);
    }
    to->end += n;
}

struct scan_cursor *scan_cursor_shrink(struct scan_cursor_pool *pool, struct scan_cursor *cursor) {
    uint32_t left = cursor->end - cursor->at;
    struct scan_cursor *small = left > SMALL_POINTS ? NULL : cursor_new(pool, SMALL_POINTS);
    if (small == NULL)
        return cursor;
    unsigned kinds = 0;
    scan_cursor_clear(small);
    small->rank = cursor->rank;
    scan_cursor_copy(small, cursor, left, &kinds);
    small->kind = scan_cursor_kind(kinds);
    scan_cursor_give(pool, cursor);
    return small;
}

void scan_cursor_view(const struct scan_cursor *cursor, uint32_t at, uint32_t end,
                      enum points_kind kind, struct points *points) {
    /* Borrowed: nobody writes through these. */
    *points = (struct points){
        .count = end - at,
        .kind = kind,
        .time_ms = (int64_t *)(uintptr_t)(cursor->time_ms + at),
        .bits = (uint64_t *)(uintptr_t)(cursor->bits + at),
        .float_mask = (uint64_t *)(uintptr_t)(cursor->mask + at / 64),
    };
}
