#include "store/scan_merge.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With so many cursors open, short ones are moved to small memory: a storm of late points is many
   short vectors. */
enum { MANY_OPEN = 4 };

/* ---- the heap: earliest time first, at equal times the newest write first ---- */

static inline bool before(const struct scan_cursor *a, const struct scan_cursor *b) {
    int64_t ta = scan_cursor_time(a), tb = scan_cursor_time(b);
    return ta != tb ? ta < tb : a->rank > b->rank;
}

static void heap_sift_down(struct scan_merge *merge) {
    struct scan_cursor **heap = merge->heap.p;
    size_t n = merge->heap.n, i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            return;
        if (child + 1 < n && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], heap[i]))
            return;
        struct scan_cursor *swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
        i = child;
    }
}

static bool heap_push(struct scan_merge *merge, struct scan_cursor *cursor) {
    if (!scan_cursor_vec_push(&merge->heap, cursor))
        return false;
    struct scan_cursor **heap = merge->heap.p;
    for (size_t i = merge->heap.n - 1; i > 0 && before(heap[i], heap[(i - 1) / 2]);
         i = (i - 1) / 2) {
        struct scan_cursor *swap = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = swap;
    }
    return true;
}

static struct scan_cursor *heap_pop(struct scan_merge *merge) {
    struct scan_cursor *top = merge->heap.p[0];
    merge->heap.p[0] = merge->heap.p[--merge->heap.n];
    heap_sift_down(merge);
    return top;
}

/* After the top has advanced. */
static void heap_fix_top(struct scan_merge *merge) {
    if (merge->heap.p[0]->at == merge->heap.p[0]->end)
        scan_cursor_give(&merge->pool, heap_pop(merge));
    else
        heap_sift_down(merge);
}

/* Puts a clipped cursor on the heap, or back if it is empty. */
static enum rc cursor_enter(struct scan_merge *merge, struct scan_cursor *cursor) {
    if (cursor->at == cursor->end) {
        scan_cursor_give(&merge->pool, cursor);
        return RC_OK;
    }
    if (heap_push(merge, cursor))
        return RC_OK;
    scan_cursor_give(&merge->pool, cursor);
    return RC_NOMEM;
}

/* ---- life ---- */

void scan_merge_init(struct scan_merge *merge, struct store *store, struct budget *budget) {
    *merge = (struct scan_merge){.store = store, .budget = budget, .pool = {.budget = budget}};
}

static void forget(struct scan_merge *merge) {
    while (merge->heap.n > 0)
        scan_cursor_give(&merge->pool, merge->heap.p[--merge->heap.n]);
    scan_cursor_give(&merge->pool, merge->lent);
    merge->lent = NULL;
    merge->pieces.n = merge->next = 0;
    merge->current = NULL;
}

void scan_merge_fini(struct scan_merge *merge) {
    forget(merge);
    scan_cursor_give(&merge->pool, merge->out);
    scan_cursor_pool_fini(&merge->pool);
    if (merge->budget != NULL)
        budget_release(merge->budget, merge->pieces.capacity * sizeof(*merge->pieces.p));
    scan_piece_vec_fini(&merge->pieces);
    scan_cursor_vec_fini(&merge->heap);
    *merge = (struct scan_merge){0};
}

void scan_merge_begin(struct scan_merge *merge, int64_t from_ms, int64_t to_ms,
                      const struct tombstone *tombstones, uint32_t tombstone_count) {
    if (merge->heap.n > 0 || merge->lent != NULL)
        forget(merge);
    merge->pieces.n = merge->next = 0;
    merge->current = NULL;
    merge->from_ms = from_ms;
    merge->to_ms = to_ms;
    merge->tombstones = tombstones;
    merge->tombstone_count = tombstone_count;
    merge->emitted_ms = INT64_MIN;
}

/* ---- adding sources ---- */

static enum rc grow_pieces(struct scan_merge *merge) {
    size_t had = merge->pieces.capacity, capacity = had == 0 ? 16 : 2 * had;
    size_t bytes = (capacity - had) * sizeof(*merge->pieces.p);
    if (merge->budget != NULL && !budget_charge(merge->budget, bytes))
        return RC_THROTTLE;
    struct scan_piece *p = realloc(merge->pieces.p, capacity * sizeof(*p));
    if (p == NULL) {
        if (merge->budget != NULL)
            budget_release(merge->budget, bytes);
        return RC_NOMEM;
    }
    merge->pieces.p = p;
    merge->pieces.capacity = capacity;
    return RC_OK;
}

static enum rc push_piece(struct scan_merge *merge, const struct scan_piece *piece) {
    if (UNLIKELY(merge->pieces.n == merge->pieces.capacity))
        TRY(grow_pieces(merge));
    merge->pieces.p[merge->pieces.n++] = *piece;
    return RC_OK;
}

void scan_merge_range(const struct vector_summary *summaries, uint32_t count, int64_t from_ms,
                      int64_t to_ms, uint32_t *begin, uint32_t *end) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (summaries[middle].time_last_ms < from_ms)
            low = middle + 1;
        else
            high = middle;
    }
    *begin = low;
    high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (summaries[middle].time_first_ms <= to_ms)
            low = middle + 1;
        else
            high = middle;
    }
    *end = low;
}

/* What tombstones do to a piece of a segment: 0 nothing, 1 hide some of it, 2 hide all. */
static int tombstones_on(const struct scan_merge *merge, const struct scan_piece *piece,
                         uint64_t sequence) {
    int effect = 0;
    for (uint32_t i = 0; i < merge->tombstone_count; i++) {
        const struct tombstone *tombstone = &merge->tombstones[i];
        if (sequence > tombstone->sequence || tombstone->to_ms < piece->time_first_ms ||
            tombstone->from_ms > piece->time_last_ms)
            continue;
        if (tombstone->from_ms <= piece->time_first_ms && tombstone->to_ms >= piece->time_last_ms)
            return 2;
        effect = 1;
    }
    return effect;
}

void scan_merge_damage(struct scan_merge *merge, struct segment *segment) {
    merge->damaged++;
    while (segment != NULL && segment_take_damage(segment)) {
        char what[160];
        snprintf(what, sizeof(what), "segment %s: a block fails its checksum",
                 segment_info(segment)->name);
        store_damage(merge->store, what);
    }
}

enum rc scan_merge_add_stored(struct scan_merge *merge, struct segment *segment, uint32_t vector,
                              const struct vector_summary *summary, uint32_t rank) {
    struct scan_piece piece = {
        .time_first_ms = summary->time_first_ms,
        .time_last_ms = summary->time_last_ms,
        .summary = summary,
        .segment = segment,
        .vector = vector,
        .rank = rank,
    };
    int effect = merge->tombstone_count == 0
                     ? 0
                     : tombstones_on(merge, &piece, segment_info(segment)->sequence);
    piece.filtered = effect == 1;
    return effect == 2 ? RC_OK : push_piece(merge, &piece);
}

enum rc scan_merge_add_segment(struct scan_merge *merge, struct segment *segment,
                               uint32_t series_id, uint32_t rank) {
    const struct segment_info *info = segment_info(segment);
    if (info->time_first_ms > merge->to_ms || info->time_last_ms < merge->from_ms)
        return RC_OK;
    const struct vector_summary *summaries;
    uint32_t first, count, begin, end;
    enum rc rc = segment_vectors(segment, series_id, &summaries, &first, &count);
    if (rc == RC_CORRUPT) {
        scan_merge_damage(merge, segment);
        return RC_OK;
    }
    TRY(rc);
    scan_merge_range(summaries, count, merge->from_ms, merge->to_ms, &begin, &end);
    for (uint32_t v = begin; v < end; v++)
        TRY(scan_merge_add_stored(merge, segment, first + v, &summaries[v], rank));
    return RC_OK;
}

enum rc scan_merge_add_vector(struct scan_merge *merge, const struct vector_summary *summary,
                              const uint8_t *payload, uint32_t rank) {
    if (summary->time_first_ms > merge->to_ms || summary->time_last_ms < merge->from_ms)
        return RC_OK;
    struct scan_piece piece = {
        .time_first_ms = summary->time_first_ms,
        .time_last_ms = summary->time_last_ms,
        .summary = summary,
        .payload = payload,
        .rank = rank,
    };
    return push_piece(merge, &piece);
}

/* Insertion sort by time that drops the older of two points with one time. */
static void sort_tail(struct scan_cursor *cursor, const struct head_view *view) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < view->tail_count; i++) {
        int64_t time_ms = view->tail_time_ms[i];
        uint32_t at = n;
        while (at > 0 && cursor->time_room[at - 1] >= time_ms)
            at--;
        if (at == n || cursor->time_room[at] != time_ms) {
            for (uint32_t j = n; j > at; j--) {
                cursor->time_room[j] = cursor->time_room[j - 1];
                cursor->bits_room[j] = cursor->bits_room[j - 1];
                scan_cursor_mask(cursor, j, (cursor->mask_room[0] >> (j - 1) & 1) != 0);
            }
            n++;
        }
        cursor->time_room[at] = time_ms;
        cursor->bits_room[at] = view->tail_bits[i];
        scan_cursor_mask(cursor, at, (view->tail_float_mask >> i & 1) != 0);
    }
    cursor->end = n;
    cursor->kind = points_kind_of(cursor->mask_room[0], n);
}

enum rc scan_merge_add_tail(struct scan_merge *merge, const struct head_view *view, uint32_t rank) {
    uint32_t n = view->tail_count;
    if (n == 0)
        return RC_OK;
    bool ordered = true, touches = false;
    for (uint32_t i = 0; i < n; i++) {
        int64_t time_ms = view->tail_time_ms[i];
        ordered &= i == 0 || time_ms > view->tail_time_ms[i - 1];
        touches |= time_ms >= merge->from_ms && time_ms <= merge->to_ms;
    }
    if (!touches)
        return RC_OK;
    struct scan_cursor *cursor = scan_cursor_take(&merge->pool);
    if (cursor == NULL)
        return RC_THROTTLE;
    scan_cursor_clear(cursor);
    cursor->rank = rank;
    cursor->mask_room[0] = view->tail_float_mask;
    if (ordered) {
        memcpy(cursor->time_room, view->tail_time_ms, n * sizeof(cursor->time_room[0]));
        memcpy(cursor->bits_room, view->tail_bits, n * sizeof(cursor->bits_room[0]));
        cursor->end = n;
        cursor->kind = points_kind_of(view->tail_float_mask, n);
    } else {
        sort_tail(cursor, view);
    }
    scan_cursor_clip(cursor, merge->from_ms, merge->to_ms);
    return cursor_enter(merge, cursor);
}

/* ---- order ---- */

static int compare_pieces(const void *a, const void *b) {
    const struct scan_piece *x = a, *y = b;
    if (x->time_first_ms != y->time_first_ms)
        return x->time_first_ms < y->time_first_ms ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

void scan_merge_start(struct scan_merge *merge) {
    for (size_t i = 1; i < merge->pieces.n; i++) {
        if (compare_pieces(&merge->pieces.p[i - 1], &merge->pieces.p[i]) > 0) {
            qsort(merge->pieces.p, merge->pieces.n, sizeof(*merge->pieces.p), compare_pieces);
            return;
        }
    }
}

/* ---- opening ---- */

enum rc scan_merge_payload(struct scan_merge *merge, const struct scan_piece *piece,
                           const uint8_t **payload) {
    enum rc rc = RC_OK;
    if (piece->segment == NULL)
        *payload = piece->payload;
    else
        rc = segment_payload(piece->segment, piece->vector, payload);
    if (rc == RC_CORRUPT)
        scan_merge_damage(merge, piece->segment);
    else if (rc == RC_OK)
        merge->bytes_seen += piece->summary->payload_bytes;
    return rc;
}

static enum rc decode_into(struct scan_merge *merge, const struct scan_piece *piece,
                           struct scan_cursor *cursor) {
    const uint8_t *payload;
    TRY(scan_merge_payload(merge, piece, &payload));
    scan_cursor_clear(cursor);
    struct points points = {
        .time_ms = cursor->time_room, .bits = cursor->bits_room, .float_mask = cursor->mask_room};
    enum rc rc = vector_decode(piece->summary, payload, &points);
    if (rc < 0) {
        scan_merge_damage(merge, piece->segment);
        return rc;
    }
    cursor->end = points.count;
    cursor->kind = points.kind;
    cursor->rank = piece->rank;
    return RC_OK;
}

static bool hidden(const struct scan_merge *merge, uint64_t sequence, int64_t time_ms) {
    for (uint32_t i = 0; i < merge->tombstone_count; i++) {
        const struct tombstone *tombstone = &merge->tombstones[i];
        if (sequence <= tombstone->sequence && time_ms >= tombstone->from_ms &&
            time_ms <= tombstone->to_ms)
            return true;
    }
    return false;
}

/* Drops the points that tombstones hide, in place. */
static void filter(const struct scan_merge *merge, struct scan_cursor *cursor, uint64_t sequence) {
    uint32_t kept = cursor->at;
    for (uint32_t i = cursor->at; i < cursor->end; i++) {
        if (hidden(merge, sequence, cursor->time_room[i]))
            continue;
        cursor->time_room[kept] = cursor->time_room[i];
        cursor->bits_room[kept] = cursor->bits_room[i];
        if (cursor->kind == POINTS_MIXED)
            scan_cursor_mask(cursor, kept, scan_cursor_is_float(cursor, i));
        kept++;
    }
    cursor->end = kept;
}

static enum rc open_piece(struct scan_merge *merge, const struct scan_piece *piece) {
    struct scan_cursor *cursor = scan_cursor_take(&merge->pool);
    if (cursor == NULL)
        return RC_THROTTLE;
    enum rc rc = decode_into(merge, piece, cursor);
    if (rc < 0) {
        scan_cursor_give(&merge->pool, cursor);
        return rc == RC_CORRUPT ? RC_OK : rc;
    }
    scan_cursor_clip(cursor, merge->from_ms, merge->to_ms);
    if (piece->filtered)
        filter(merge, cursor, segment_info(piece->segment)->sequence);
    if (cursor->at < cursor->end && merge->heap.n >= MANY_OPEN)
        cursor = scan_cursor_shrink(&merge->pool, cursor);
    return cursor_enter(merge, cursor);
}

/* ---- yielding ---- */

/* May the next piece be passed on undecoded, seen from the other pieces and the cursors? */
static bool stands_alone(const struct scan_merge *merge, const struct scan_piece *piece) {
    if (piece->filtered || piece->time_first_ms < merge->from_ms ||
        piece->time_last_ms > merge->to_ms)
        return false;
    if (merge->next + 1 < merge->pieces.n && piece[1].time_first_ms <= piece->time_last_ms)
        return false;
    return merge->heap.n == 0 || scan_cursor_time(merge->heap.p[0]) > piece->time_last_ms;
}

/* How many points of the top may go out before `limit_ms` and before the next cursor's next. */
static uint32_t top_run(const struct scan_merge *merge, int64_t limit_ms) {
    const struct scan_cursor *top = merge->heap.p[0];
    int64_t stop = limit_ms;
    for (size_t child = 1; child <= 2 && child < merge->heap.n; child++) {
        if (scan_cursor_time(merge->heap.p[child]) < stop)
            stop = scan_cursor_time(merge->heap.p[child]);
    }
    uint32_t n = scan_cursor_find(top, stop) - top->at;
    return n == 0 ? 1 : n; /* at equal times the top is the newest */
}

/* Lends the only cursor's remaining points as they are, if all are before `limit_ms`. */
static bool lend(struct scan_merge *merge, int64_t limit_ms, struct points *points) {
    struct scan_cursor *top = merge->heap.p[0];
    if (merge->heap.n != 1 || top->time_ms[top->end - 1] >= limit_ms ||
        (top->kind == POINTS_MIXED && top->at % 64 != 0))
        return false;
    scan_cursor_view(top, top->at, top->end, top->kind, points);
    merge->emitted_ms = top->time_ms[top->end - 1];
    merge->lent = top;
    merge->heap.n = 0;
    return true;
}

/* Moves points before `limit_ms` from the heap to the output until that is full. */
static void emit(struct scan_merge *merge, int64_t limit_ms, unsigned *kinds) {
    struct scan_cursor *out = merge->out;
    while (merge->heap.n > 0 && out->end < LIMIT_VECTOR_POINTS) {
        struct scan_cursor *top = merge->heap.p[0];
        if (scan_cursor_time(top) >= limit_ms)
            return;
        if (scan_cursor_time(top) > merge->emitted_ms) {
            uint32_t n = top_run(merge, limit_ms);
            if (n > LIMIT_VECTOR_POINTS - out->end)
                n = LIMIT_VECTOR_POINTS - out->end;
            scan_cursor_copy(out, top, n, kinds);
            merge->emitted_ms = top->time_ms[top->at + n - 1];
            top->at += n;
        } else {
            top->at++; /* an older write of a time that is out */
        }
        heap_fix_top(merge);
    }
}

static int yield_out(struct scan_merge *merge, unsigned kinds, struct points *points) {
    scan_cursor_view(merge->out, 0, merge->out->end, scan_cursor_kind(kinds), points);
    return SCAN_POINTS;
}

static enum rc need_out(struct scan_merge *merge) {
    if (merge->out == NULL)
        merge->out = scan_cursor_take(&merge->pool);
    return merge->out == NULL ? RC_THROTTLE : RC_OK;
}

static enum rc prepare(struct scan_merge *merge) {
    scan_cursor_give(&merge->pool, merge->lent);
    merge->lent = NULL;
    merge->current = NULL;
    TRY(need_out(merge));
    scan_cursor_clear(merge->out);
    return RC_OK;
}

int scan_merge_next(struct scan_merge *merge, struct points *points) {
    TRY(prepare(merge));
    unsigned kinds = 0;
    for (;;) {
        const struct scan_piece *piece =
            merge->next < merge->pieces.n ? &merge->pieces.p[merge->next] : NULL;
        if (piece == NULL && merge->heap.n == 0)
            return merge->out->end == 0 ? SCAN_END : yield_out(merge, kinds, points);
        int64_t limit_ms = piece == NULL ? INT64_MAX : piece->time_first_ms;
        if (merge->heap.n > 0 && scan_cursor_time(merge->heap.p[0]) < limit_ms) {
            if (merge->out->end == 0 && scan_cursor_time(merge->heap.p[0]) > merge->emitted_ms &&
                lend(merge, limit_ms, points))
                return SCAN_POINTS;
            emit(merge, limit_ms, &kinds);
            if (merge->out->end == LIMIT_VECTOR_POINTS)
                return yield_out(merge, kinds, points);
        } else if (stands_alone(merge, piece)) {
            if (merge->out->end > 0)
                return yield_out(merge, kinds, points);
            merge->next++;
            merge->current = piece;
            merge->emitted_ms = piece->time_last_ms;
            return SCAN_VECTOR;
        } else {
            TRY(open_piece(merge, piece));
            merge->next++;
        }
    }
}

enum rc scan_merge_decode(struct scan_merge *merge, struct points *points) {
    CHECK(merge->current != NULL);
    TRY(need_out(merge));
    TRY(decode_into(merge, merge->current, merge->out));
    scan_cursor_view(merge->out, 0, merge->out->end, merge->out->kind, points);
    return RC_OK;
}
