/*
 * Heads: the newest points of a series, in memory.
 *
 *     raw tail  (up to LIMIT_TAIL_POINTS points, append-only, in order of arrival)
 *     vectors   (sealed tails, merged into vectors of up to LIMIT_VECTOR_POINTS points)
 *
 * One writer at a time (the shard's lock); readers use no lock: they pin an epoch, take the tail
 * first and then the vectors (a seal in between shows points twice, never not at all; the scan
 * removes duplicates). The tail keeps arrival order; sealing sorts it and lets the last write win.
 */
#pragma once

#include "base/attr.h"
#include "codec/vector.h"
#include "model/limits.h"
#include "model/points.h"
#include "store/head_memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Time and value of a point stand side by side, within one cache line, so that an append touches
   one line of the tail. Count and float mask stand in one word of the head, so that one store
   publishes both. */
struct head_cell {
    int64_t time_ms;
    uint64_t bits;
};

/* A sealed vector: summary and payload in one allocation. Immutable. */
struct head_vector {
    struct vector_summary summary;
    uint8_t payload[];
};

/* Sealed vectors, in order of sealing: a later one holds newer writes. Time ranges may overlap
   (late points). While there is capacity one is added in place; any other change replaces the whole
   and retires the old one. */
struct head_vectors {
    _Atomic uint32_t count;
    uint32_t capacity;
    struct head_vector *items[];
};

/* A zeroed struct head is empty. What an append touches of the tail, but for its cells, stands
   here: one cache line less. */
struct head {
    _Atomic(struct head_cell *) tail; /* tail_capacity cells; NULL: none */
    _Atomic uint64_t
        tail_state;         /* points of `tail`: count above, 32 bits of mask of doubles below */
    int64_t time_last_ms;   /* newest point ever appended; writer only */
    uint16_t tail_capacity; /* writer only */
    bool tail_unordered;    /* times do not strictly ascend; writer only */
    uint8_t unmerged;       /* vectors pushed since the last merge; writer only */
    uint32_t frozen;        /* the first vectors a checkpoint is writing: not merged; writer only */
    _Atomic(struct head_vectors *) vectors;
};

/* Appends one point. Writer only. False when memory is out (malloc): nothing changed. May seal. */
bool head_append(struct head *head, struct head_memory *memory, int64_t time_ms, uint64_t bits,
                 bool is_float) MUST_USE;

/* The same where it is easy: the tail has room and no point of the series is newer. Else false, and
   nothing has changed: it takes a head_append. Writer only. */
static inline bool head_append_easy(struct head *head, int64_t time_ms, uint64_t bits,
                                    bool is_float) {
    uint64_t state = atomic_load_explicit(&head->tail_state, memory_order_relaxed);
    uint32_t count = (uint32_t)(state >> 32);
    if (UNLIKELY(count == head->tail_capacity || time_ms <= head->time_last_ms))
        return false;
    struct head_cell *tail = atomic_load_explicit(&head->tail, memory_order_relaxed);
    tail[count] = (struct head_cell){time_ms, bits};
    head->time_last_ms = time_ms;
    state = (state | (uint64_t)is_float << count) + (UINT64_C(1) << 32);
    atomic_store_explicit(&head->tail_state, state, memory_order_release);
    return true;
}

/* What a reader sees, taken in the right order: tail, then vectors. The tail is copied: its arrays
   live as long as the view; the vectors are borrowed while the reader is pinned. */
struct head_view {
    uint32_t tail_count;
    const int64_t *tail_time_ms; /* arrival order: may be unsorted and hold a time twice */
    const uint64_t *tail_bits;
    uint64_t tail_float_mask;
    uint32_t vector_count;
    struct head_vector *const *vectors;
    int64_t time_room[LIMIT_TAIL_POINTS];
    uint64_t bits_room[LIMIT_TAIL_POINTS];
};
void head_view(const struct head *head, struct head_view *view);

/* For readers that look at many heads in turn: brings into cache what head_view touches, and then,
   when that has arrived, the summaries of the vectors. Pinned. */
void head_prefetch_lists(const struct head *head);
void head_prefetch_summaries(const struct head *head);

/* Moves the tail into a vector, however short. Writer only. */
bool head_seal(struct head *head, struct head_memory *memory) MUST_USE;

/* True if the head holds no points. Writer only. */
bool head_is_empty(const struct head *head);

/* Brings into cache what the next append to this head touches. From any thread: it only reads the
   head. */
static inline void head_prefetch(const struct head *head) {
    const struct head_cell *tail = atomic_load_explicit(&head->tail, memory_order_relaxed);
    uint64_t state = atomic_load_explicit(&head->tail_state, memory_order_relaxed);
    __builtin_prefetch((const void *)((uintptr_t)tail + (state >> 32) * sizeof(*tail)), 1);
}

/* Seals the tail and keeps all vectors there are from being merged, so that they can be read
   without the lock until head_drop or head_unfreeze: they are items[0 .. *count) of *vectors, which
   itself is valid only while the caller is the writer or pinned. Writer only. */
bool head_freeze(struct head *head, struct head_memory *memory, struct head_vector *const **vectors,
                 uint32_t *count) MUST_USE;
void head_unfreeze(struct head *head);

/* Removes the first `count` vectors (they are in a segment now) and unfreezes the rest. When memory
   is out they stay: readers then see them twice, which is harmless. Writer only. */
void head_drop(struct head *head, struct head_memory *memory, uint32_t count);

/* Removes the points in [from_ms, to_ms]; returns how many by *deleted. Writer only. */
bool head_delete(struct head *head, struct head_memory *memory, int64_t from_ms, int64_t to_ms,
                 uint64_t *deleted) MUST_USE;

/* Frees everything at once (no readers). */
void head_fini(struct head *head, struct head_memory *memory);

/* Bytes charged for this head now. Writer only. */
size_t head_bytes(const struct head *head);
