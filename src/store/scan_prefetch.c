#include "store/scan.h"
#include "store/scan_state.h"

/* How far ahead each link is fetched: the series, what it points at, what that points at. */
enum { FAR = 16, NEAR = 11, NEXT = 6 };

enum { SEGMENTS_MAX = 4 }; /* more are not worth looking for a series twice */

static inline const struct series *ahead(const struct scan_row *row, size_t at) {
    return at < row->count ? row->series[at] : NULL;
}

static void prefetch_segments(struct store *store, const struct scan_row *row,
                              const struct series *series) {
    const struct segment_list *list = store_segments(store, series->shard);
    uint32_t count = list == NULL ? 0 : list->count;
    for (uint32_t i = count < SEGMENTS_MAX ? 0 : count - SEGMENTS_MAX; i < count; i++) {
        const struct segment_info *info = segment_info(list->segments[i]);
        if (info->time_first_ms <= row->to_ms && info->time_last_ms >= row->from_ms)
            segment_prefetch(list->segments[i], series->id);
    }
}

/* The tags stand behind the series. */
void scan_prefetch(struct scan *scan, const struct scan_row *row, size_t at) {
    const struct series *far = ahead(row, at + FAR);
    const struct series *near = ahead(row, at + NEAR);
    const struct series *next = ahead(row, at + NEXT);
    if (far != NULL) {
        __builtin_prefetch(far);
        __builtin_prefetch((const char *)far + SERIES_ALIGN);
    }
    if (near != NULL)
        head_prefetch_lists(&near->head);
    if (next != NULL) {
        head_prefetch_summaries(&next->head);
        prefetch_segments(scan->state->merge.store, row, next);
    }
}

/* As if it were called for FAR series before the first: the sums wrap back. */
void scan_prefetch_first(struct scan *scan, const struct scan_row *row) {
    for (size_t at = (size_t)0 - FAR; at != 0; at++)
        scan_prefetch(scan, row, at);
}
