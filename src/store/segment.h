/*
 * Segments: immutable objects with the vectors of one shard and one time window, sorted by series
 * id and then by time. docs/format/segment.md has the byte tables.
 *
 *   payload blocks   vector payloads back to back
 *   groups           the series ids and packed vector summaries of a run of series: a scan over
 *                    headers touches nothing else
 *   directory        where every group and payload block is, with its checksum; stored twice
 *   footer           counts, time range, sequence, place of the directory, checksum; stored twice
 *
 * Groups and blocks are verified on first touch. Groups (and payload blocks that are compressed)
 * are expanded into memory then, and stay there until segment_trim or the last unref. A damaged one
 * is counted once, isolated (its vectors are RC_CORRUPT), and the rest is served.
 *
 * Recency: within a shard a segment with a larger sequence holds newer writes; where two have the
 * same series and millisecond, the larger sequence wins.
 */
#pragma once

#include "base/budget.h"
#include "base/err.h"
#include "codec/vector.h"
#include "medium/medium.h"
#include "store/epoch.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct segment;
struct segment_writer;

struct segment_info {
    char name[104]; /* object name */
    uint32_t shard;
    uint64_t sequence;
    int64_t window_from_ms; /* the window it belongs to: [from, to) */
    int64_t window_to_ms;
    int64_t time_first_ms; /* of its points */
    int64_t time_last_ms;
    uint64_t series_count;
    uint64_t vector_count;
    uint64_t point_count;
    uint64_t bytes;
    uint64_t checksum; /* of the footer; the manifest keeps it */
    bool tight;        /* as compaction writes: encoded with VECTOR_TIGHT, payload blocks
                          compressed where it pays (such a block is expanded when touched) */
};

/* ---- writing ---- */

/* Starts a segment; `info` gives name, shard, sequence, window, tight. */
enum rc segment_writer_new(struct medium *medium, const struct segment_info *info,
                           struct segment_writer **out, struct err *err) MUST_USE;

/* Adds one encoded vector. Series ids ascending; within a series, times ascending and disjoint. */
enum rc segment_writer_add(struct segment_writer *writer, uint32_t series_id,
                           const struct vector_summary *summary, const uint8_t *payload,
                           struct err *err) MUST_USE;

/* Writes the rest, commits the object, fills *info, frees the writer whatever the outcome. */
enum rc segment_writer_commit(struct segment_writer *writer, struct segment_info *info,
                              struct err *err) MUST_USE;
void segment_writer_abort(struct segment_writer *writer);

/* ---- reading ---- */

/* Opens a committed segment and checks its footer. The segment starts with one reference. */
enum rc segment_open(struct medium *medium, const char *name, struct segment **out,
                     struct err *err) MUST_USE;
void segment_ref(struct segment *segment);
void segment_unref(struct segment *segment); /* NULL is harmless; the last one closes the object */
const struct segment_info *segment_info(const struct segment *segment);

/* The largest series id it has points of; 0 if it is empty. */
uint32_t segment_series_id_max(const struct segment *segment);

/* After this the object is removed from the medium when the last reference goes. */
void segment_discard(struct segment *segment);

/* Charges what is expanded to `budget` and lets segment_trim retire it through `epochs`; whoever
   borrows from the segment is then pinned to that domain. Called once, before the segment is
   shared; without it nothing is charged and segment_trim does nothing. */
void segment_use_memory(struct segment *segment, struct budget *budget,
                        struct epoch_domain *epochs);

/* Gives back what is expanded (it is expanded again when touched); returns the bytes. */
size_t segment_trim(struct segment *segment);

/* The vectors of a series: *count summaries, borrowed while the segment is referenced and, where it
   can be trimmed, the caller pinned (0 if it has none). RC_CORRUPT if their group is damaged,
   RC_NOMEM, RC_IO. Cost: two interpolation searches. */
enum rc segment_vectors(struct segment *segment, uint32_t series_id,
                        const struct vector_summary **summaries, uint32_t *first,
                        uint32_t *count) MUST_USE;

/* Brings into cache what segment_vectors of this series will give, if that is expanded already. */
void segment_prefetch(const struct segment *segment, uint32_t series_id);

/* Payload of vector `first + i` as numbered by segment_vectors; verified. */
enum rc segment_payload(struct segment *segment, uint32_t vector, const uint8_t **payload) MUST_USE;

/* Walks all series ids in order: *cursor starts at 0. 1: *series_id is the next; 0: the end;
   negative: a group could not be read, RC_CORRUPT (the next call goes on behind it), RC_NOMEM or
   RC_IO (the next call tries again). */
int segment_next_series(struct segment *segment, uint64_t *cursor, uint32_t *series_id) MUST_USE;

/* Verifies every group and block again, from the medium; returns the number damaged. */
uint64_t segment_scrub(struct segment *segment);

/* Damaged groups and blocks met so far. */
uint64_t segment_damaged(const struct segment *segment);

/* True once for each damaged group or block met: whoever gets it reports it. */
bool segment_take_damage(struct segment *segment);
