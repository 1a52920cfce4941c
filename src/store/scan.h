/*
 * Scanning one series over a time range: head and segments, merged, each time once, last write
 * wins.
 *
 * The scan yields runs in ascending, disjoint time order. Where vectors lie wholly inside the range
 * and nothing else overlaps them, they are yielded undecoded with their summary; everything else
 * (the tail, vectors cut by the range, overlapping writes, deleted ranges) as decoded points.
 *
 * A struct scan is reused from series to series (it owns the scratch memory), belongs to one
 * thread, and pins the store's epoch between scan_open and scan_close. Damaged vectors are skipped
 * and counted in `damaged`.
 *
 * A payload is touched only when somebody asks for it: a consumer that needs no more than the
 * summary reads nothing else.
 */
#pragma once

#include "base/budget.h"
#include "base/err.h"
#include "codec/vector.h"
#include "model/points.h"

#include <stdint.h>

struct store;
struct series;

enum scan_outcome {
    SCAN_END = 0,
    SCAN_VECTOR = 1, /* scan->summary is set: scan_payload or scan_decode give the rest */
    SCAN_POINTS = 2  /* scan->points is set: one or more points, borrowed until the next call */
};

struct scan_state; /* sources and scratch: defined in scan.c */

struct scan {
    const struct vector_summary *summary; /* borrowed until scan_close */
    struct points points;
    uint64_t damaged;     /* vectors skipped because their bytes fail their checksum */
    uint64_t points_seen; /* points yielded so far, by summary or decoded */
    uint64_t bytes_seen;  /* payload bytes of the vectors touched so far */
    struct scan_state *state;
};

enum rc scan_init(struct scan *scan, struct store *store, struct budget *budget) MUST_USE;
void scan_fini(struct scan *scan);

/* Starts on [from_ms, to_ms], both inclusive. Retention hides what is past it. */
enum rc scan_open(struct scan *scan, struct series *series, int64_t from_ms,
                  int64_t to_ms) MUST_USE;

/* The next run: an enum scan_outcome, or a negative rc. */
int scan_next(struct scan *scan) MUST_USE;

/* After SCAN_VECTOR: its payload, verified, borrowed until scan_close. RC_CORRUPT if it is damaged
   (counted and reported): then the caller leaves this vector out and goes on with scan_next. */
enum rc scan_payload(struct scan *scan, const uint8_t **payload) MUST_USE;

/* After SCAN_VECTOR: decodes it into scan->points, borrowed until the next call. RC_CORRUPT as in
   scan_payload. */
enum rc scan_decode(struct scan *scan) MUST_USE;

void scan_close(struct scan *scan);

/* ---- many series in turn ---- */

/* Series that are scanned one after the other, all over the same range. */
struct scan_row {
    struct series *const *series; /* NULL where one is gone */
    size_t count;
    int64_t from_ms;
    int64_t to_ms;
};

/* Series lie all over memory, and each is a chain of pointers. Whoever scans a row calls
   scan_prefetch_first once, and scan_prefetch before the scan of row->series[at]: that brings links
   of the next ones into cache while this one is read. Pinned. */
void scan_prefetch_first(struct scan *scan, const struct scan_row *row);
void scan_prefetch(struct scan *scan, const struct scan_row *row, size_t at);

/* ---- the newest point ---- */

/* The newest point of a series at or before `to_ms` and not before `from_ms`: 1 found, 0 none, or a
   negative rc. Reads the newest sources first. */
int scan_last(struct scan *scan, struct series *series, int64_t from_ms, int64_t to_ms,
              int64_t *time_ms, struct value *value) MUST_USE;
