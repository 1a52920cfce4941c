/*
 * Charge before you allocate.
 *
 * A budget counts bytes against a limit; budgets form a tree, and a charge must fit in every
 * ancestor. Being over budget is an outcome, not a crash: the caller slows down or refuses.
 * All operations are safe from any thread and cost a few atomic additions.
 */
#pragma once

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
    _Atomic int64_t used_bytes;
    int64_t limit_bytes;   /* 0: no limit of its own */
    int64_t leave_bytes;   /* a charge here keeps this much of the ancestors free for others */
    struct budget *parent; /* NULL: the root */
};

/* Prepares `budget` under `parent` (may be NULL) with nothing used. */
void budget_init(struct budget *budget, size_t limit_bytes, struct budget *parent);

/* From now on charges through `budget` leave `bytes` of its ancestors' limits to everybody else. */
void budget_leave(struct budget *budget, size_t bytes);

/* Charges `bytes` here and in all ancestors, or nowhere: false if one of them would overflow. */
bool budget_charge(struct budget *budget, size_t bytes) MUST_USE;

/* Charges even past the limit: for memory that already exists or cannot be refused. */
void budget_force(struct budget *budget, size_t bytes);

/* Returns an earlier charge. */
void budget_release(struct budget *budget, size_t bytes);

/* Bytes charged now. */
size_t budget_used(const struct budget *budget);

/* Bytes that could be charged now, the tightest ancestor counted; SIZE_MAX if unlimited. */
size_t budget_left(const struct budget *budget);
