#include "store/head.h"

#include "base/check.h"
#include "store/head_points.h"

#include <stdlib.h>
#include <string.h>

enum {
    TAIL_FIRST = 4,        /* points a series that has just begun gets room for */
    TAIL_BUSY = 16,        /* points a series that has just filled a tail gets room for */
    SMALL_POINTS = 256,    /* eight tails, merged, usually make one vector of this size */
    RUN_MAX = 8,           /* so many small vectors are merged into one */
    RUN_POINTS_MAX = 2047, /* points of all that are merged at once */
    VECTORS_STEP = 4       /* an array of vectors has room for a multiple of these */
};

_Static_assert(LIMIT_TAIL_POINTS <= 32, "the mask has 32 bits");

static uint32_t state_count(uint64_t state) {
    return (uint32_t)(state >> 32);
}

static void split_cells(const struct head_cell *cells, uint32_t count, int64_t *time_ms,
                        uint64_t *bits) {
    for (uint32_t i = 0; i < count; i++) {
        time_ms[i] = cells[i].time_ms;
        bits[i] = cells[i].bits;
    }
}

/* ---- memory ---- */

static size_t tail_size(size_t capacity) {
    return sizeof(struct head_cell) * capacity;
}

static size_t vector_size(uint32_t payload_bytes) {
    return sizeof(struct head_vector) + payload_bytes;
}

static size_t vectors_size(uint32_t capacity) {
    return sizeof(struct head_vectors) + capacity * sizeof(struct head_vector *);
}

static size_t vector_bytes(const struct head_vector *vector) {
    return vector_size(vector->summary.payload_bytes);
}

static void give_vector(struct head_memory *memory, struct head_vector *vector) {
    head_memory_give(memory, vector, vector_bytes(vector));
}

static void give_vectors(struct head_memory *memory, struct head_vectors *vectors) {
    head_memory_give(memory, vectors, vectors_size(vectors->capacity));
}

static void retire_vector(struct head_memory *memory, struct head_vector *vector) {
    head_memory_retire(memory, vector, vector_bytes(vector));
}

static void retire_vectors(struct head_memory *memory, struct head_vectors *vectors) {
    if (vectors != NULL)
        head_memory_retire(memory, vectors, vectors_size(vectors->capacity));
}

static void retire_tail(struct head_memory *memory, struct head_cell *tail, uint32_t capacity) {
    head_memory_retire(memory, tail, tail_size(capacity));
}

/* Number of vectors of an array that nobody else sees, or as the writer knows it. */
static uint32_t count_of(const struct head_vectors *vectors) {
    return vectors == NULL ? 0 : atomic_load_explicit(&vectors->count, memory_order_relaxed);
}

static void set_count(struct head_vectors *vectors, uint32_t count) {
    atomic_store_explicit(&vectors->count, count, memory_order_relaxed);
}

static struct head_vectors *vectors_new(struct head_memory *memory, uint32_t count) {
    uint32_t capacity = (count + VECTORS_STEP - 1) / VECTORS_STEP * VECTORS_STEP;
    struct head_vectors *vectors = head_memory_take(memory, vectors_size(capacity));
    if (vectors == NULL)
        return NULL;
    vectors->capacity = capacity;
    atomic_init(&vectors->count, count);
    return vectors;
}

static struct head_vector *vector_of(struct head_memory *memory,
                                     const struct vector_summary *summary, const uint8_t *payload) {
    struct head_vector *vector = head_memory_take(memory, vector_size(summary->payload_bytes));
    if (vector == NULL)
        return NULL;
    vector->summary = *summary;
    memcpy(vector->payload, payload, summary->payload_bytes);
    return vector;
}

static struct head_vector *vector_new(struct head_memory *memory, const struct head_points *points,
                                      uint32_t from, uint32_t count) {
    uint8_t payload[HEAD_PAYLOAD_MAX];
    struct vector_summary summary;
    head_points_encode(points, from, count, &summary, payload);
    return vector_of(memory, &summary, payload);
}

/* ---- what the writer sees ---- */

static struct head_cell *writer_tail(const struct head *head) {
    return atomic_load_explicit(&head->tail, memory_order_relaxed);
}

static struct head_vectors *writer_vectors(const struct head *head) {
    return atomic_load_explicit(&head->vectors, memory_order_relaxed);
}

static uint64_t writer_state(const struct head *head) {
    return atomic_load_explicit(&head->tail_state, memory_order_relaxed);
}

/* The state of a tail never takes another value while the tail is in place than those its appends
   give it: a tail comes with the state of the one whose points it copied, or with 0 after there was
   none. So a reader that finds the same tail before and after it looked at the state has a state of
   that tail. */
static void publish_tail(struct head *head, struct head_cell *tail, uint32_t capacity) {
    head->tail_capacity = (uint16_t)capacity;
    atomic_store_explicit(&head->tail, tail, memory_order_release);
    if (tail == NULL)
        atomic_store_explicit(&head->tail_state, 0, memory_order_release);
}

static void publish_vectors(struct head *head, struct head_vectors *vectors) {
    atomic_store_explicit(&head->vectors, vectors, memory_order_release);
}

/* ---- merging ---- */

/* A list of vectors being changed: nobody else sees it yet. What it took out is retired once the
   new list is published. Merging adds at most one vector beyond those it takes out. */
struct draft {
    struct head_vectors *vectors;
    uint32_t retired_count;
    struct head_vector *retired[2 * RUN_MAX + 2];
};

/* Replaces the last `run` vectors by as few as hold their points. Not merging is always possible,
   so running out of memory is not an error. */
static void draft_merge(struct draft *draft, struct head_memory *memory, uint32_t run) {
    struct head_vectors *vectors = draft->vectors;
    uint32_t count_before = count_of(vectors);
    uint32_t first = count_before - run;
    int64_t time_ms[RUN_POINTS_MAX + LIMIT_VECTOR_POINTS];
    uint64_t bits[RUN_POINTS_MAX + LIMIT_VECTOR_POINTS];
    uint8_t is_float[RUN_POINTS_MAX + LIMIT_VECTOR_POINTS];
    struct head_points points = {.capacity = RUN_POINTS_MAX + LIMIT_VECTOR_POINTS,
                                 .borrowed = true,
                                 .time_ms = time_ms,
                                 .bits = bits,
                                 .is_float = is_float};
    struct head_vector *merged[RUN_MAX];
    uint32_t made = 0;
    bool ok = true;
    for (uint32_t i = first; i < count_before && ok; i++)
        ok = head_points_add_vector(&points, &vectors->items[i]->summary,
                                    vectors->items[i]->payload, INT64_MIN, INT64_MAX) == RC_OK;
    ok = ok && head_points_order(&points);
    for (uint32_t from = 0; ok && from < points.count; from += LIMIT_VECTOR_POINTS) {
        uint32_t left = points.count - from;
        uint32_t count = left < LIMIT_VECTOR_POINTS ? left : LIMIT_VECTOR_POINTS;
        ok = made < RUN_MAX && (merged[made] = vector_new(memory, &points, from, count)) != NULL;
        made += ok;
    }
    if (!ok || made >= run) {
        for (uint32_t i = 0; i < made; i++)
            give_vector(memory, merged[i]);
        return;
    }
    for (uint32_t i = first; i < count_before; i++)
        draft->retired[draft->retired_count++] = vectors->items[i];
    memcpy(vectors->items + first, merged, made * sizeof(merged[0]));
    set_count(vectors, first + made);
}

/* Number of vectors at the end, not frozen, with counts in [low, high) and few enough points to be
   merged at once; their points by *points. */
static uint32_t trailing_run(const struct head_vectors *vectors, uint32_t frozen, uint32_t low,
                             uint32_t high, uint32_t *points) {
    uint32_t run = 0;
    uint32_t all = count_of(vectors);
    *points = 0;
    while (run < RUN_MAX && all - run > frozen) {
        uint32_t count = vectors->items[all - run - 1]->summary.count;
        if (count < low || count >= high || *points + count > RUN_POINTS_MAX)
            break;
        *points += count;
        run++;
    }
    return run;
}

static void draft_compact(struct draft *draft, struct head_memory *memory, uint32_t frozen) {
    uint32_t points;
    uint32_t run = trailing_run(draft->vectors, frozen, 0, SMALL_POINTS, &points);
    if (run < RUN_MAX)
        return;
    draft_merge(draft, memory, run);
    run = trailing_run(draft->vectors, frozen, SMALL_POINTS, LIMIT_VECTOR_POINTS, &points);
    if (run > 1 && points >= LIMIT_VECTOR_POINTS)
        draft_merge(draft, memory, run);
}

/* ---- sealing ---- */

/* Adds the vector in place if there is room and it is not yet time to merge: looking at the vectors
   costs a cache miss each, so that is done only when there may be something to merge. */
static bool add_vector(struct head *head, struct head_vector *vector) {
    struct head_vectors *vectors = writer_vectors(head);
    uint32_t count = count_of(vectors);
    if (vectors == NULL || count == vectors->capacity || head->unmerged + 1 >= RUN_MAX)
        return false;
    vectors->items[count] = vector;
    atomic_store_explicit(&vectors->count, count + 1, memory_order_release);
    head->unmerged++;
    return true;
}

/* Publishes the old vectors and `vector` after them. */
static bool push_vector(struct head *head, struct head_memory *memory, struct head_vector *vector) {
    if (add_vector(head, vector))
        return true;
    struct head_vectors *before = writer_vectors(head);
    uint32_t count = count_of(before);
    struct draft draft = {.vectors = vectors_new(memory, count + 1)};
    if (draft.vectors == NULL)
        return false;
    if (count > 0)
        memcpy(draft.vectors->items, before->items, count * sizeof(before->items[0]));
    draft.vectors->items[count] = vector;
    if (++head->unmerged >= RUN_MAX) {
        head->unmerged = 0;
        draft_compact(&draft, memory, head->frozen);
    }
    publish_vectors(head, draft.vectors);
    retire_vectors(memory, before);
    for (uint32_t i = 0; i < draft.retired_count; i++)
        retire_vector(memory, draft.retired[i]);
    return true;
}

/* What is sealed of a tail: its points in order of arrival. */
struct gathered {
    int64_t time_ms[LIMIT_TAIL_POINTS];
    uint64_t bits[LIMIT_TAIL_POINTS];
    uint64_t float_mask;
    uint32_t count;
};

static void gather_tail(const struct head *head, struct gathered *gathered) {
    const struct head_cell *cells = writer_tail(head);
    uint64_t state = writer_state(head);
    gathered->count = state_count(state);
    gathered->float_mask = state & UINT32_MAX;
    split_cells(cells, gathered->count, gathered->time_ms, gathered->bits);
}

static struct head_vector *seal_ordered(struct gathered *gathered, struct head_memory *memory) {
    struct points points = {.count = gathered->count,
                            .kind = points_kind_of(gathered->float_mask, gathered->count),
                            .time_ms = gathered->time_ms,
                            .bits = gathered->bits,
                            .float_mask = &gathered->float_mask};
    uint8_t payload[HEAD_PAYLOAD_MAX];
    struct vector_summary summary;
    vector_encode(&points, VECTOR_FAST, &summary, payload);
    return vector_of(memory, &summary, payload);
}

static struct head_vector *seal_unordered(struct gathered *gathered, struct head_memory *memory) {
    uint8_t is_float[LIMIT_TAIL_POINTS];
    for (uint32_t i = 0; i < gathered->count; i++)
        is_float[i] = gathered->float_mask >> i & 1;
    struct head_points points = {.count = gathered->count,
                                 .capacity = LIMIT_TAIL_POINTS,
                                 .borrowed = true,
                                 .unordered = true,
                                 .time_ms = gathered->time_ms,
                                 .bits = gathered->bits,
                                 .is_float = is_float};
    if (!head_points_order(&points))
        return NULL;
    return vector_new(memory, &points, 0, points.count);
}

bool head_seal(struct head *head, struct head_memory *memory) {
    struct head_cell *tail = writer_tail(head);
    if (state_count(writer_state(head)) == 0)
        return true;
    struct gathered gathered;
    gather_tail(head, &gathered);
    struct head_vector *vector =
        head->tail_unordered ? seal_unordered(&gathered, memory) : seal_ordered(&gathered, memory);
    if (vector == NULL)
        return false;
    if (!push_vector(head, memory, vector)) {
        give_vector(memory, vector);
        return false;
    }
    uint32_t capacity = head->tail_capacity;
    publish_tail(head, NULL, 0);
    head->tail_unordered = false;
    retire_tail(memory, tail, capacity);
    return true;
}

/* ---- appending ---- */

/* Gives the head a tail with room, the points of the old one in it or sealed. */
static bool make_room(struct head *head, struct head_memory *memory) {
    uint32_t capacity = TAIL_FIRST;
    if (head->tail_capacity == LIMIT_TAIL_POINTS) {
        if (!head_seal(head, memory))
            return false;
        capacity = TAIL_BUSY;
    }
    struct head_cell *tail = writer_tail(head);
    if (tail != NULL)
        capacity = head->tail_capacity * 2;
    struct head_cell *bigger = head_memory_take(memory, tail_size(capacity));
    if (bigger == NULL)
        return false;
    if (tail != NULL)
        memcpy(bigger, tail, state_count(writer_state(head)) * sizeof(tail[0]));
    uint32_t capacity_before = head->tail_capacity;
    publish_tail(head, bigger, capacity);
    retire_tail(memory, tail, capacity_before);
    return true;
}

bool head_append(struct head *head, struct head_memory *memory, int64_t time_ms, uint64_t bits,
                 bool is_float) {
    if (UNLIKELY(state_count(writer_state(head)) == head->tail_capacity) &&
        !make_room(head, memory))
        return false;
    struct head_cell *tail = writer_tail(head);
    uint64_t state = writer_state(head);
    uint32_t count = state_count(state);
    /* The newest point of all is the one before, unless some came late. */
    if (count > 0 && time_ms <= head->time_last_ms)
        head->tail_unordered |= time_ms <= tail[count - 1].time_ms;
    tail[count] = (struct head_cell){time_ms, bits};
    state = (state | (uint64_t)is_float << count) + (UINT64_C(1) << 32);
    atomic_store_explicit(&head->tail_state, state, memory_order_release);
    if (time_ms > head->time_last_ms)
        head->time_last_ms = time_ms;
    return true;
}

/* ---- reading ---- */

void head_view(const struct head *head, struct head_view *view) {
    struct head_cell *tail = atomic_load_explicit(&head->tail, memory_order_acquire);
    uint64_t state = 0;
    while (tail != NULL) {
        state = atomic_load_explicit(&head->tail_state, memory_order_acquire);
        struct head_cell *now = atomic_load_explicit(&head->tail, memory_order_acquire);
        if (now == tail)
            break;
        tail = now;
    }
    if (tail == NULL)
        state = 0;
    view->tail_count = state_count(state);
    view->tail_float_mask = state & UINT32_MAX;
    view->tail_time_ms = view->time_room;
    view->tail_bits = view->bits_room;
    split_cells(tail, view->tail_count, view->time_room, view->bits_room);
    const struct head_vectors *vectors = atomic_load_explicit(&head->vectors, memory_order_acquire);
    view->vector_count =
        vectors == NULL ? 0 : atomic_load_explicit(&vectors->count, memory_order_acquire);
    view->vectors = vectors == NULL ? NULL : vectors->items;
}

/* Fetches the cache lines of [p, p + bytes). */
static void prefetch_bytes(const void *p, size_t bytes) {
    enum { LINE = 64 };
    const char *at = p;
    for (const char *end = at + bytes; at < end; at += LINE)
        __builtin_prefetch(at);
    __builtin_prefetch((const char *)p + bytes - 1);
}

void head_prefetch_lists(const struct head *head) {
    const void *tail = atomic_load_explicit(&head->tail, memory_order_relaxed);
    const struct head_vectors *vectors = atomic_load_explicit(&head->vectors, memory_order_relaxed);
    uint32_t count = state_count(writer_state(head));
    if (tail != NULL && count > 0)
        prefetch_bytes(tail, count * sizeof(struct head_cell));
    if (vectors != NULL)
        prefetch_bytes(vectors, vectors_size(VECTORS_STEP));
}

void head_prefetch_summaries(const struct head *head) {
    enum { FIRST = 8 };
    const struct head_vectors *vectors = atomic_load_explicit(&head->vectors, memory_order_acquire);
    uint32_t count =
        vectors == NULL ? 0 : atomic_load_explicit(&vectors->count, memory_order_acquire);
    for (uint32_t i = 0; i < count && i < FIRST; i++)
        prefetch_bytes(&vectors->items[i]->summary, sizeof(struct vector_summary));
}

bool head_is_empty(const struct head *head) {
    return state_count(writer_state(head)) == 0 && writer_vectors(head) == NULL;
}

/* ---- checkpoints ---- */

bool head_freeze(struct head *head, struct head_memory *memory, struct head_vector *const **vectors,
                 uint32_t *count) {
    if (!head_seal(head, memory))
        return false;
    const struct head_vectors *all = writer_vectors(head);
    *count = count_of(all);
    *vectors = all == NULL ? NULL : all->items;
    head->frozen = *count;
    return true;
}

void head_unfreeze(struct head *head) {
    head->frozen = 0;
}

void head_drop(struct head *head, struct head_memory *memory, uint32_t count) {
    head->frozen = 0;
    struct head_vectors *before = writer_vectors(head);
    if (before == NULL || count == 0)
        return;
    uint32_t count_before = count_of(before);
    CHECK(count <= count_before);
    struct head_vectors *after = NULL;
    if (count < count_before) {
        after = vectors_new(memory, count_before - count);
        if (after == NULL)
            return;
        memcpy(after->items, before->items + count,
               (count_before - count) * sizeof(after->items[0]));
    }
    publish_vectors(head, after);
    for (uint32_t i = 0; i < count; i++)
        retire_vector(memory, before->items[i]);
    retire_vectors(memory, before);
}

/* ---- deleting ---- */

/* The vector without the points of the range; *out is NULL if nothing is left. */
static bool vector_without(struct head_memory *memory, const struct head_vector *vector,
                           int64_t from_ms, int64_t to_ms, struct head_vector **out,
                           uint64_t *deleted) {
    struct head_points points = {0};
    *out = NULL;
    bool ok = head_points_add_vector(&points, &vector->summary, vector->payload, INT64_MIN,
                                     INT64_MAX) == RC_OK;
    if (ok) {
        *deleted += head_points_remove(&points, from_ms, to_ms);
        if (points.count > 0)
            ok = (*out = vector_new(memory, &points, 0, points.count)) != NULL;
    }
    head_points_fini(&points);
    return ok;
}

static bool vector_touches(const struct head_vector *vector, int64_t from_ms, int64_t to_ms) {
    return vector->summary.time_first_ms <= to_ms && vector->summary.time_last_ms >= from_ms;
}

/* Fills `after` with the vectors, those in the range rewritten; on failure undoes it. */
static bool rewrite_vectors(struct head_memory *memory, const struct head_vectors *before,
                            int64_t from_ms, int64_t to_ms, struct head_vectors *after,
                            uint64_t *deleted) {
    uint32_t n = 0;
    bool ok = true;
    for (uint32_t i = 0; i < count_of(before) && ok; i++) {
        struct head_vector *kept = before->items[i];
        if (vector_touches(kept, from_ms, to_ms))
            ok = vector_without(memory, before->items[i], from_ms, to_ms, &kept, deleted);
        if (ok && kept != NULL)
            after->items[n++] = kept;
    }
    if (!ok)
        while (n-- > 0)
            if (vector_touches(after->items[n], from_ms, to_ms))
                give_vector(memory, after->items[n]);
    set_count(after, ok ? n : 0);
    return ok;
}

static bool delete_vectors(struct head *head, struct head_memory *memory, int64_t from_ms,
                           int64_t to_ms, uint64_t *deleted) {
    struct head_vectors *before = writer_vectors(head);
    uint32_t touched = 0;
    for (uint32_t i = 0; i < count_of(before); i++)
        touched += vector_touches(before->items[i], from_ms, to_ms);
    if (touched == 0)
        return true;
    struct head_vectors *after = vectors_new(memory, count_of(before));
    if (after == NULL)
        return false;
    bool ok = rewrite_vectors(memory, before, from_ms, to_ms, after, deleted);
    if (count_of(after) == 0) {
        give_vectors(memory, after);
        after = NULL;
    }
    if (!ok)
        return false;
    publish_vectors(head, after);
    for (uint32_t i = 0; i < count_of(before); i++)
        if (vector_touches(before->items[i], from_ms, to_ms))
            retire_vector(memory, before->items[i]);
    retire_vectors(memory, before);
    return true;
}

static bool tail_touches(const struct head *head, int64_t from_ms, int64_t to_ms) {
    uint32_t count = state_count(writer_state(head));
    for (uint32_t i = 0; i < count; i++) {
        int64_t time_ms = writer_tail(head)[i].time_ms;
        if (time_ms >= from_ms && time_ms <= to_ms)
            return true;
    }
    return false;
}

/* The tail is sealed first: vectors can be replaced without a moment in which points that stay
   cannot be seen. */
bool head_delete(struct head *head, struct head_memory *memory, int64_t from_ms, int64_t to_ms,
                 uint64_t *deleted) {
    CHECK(head->frozen == 0);
    uint64_t count = 0;
    if (tail_touches(head, from_ms, to_ms) && !head_seal(head, memory))
        return false;
    if (!delete_vectors(head, memory, from_ms, to_ms, &count))
        return false;
    if (deleted != NULL)
        *deleted = count;
    return true;
}

/* ---- the end ---- */

void head_fini(struct head *head, struct head_memory *memory) {
    struct head_cell *tail = writer_tail(head);
    struct head_vectors *vectors = writer_vectors(head);
    if (tail != NULL)
        head_memory_give(memory, tail, tail_size(head->tail_capacity));
    if (vectors != NULL) {
        for (uint32_t i = 0; i < count_of(vectors); i++)
            give_vector(memory, vectors->items[i]);
        give_vectors(memory, vectors);
    }
    memset(head, 0, sizeof(*head));
}

size_t head_bytes(const struct head *head) {
    const struct head_cell *tail = writer_tail(head);
    const struct head_vectors *vectors = writer_vectors(head);
    size_t bytes = tail == NULL ? 0 : head_pool_charge(tail_size(head->tail_capacity));
    if (vectors == NULL)
        return bytes;
    for (uint32_t i = 0; i < count_of(vectors); i++)
        bytes += head_pool_charge(vector_size(vectors->items[i]->summary.payload_bytes));
    return bytes + head_pool_charge(vectors_size(vectors->capacity));
}
