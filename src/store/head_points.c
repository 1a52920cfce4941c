#include "store/head_points.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

enum { INSERTION_MAX = 64 }; /* shorter columns are sorted in place */

void head_points_fini(struct head_points *points) {
    if (!points->borrowed) {
        free(points->time_ms);
        free(points->bits);
        free(points->is_float);
    }
    *points = (struct head_points){0};
}

static bool grow(void **array, size_t count, size_t size) {
    void *p = realloc(*array, count * size);
    if (p == NULL)
        return false;
    *array = p;
    return true;
}

/* Makes room for `more` points; false when memory is out. */
static bool reserve(struct head_points *points, uint32_t more) {
    if (points->capacity - points->count >= more)
        return true;
    if (points->borrowed || more > UINT32_MAX / 2 - points->count)
        return false;
    uint32_t capacity = points->count + more;
    if (capacity < points->capacity + points->capacity / 2)
        capacity = points->capacity + points->capacity / 2;
    void *time_ms = points->time_ms;
    void *bits = points->bits;
    void *is_float = points->is_float;
    bool ok = grow(&time_ms, capacity, sizeof(*points->time_ms)) &&
              grow(&bits, capacity, sizeof(*points->bits)) &&
              grow(&is_float, capacity, sizeof(*points->is_float));
    points->time_ms = time_ms;
    points->bits = bits;
    points->is_float = is_float;
    if (ok)
        points->capacity = capacity;
    return ok;
}

/* Drops what was decoded at [count, count + n) and lies outside the range; times ascend. */
static void clip(struct head_points *points, uint32_t n, int64_t from_ms, int64_t to_ms) {
    const int64_t *time_ms = points->time_ms + points->count;
    uint32_t first = 0;
    while (first < n && time_ms[first] < from_ms)
        first++;
    uint32_t end = n;
    while (end > first && time_ms[end - 1] > to_ms)
        end--;
    if (end == first)
        return;
    uint32_t at = points->count;
    if (at > 0 && time_ms[first] <= points->time_ms[at - 1])
        points->unordered = true;
    if (first > 0) {
        memmove(points->time_ms + at, points->time_ms + at + first,
                (end - first) * sizeof(int64_t));
        memmove(points->bits + at, points->bits + at + first, (end - first) * sizeof(uint64_t));
        memmove(points->is_float + at, points->is_float + at + first, end - first);
    }
    points->count = at + end - first;
}

enum rc head_points_add_vector(struct head_points *points, const struct vector_summary *summary,
                               const uint8_t *payload, int64_t from_ms, int64_t to_ms) {
    if (!reserve(points, LIMIT_VECTOR_POINTS))
        return RC_NOMEM;
    uint64_t float_mask[LIMIT_VECTOR_POINTS / 64];
    struct points decoded = {.time_ms = points->time_ms + points->count,
                             .bits = points->bits + points->count,
                             .float_mask = float_mask};
    TRY(vector_decode(summary, payload, &decoded));
    uint8_t *is_float = points->is_float + points->count;
    if (decoded.kind == POINTS_MIXED)
        for (uint32_t i = 0; i < decoded.count; i++)
            is_float[i] = float_mask[i / 64] >> (i % 64) & 1;
    else
        memset(is_float, decoded.kind == POINTS_DOUBLES, decoded.count);
    clip(points, decoded.count, from_ms, to_ms);
    return RC_OK;
}

static void move(struct head_points *to, uint32_t i, const struct head_points *from, uint32_t j) {
    to->time_ms[i] = from->time_ms[j];
    to->bits[i] = from->bits[j];
    to->is_float[i] = from->is_float[j];
}

static void sort_insertion(struct head_points *points) {
    for (uint32_t i = 1; i < points->count; i++) {
        int64_t time_ms = points->time_ms[i];
        uint64_t bits = points->bits[i];
        uint8_t is_float = points->is_float[i];
        uint32_t at = i;
        for (; at > 0 && points->time_ms[at - 1] > time_ms; at--)
            move(points, at, points, at - 1);
        points->time_ms[at] = time_ms;
        points->bits[at] = bits;
        points->is_float[at] = is_float;
    }
}

/* Merges the sorted runs [a, b) and [b, c) of `order`; equal times keep their order. */
static void merge_runs(const int64_t *time_ms, const uint32_t *order, uint32_t *out, uint32_t a,
                       uint32_t b, uint32_t c) {
    uint32_t left = a;
    uint32_t right = b;
    for (uint32_t i = a; i < c; i++) {
        bool take_left = left < b && (right >= c || time_ms[order[left]] <= time_ms[order[right]]);
        out[i] = take_left ? order[left++] : order[right++];
    }
}

/* Fills `order` with the positions in order of time, stable (bottom-up merge sort). */
static void sort_order(const int64_t *time_ms, uint32_t n, uint32_t *order, uint32_t *scratch) {
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t width = 1; width<n; width = width> n / 2 ? n : width * 2) {
        for (uint32_t a = 0; a < n;) {
            uint32_t b = n - a > width ? a + width : n;
            uint32_t c = n - b > width ? b + width : n;
            merge_runs(time_ms, order, scratch, a, b, c);
            a = c;
        }
        memcpy(order, scratch, n * sizeof(*order));
    }
}

static bool sort_merge(struct head_points *points) {
    uint32_t n = points->count;
    uint32_t *order = malloc(2 * (size_t)n * sizeof(*order));
    struct head_points sorted = {0};
    bool ok = order != NULL && reserve(&sorted, n);
    if (ok) {
        sort_order(points->time_ms, n, order, order + n);
        for (uint32_t i = 0; i < n; i++)
            move(&sorted, i, points, order[i]);
        memcpy(points->time_ms, sorted.time_ms, n * sizeof(*sorted.time_ms));
        memcpy(points->bits, sorted.bits, n * sizeof(*sorted.bits));
        memcpy(points->is_float, sorted.is_float, n);
    }
    head_points_fini(&sorted);
    free(order);
    return ok;
}

/* Keeps the last of each run of equal times. */
static void keep_last(struct head_points *points) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < points->count; i++)
        if (i + 1 == points->count || points->time_ms[i + 1] != points->time_ms[i])
            move(points, kept++, points, i);
    points->count = kept;
}

bool head_points_order(struct head_points *points) {
    if (!points->unordered)
        return true;
    if (points->count <= INSERTION_MAX)
        sort_insertion(points);
    else if (!sort_merge(points))
        return false;
    keep_last(points);
    points->unordered = false;
    return true;
}

uint32_t head_points_remove(struct head_points *points, int64_t from_ms, int64_t to_ms) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < points->count; i++)
        if (points->time_ms[i] < from_ms || points->time_ms[i] > to_ms)
            move(points, kept++, points, i);
    uint32_t removed = points->count - kept;
    points->count = kept;
    return removed;
}

void head_points_encode(const struct head_points *points, uint32_t from, uint32_t count,
                        struct vector_summary *summary, uint8_t *payload) {
    CHECK(!points->unordered);
    CHECK(count >= 1 && count <= LIMIT_VECTOR_POINTS);
    CHECK(vector_payload_bound(count) <= HEAD_PAYLOAD_MAX);
    const uint8_t *is_float = points->is_float + from;
    uint32_t floats = 0;
    for (uint32_t i = 0; i < count; i++)
        floats += is_float[i];
    uint64_t float_mask[LIMIT_VECTOR_POINTS / 64] = {0};
    struct points column = {.count = count,
                            .kind = floats == 0       ? POINTS_INTEGERS
                                    : floats == count ? POINTS_DOUBLES
                                                      : POINTS_MIXED,
                            .time_ms = points->time_ms + from,
                            .bits = points->bits + from,
                            .float_mask = float_mask};
    if (column.kind == POINTS_MIXED)
        for (uint32_t i = 0; i < count; i++)
            float_mask[i / 64] |= (uint64_t)is_float[i] << (i % 64);
    vector_encode(&column, VECTOR_FAST, summary, payload);
}
