#include "base/budget.h"

#include "base/check.h"

void budget_init(struct budget *budget, size_t limit_bytes, struct budget *parent) {
    atomic_init(&budget->used_bytes, 0);
    budget->limit_bytes = (int64_t)limit_bytes;
    budget->leave_bytes = 0;
    budget->parent = parent;
}

void budget_leave(struct budget *budget, size_t bytes) {
    budget->leave_bytes = (int64_t)bytes;
}

/* Never counts more than is granted, not even for a moment: a large charge that is refused must not
   make small ones of other threads fail. */
static bool charge_one(struct budget *budget, int64_t bytes, int64_t leave) {
    if (budget->limit_bytes == 0) {
        atomic_fetch_add(&budget->used_bytes, bytes);
        return true;
    }
    int64_t room = budget->limit_bytes - leave;
    int64_t used = atomic_load(&budget->used_bytes);
    do {
        if (bytes > room || used > room - bytes)
            return false;
    } while (!atomic_compare_exchange_weak(&budget->used_bytes, &used, used + bytes));
    return true;
}

bool budget_charge(struct budget *budget, size_t bytes) {
    int64_t leave = 0;
    for (struct budget *at = budget; at != NULL; leave += at->leave_bytes, at = at->parent) {
        if (charge_one(at, (int64_t)bytes, leave))
            continue;
        for (struct budget *undo = budget; undo != at; undo = undo->parent)
            atomic_fetch_sub(&undo->used_bytes, (int64_t)bytes);
        return false;
    }
    return true;
}

void budget_force(struct budget *budget, size_t bytes) {
    for (struct budget *at = budget; at != NULL; at = at->parent)
        atomic_fetch_add(&at->used_bytes, (int64_t)bytes);
}

void budget_release(struct budget *budget, size_t bytes) {
    for (struct budget *at = budget; at != NULL; at = at->parent) {
        int64_t before = atomic_fetch_sub(&at->used_bytes, (int64_t)bytes);
        CHECK(before >= (int64_t)bytes);
    }
}

size_t budget_used(const struct budget *budget) {
    int64_t used = atomic_load(&budget->used_bytes);
    return used > 0 ? (size_t)used : 0;
}

size_t budget_left(const struct budget *budget) {
    size_t left = SIZE_MAX;
    int64_t leave = 0;
    for (const struct budget *at = budget; at != NULL; leave += at->leave_bytes, at = at->parent) {
        if (at->limit_bytes == 0)
            continue;
        int64_t here = at->limit_bytes - leave - atomic_load(&at->used_bytes);
        size_t room = here > 0 ? (size_t)here : 0;
        if (room < left)
            left = room;
    }
    return left;
}
