/*
 * An open segment. Private to segment*.c.
 *
 * Each group and each payload block has a slot, an atomic pointer: NULL until it is touched, then
 * what it became, or SEGMENT_DAMAGED_*. Threads that touch the same one at the same time each do
 * the work; one publishes its result, the others throw theirs away. A payload block that is not
 * compressed points into the mapped object. Everything else is memory of ours, which segment_trim
 * takes out of the slots and retires.
 */
#pragma once

#include "store/segment.h"
#include "store/segment_group.h"

struct segment {
    _Atomic uint32_t references;
    _Atomic bool discard;
    struct medium *medium;
    struct medium_object *object;
    const uint8_t *map; /* NULL: the medium cannot map */
    struct segment_info info;
    struct segment_footer footer;
    struct budget *budget;       /* may be NULL */
    struct epoch_domain *epochs; /* may be NULL */
    struct segment_group_entry *groups;
    struct segment_block_entry *blocks;
    uint32_t *group_series; /* the first series of each group, dense for searching */
    uint32_t *group_vector; /* the first vector of each group */
    _Atomic(struct segment_group *) *group_slots;
    _Atomic(const uint8_t *) *block_slots;
    _Atomic uint64_t damaged;
    _Atomic uint64_t damage_taken;
};

/* What a slot holds when its bytes are bad: these addresses. */
extern struct segment_group segment_damaged_group;
extern const uint8_t segment_damaged_block[1];

/* Expands group `g` into its slot: called when the slot is empty. */
enum rc segment_slot_fill_group(struct segment *segment, uint32_t g,
                                struct segment_group **out) MUST_USE;

/* The same for payload block `b`. */
enum rc segment_slot_fill_block(struct segment *segment, uint32_t b, const uint8_t **out) MUST_USE;

/* Verifies group `g` or block `b` from the medium, whatever the slot holds; remembers damage. */
enum rc segment_slot_scrub_group(struct segment *segment, uint32_t g) MUST_USE;
enum rc segment_slot_scrub_block(struct segment *segment, uint32_t b) MUST_USE;

/* Frees what the slots hold: nobody may borrow from the segment any more. */
void segment_slot_free_all(struct segment *segment);

/* Closes the object and frees the segment. */
void segment_close(struct segment *segment);
