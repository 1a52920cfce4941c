#include "query/merge.h"

#include <stdlib.h>
#include <string.h>

/* Fewer strangers than this are not worth a merge. */
enum { PENDING_MIN = 1024 };

void merge_timeline_init(struct merge_timeline *timeline, struct budget *budget) {
    *timeline = (struct merge_timeline){
        .times.budget = budget, .pending.budget = budget, .spare.budget = budget};
}

void merge_timeline_fini(struct merge_timeline *timeline) {
    scratch_fini(&timeline->times);
    scratch_fini(&timeline->pending);
    scratch_fini(&timeline->spare);
    merge_timeline_reset(timeline);
}

void merge_timeline_reset(struct merge_timeline *timeline) {
    timeline->count = 0;
    timeline->pending_count = 0;
}

size_t merge_lower_bound(const int64_t *times, size_t count, int64_t time) {
    size_t from = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (times[from + half] < time) {
            from += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return from;
}

static int compare_times(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* Merges two ascending arrays, each value once; returns the length. */
static size_t unite(const int64_t *a, size_t a_count, const int64_t *b, size_t b_count,
                    int64_t *out) {
    size_t i = 0, j = 0, n = 0;
    while (i < a_count && j < b_count) {
        int64_t next = a[i] < b[j] ? a[i] : b[j];
        i += a[i] == next;
        j += b[j] == next;
        out[n++] = next;
    }
    for (; i < a_count; i++)
        out[n++] = a[i];
    for (; j < b_count; j++)
        out[n++] = b[j];
    return n;
}

bool merge_timeline_finish(struct merge_timeline *timeline) {
    if (timeline->pending_count == 0)
        return true;
    size_t most = timeline->count + timeline->pending_count;
    int64_t *out = SCRATCH_ARRAY(&timeline->spare, int64_t, most);
    if (out == NULL)
        return false;
    int64_t *pending = timeline->pending.p;
    qsort(pending, timeline->pending_count, sizeof(*pending), compare_times);
    size_t unique = 1;
    for (size_t i = 1; i < timeline->pending_count; i++)
        if (pending[i] != pending[unique - 1])
            pending[unique++] = pending[i];
    timeline->count = unite(timeline->times.p, timeline->count, pending, unique, out);
    timeline->pending_count = 0;
    struct scratch merged = timeline->spare;
    timeline->spare = timeline->times;
    timeline->times = merged;
    return true;
}

/* Notes the times that are not in the timeline. */
static bool add_strangers(struct merge_timeline *timeline, const int64_t *time_ms, size_t count,
                          size_t at) {
    size_t most = timeline->pending_count + count;
    int64_t *pending = SCRATCH_ARRAY(&timeline->pending, int64_t, most);
    if (pending == NULL)
        return false;
    const int64_t *times = timeline->times.p;
    size_t n = timeline->pending_count;
    for (size_t i = 0; i < count; i++) {
        while (at < timeline->count && times[at] < time_ms[i])
            at++;
        if (at < timeline->count && times[at] == time_ms[i])
            at++;
        else
            pending[n++] = time_ms[i];
    }
    timeline->pending_count = n;
    /* Merging when the strangers are as many as the rest keeps the cost amortised. */
    return n < timeline->count + PENDING_MIN || merge_timeline_finish(timeline);
}

bool merge_timeline_add(struct merge_timeline *timeline, const int64_t *time_ms, size_t count) {
    if (count == 0)
        return true;
    if (timeline->count == 0 && timeline->pending_count == 0) {
        int64_t *times = SCRATCH_ARRAY(&timeline->times, int64_t, count);
        if (times == NULL)
            return false;
        memcpy(times, time_ms, count * sizeof(*times));
        timeline->count = count;
        return true;
    }
    const int64_t *times = timeline->times.p;
    size_t at = merge_lower_bound(times, timeline->count, time_ms[0]);
    if (count <= timeline->count - at && memcmp(times + at, time_ms, count * sizeof(*times)) == 0)
        return true;
    return add_strangers(timeline, time_ms, count, at);
}
