/*
 * Most scans have nothing to merge: points came in order and are still in the head, or a checkpoint
 * has put them into one segment. Then no piece is made and no cursor opened.
 */
#include "store/scan_state.h"

/* Where the sources seen so far end. */
struct front {
    int64_t from_ms;
    int64_t to_ms;
    int64_t last_ms;
};

/* Whether a run of times comes after all before it. Those outside of the range may be anywhere. */
enum place { PLACE_OUTSIDE, PLACE_NEXT, PLACE_BAD };

static inline enum place place_of(struct front *front, int64_t first_ms, int64_t last_ms) {
    if (last_ms < front->from_ms || first_ms > front->to_ms)
        return PLACE_OUTSIDE;
    if (first_ms < front->from_ms || last_ms > front->to_ms || first_ms <= front->last_ms)
        return PLACE_BAD;
    front->last_ms = last_ms;
    return PLACE_NEXT;
}

/* Takes the vectors of a segment; at most one may have any in the range. */
static bool line_up_segment(struct scan_line *line, struct front *front, struct segment *segment,
                            uint32_t series_id) {
    const struct segment_info *info = segment_info(segment);
    if (info->time_first_ms > front->to_ms || info->time_last_ms < front->from_ms)
        return true;
    const struct vector_summary *summaries;
    uint32_t first, count, begin, end;
    if (segment_vectors(segment, series_id, &summaries, &first, &count) != RC_OK)
        return false;
    scan_merge_range(summaries, count, front->from_ms, front->to_ms, &begin, &end);
    if (begin == end)
        return true;
    if (line->segment != NULL || place_of(front, summaries[begin].time_first_ms,
                                          summaries[end - 1].time_last_ms) != PLACE_NEXT)
        return false;
    line->segment = segment;
    line->stored = summaries + begin;
    line->stored_first = first + begin;
    line->stored_count = end - begin;
    return true;
}

/* Those inside the range must stand side by side. */
static bool line_up_vectors(struct scan_line *line, struct front *front,
                            const struct head_view *view) {
    uint32_t begin = 0, end = 0;
    for (uint32_t i = 0; i < view->vector_count; i++) {
        const struct vector_summary *summary = &view->vectors[i]->summary;
        switch (place_of(front, summary->time_first_ms, summary->time_last_ms)) {
        case PLACE_BAD:
            return false;
        case PLACE_OUTSIDE:
            continue;
        case PLACE_NEXT:
            break;
        }
        if (end == 0)
            begin = i;
        else if (end != i)
            return false;
        end = i + 1;
    }
    line->vectors = end == 0 ? NULL : view->vectors + begin;
    line->vector_count = end - begin;
    return true;
}

_Static_assert(LIMIT_TAIL_POINTS < 64, "a tail's mask is one word");

static bool line_up_tail(struct scan_line *line, struct front *front,
                         const struct head_view *view) {
    uint32_t begin = 0, end = view->tail_count;
    const int64_t *times = view->tail_time_ms;
    for (uint32_t i = 1; i < end; i++)
        if (times[i] <= times[i - 1])
            return false;
    while (begin < end && times[begin] < front->from_ms)
        begin++;
    while (begin < end && times[end - 1] > front->to_ms)
        end--;
    uint32_t count = end - begin;
    line->tail = (struct points){.count = count};
    if (count == 0)
        return true;
    if (place_of(front, times[begin], times[end - 1]) != PLACE_NEXT)
        return false;
    line->tail_mask = view->tail_float_mask >> begin & ((UINT64_C(1) << count) - 1);
    line->tail = (struct points){
        .count = count,
        .kind = points_kind_of(line->tail_mask, count),
        .time_ms = (int64_t *)(uintptr_t)times + begin,
        .bits = (uint64_t *)(uintptr_t)view->tail_bits + begin,
        .float_mask = &line->tail_mask,
    };
    return true;
}

bool scan_line_up(struct scan_state *state, const struct segment_list *list, uint32_t series_id) {
    struct scan_line *line = &state->line;
    struct front front = {state->merge.from_ms, state->merge.to_ms, INT64_MIN};
    line->segment = NULL;
    line->stored_count = 0;
    line->next = 0;
    for (uint32_t i = 0; list != NULL && i < list->count; i++)
        if (!line_up_segment(line, &front, list->segments[i], series_id))
            return false;
    line->active =
        line_up_vectors(line, &front, &state->view) && line_up_tail(line, &front, &state->view);
    return line->active;
}

int scan_line_next(struct scan_state *state, struct points *points) {
    struct scan_line *line = &state->line;
    struct scan_piece *piece = &line->piece;
    uint32_t vectors = line->stored_count + line->vector_count;
    uint32_t i = line->next;
    state->merge.current = NULL;
    if (i > vectors || (i == vectors && line->tail.count == 0))
        return SCAN_END;
    line->next++;
    if (i == vectors) {
        *points = line->tail;
        return SCAN_POINTS;
    }
    if (i < line->stored_count) {
        piece->segment = line->segment;
        piece->summary = &line->stored[i];
        piece->vector = line->stored_first + i;
    } else {
        const struct head_vector *vector = line->vectors[i - line->stored_count];
        piece->segment = NULL;
        piece->summary = &vector->summary;
        piece->payload = vector->payload;
    }
    state->merge.current = piece;
    return SCAN_VECTOR;
}
