/*
 * The merge under scans and compactions: the vectors of one series from several sources, put in
 * order of time, each time once, the newest write winning.
 *
 *     pieces    vectors not opened yet, sorted by their first time
 *     cursors   opened (decoded) pieces, in a heap by their next time
 *
 * The next piece is passed on undecoded if it lies wholly inside the range, no other piece begins
 * inside it and no cursor has a point inside it. Otherwise it is opened once the points before it
 * are out. So a piece that spans much time but has few points (a late one and a fresh one) does not
 * force what lies between to be decoded, and only what overlaps is in memory at a time.
 *
 * Private to scan*.c and compact*.c. Whoever uses it stays pinned from begin to the last use of
 * what it yields.
 */
#pragma once

#include "base/budget.h"
#include "base/vec.h"
#include "store/internal.h"
#include "store/scan.h"
#include "store/scan_cursor.h"

#include <stdint.h>

/* A vector of a source. Recency: the larger rank wins at equal times. */
struct scan_piece {
    int64_t time_first_ms;
    int64_t time_last_ms;
    const struct vector_summary *summary;
    struct segment *segment; /* NULL: payload is set */
    const uint8_t *payload;
    uint32_t vector; /* in the segment */
    uint32_t rank;
    bool filtered; /* touched by a tombstone: must be decoded */
};

VEC_DECLARE(scan_piece_vec, struct scan_piece)

struct scan_merge {
    struct store *store;
    struct budget *budget; /* may be NULL */
    int64_t from_ms;
    int64_t to_ms;
    const struct tombstone *tombstones; /* of the series, for pieces of segments */
    uint32_t tombstone_count;
    struct scan_piece_vec pieces;
    size_t next;                 /* piece */
    struct scan_cursor_vec heap; /* open cursors */
    struct scan_cursor_pool pool;
    struct scan_cursor *lent;         /* yielded without a copy; free at the next call */
    struct scan_cursor *out;          /* where merged points are put together */
    const struct scan_piece *current; /* yielded as SCAN_VECTOR */
    int64_t emitted_ms;               /* last time yielded; INT64_MIN: none */
    uint64_t damaged;
    uint64_t bytes_seen;
};

void scan_merge_init(struct scan_merge *merge, struct store *store, struct budget *budget);
void scan_merge_fini(struct scan_merge *merge);

/* Starts on a series: [from_ms, to_ms], both inclusive. Forgets everything before. */
void scan_merge_begin(struct scan_merge *merge, int64_t from_ms, int64_t to_ms,
                      const struct tombstone *tombstones, uint32_t tombstone_count);

/* Adds what a segment has of the series in the range. Damage is counted and reported; RC_NOMEM,
   RC_IO. */
enum rc scan_merge_add_segment(struct scan_merge *merge, struct segment *segment,
                               uint32_t series_id, uint32_t rank) MUST_USE;

/* Adds one vector of a segment. */
enum rc scan_merge_add_stored(struct scan_merge *merge, struct segment *segment, uint32_t vector,
                              const struct vector_summary *summary, uint32_t rank) MUST_USE;

/* Adds a vector in memory. */
enum rc scan_merge_add_vector(struct scan_merge *merge, const struct vector_summary *summary,
                              const uint8_t *payload, uint32_t rank) MUST_USE;

/* Adds the tail of a head: in order of arrival, a later point wins. */
enum rc scan_merge_add_tail(struct scan_merge *merge, const struct head_view *view,
                            uint32_t rank) MUST_USE;

/* After the last piece was added. */
void scan_merge_start(struct scan_merge *merge);

/* The next run: SCAN_END, SCAN_VECTOR (merge->current is set), SCAN_POINTS (*points, at most
   LIMIT_VECTOR_POINTS, borrowed until the next call), or a negative rc. */
int scan_merge_next(struct scan_merge *merge, struct points *points) MUST_USE;

/* The payload of a piece. RC_CORRUPT was counted and reported. */
enum rc scan_merge_payload(struct scan_merge *merge, const struct scan_piece *piece,
                           const uint8_t **payload) MUST_USE;

/* Decodes the current vector. */
enum rc scan_merge_decode(struct scan_merge *merge, struct points *points) MUST_USE;

/* Counts a damaged vector; reports the block if that is news. */
void scan_merge_damage(struct scan_merge *merge, struct segment *segment);

/* Of `count` vectors in order of time, those that touch [from_ms, to_ms]: [*begin, *end). */
void scan_merge_range(const struct vector_summary *summaries, uint32_t count, int64_t from_ms,
                      int64_t to_ms, uint32_t *begin, uint32_t *end);
