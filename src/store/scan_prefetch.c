#include "store/scan.h"
#include "store/series.h"

/* How far ahead each link is fetched: the series, what it points at, what that points at. */
enum { FAR = 16, NEAR = 11, NEXT = 6 };

static inline const struct series *ahead(struct series *const *series, size_t count, size_t at) {
    return at < count ? series[at] : NULL;
}

/* The tags stand behind the series. */
void scan_prefetch(struct series *const *series, size_t count, size_t at) {
    const struct series *far = ahead(series, count, at + FAR);
    const struct series *near = ahead(series, count, at + NEAR);
    const struct series *next = ahead(series, count, at + NEXT);
    if (far != NULL) {
        __builtin_prefetch(far);
        __builtin_prefetch((const char *)far + SERIES_ALIGN);
    }
    if (near != NULL)
        head_prefetch_lists(&near->head);
    if (next != NULL)
        head_prefetch_summaries(&next->head);
}

/* As if it were called for FAR series before the first: the sums wrap back. */
void scan_prefetch_first(struct series *const *series, size_t count) {
    for (size_t at = (size_t)0 - FAR; at != 0; at++)
        scan_prefetch(series, count, at);
}
