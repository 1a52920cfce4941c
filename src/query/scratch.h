/*
 * Working memory that grows, is kept from one series to the next, and is charged to a budget.
 */
#pragma once

#include "base/attr.h"
#include "base/budget.h"

#include <stddef.h>

/* Set `budget` (may be NULL) and zero the rest: that is an empty one. */
struct scratch {
    void *p;
    size_t bytes; /* allocated and charged */
    struct budget *budget;
};

/* Makes room for at least `bytes`, keeping the contents; returns the memory, or NULL (contents
   kept) when the budget or the machine has no more. Amortised constant cost. */
static inline void *scratch_need(struct scratch *scratch, size_t bytes) MUST_USE;

/* Frees and returns the charge; the scratch can be used again. */
void scratch_fini(struct scratch *scratch);

void *scratch_need_slow(struct scratch *scratch, size_t bytes) MUST_USE;

static inline void *scratch_need(struct scratch *scratch, size_t bytes) {
    if (LIKELY(bytes <= scratch->bytes && scratch->p != NULL))
        return scratch->p;
    return scratch_need_slow(scratch, bytes);
}

#define SCRATCH_ARRAY(scratch, type, count)                                                        \
    ((type *)scratch_need((scratch), (count) * sizeof(type)))
