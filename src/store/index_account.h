/*
 * What one part of the index has charged to the budget.
 *
 * Guarded by the lock of the part that charges.
 */
#pragma once

#include "base/budget.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

struct index_account {
    struct budget *budget;
    size_t bytes;
    bool force; /* recovery: what is defined must be held, whatever the limit says now */
};

/* Charges `bytes`; false over budget. */
static inline bool index_account_charge(struct index_account *account, size_t bytes) {
    if (account->force)
        budget_force(account->budget, bytes);
    else if (!budget_charge(account->budget, bytes))
        return false;
    account->bytes += bytes;
    return true;
}

static inline void index_account_release(struct index_account *account, size_t bytes) {
    budget_release(account->budget, bytes);
    account->bytes -= bytes;
}

/* Charges `bytes` and allocates them, zeroed; NULL over budget or out of memory. They are freed
   with free, and released. */
static inline void *index_account_calloc(struct index_account *account, size_t bytes) {
    if (!index_account_charge(account, bytes))
        return NULL;
    void *p = calloc(1, bytes);
    if (p == NULL)
        index_account_release(account, bytes);
    return p;
}
