/*
 * What struct scan keeps between calls. Private to scan*.c.
 */
#pragma once

#include "store/scan_merge.h"

/* Sources that need no merging: the vectors of one segment, those of the head and its tail follow
   each other, none cut by the range, nothing deleted. Then they are handed out as they stand. */
struct scan_line {
    bool active;
    struct segment *segment; /* NULL: none has the series in the range */
    const struct vector_summary *stored;
    uint32_t stored_first; /* number of the first in the segment */
    uint32_t stored_count;
    struct head_vector *const *vectors;
    uint32_t vector_count;
    struct points tail;
    uint64_t tail_mask;
    uint32_t next;           /* vector to hand out, the stored ones first */
    struct scan_piece piece; /* the vector handed out */
};

struct scan_state {
    struct epoch_domain *epochs;
    struct scan_merge merge;
    struct head_view view;
    struct scan_line line;
    bool open;
};

/* Tries to line up what the segments (may be NULL) and the view have in the range of the merge, no
   tombstones being there: false if it must be merged. */
bool scan_line_up(struct scan_state *state, const struct segment_list *list, uint32_t series_id);

/* The next run, as scan_next. */
int scan_line_next(struct scan_state *state, struct points *points);
