/*
 * Faults of the memory medium: when they strike, and what the power loss leaves.
 */
#include "base/check.h"
#include "medium/memory_medium_internal.h"

#include <string.h>

static struct memory_medium *medium_of(struct medium *medium) {
    return (struct memory_medium *)medium;
}

static uint64_t next_random(struct memory_medium *medium) {
    /* splitmix64: any seed will do, zero too. */
    uint64_t x = medium->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t memory_medium_random(struct memory_medium *medium, uint64_t limit) {
    return limit == 0 ? 0 : next_random(medium) % limit;
}

bool memory_medium_chance(struct memory_medium *medium, uint32_t percent) {
    return percent > 0 && memory_medium_random(medium, 100) < percent;
}

enum memory_outcome memory_medium_operation(struct memory_medium *medium) {
    medium->operations++;
    if (medium->crashed)
        return MEMORY_OUTCOME_DEAD;
    if (medium->crash_in == 0 || --medium->crash_in > 0)
        return MEMORY_OUTCOME_DONE;
    medium->crashed = true;
    return MEMORY_OUTCOME_CRASH;
}

void memory_medium_set_faults(struct medium *base, const struct memory_medium_faults *faults) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    medium->faults = *faults;
    medium->random = faults->seed;
    medium->crash_in = faults->crash_at_operation;
    mutex_unlock(&medium->lock);
}

void memory_medium_claim_durable(struct medium *base) {
    base->durable = true;
}

uint64_t memory_medium_operations(const struct medium *base) {
    struct memory_medium *medium = (struct memory_medium *)(uintptr_t)base;
    mutex_lock(&medium->lock);
    uint64_t operations = medium->operations;
    mutex_unlock(&medium->lock);
    return operations;
}

/* ---- power loss ---- */

/* The sector that holds byte `from` loses what it has in [from, to) from a random byte on. Returns
   the end of the part of the sector. */
static size_t tear_sector(struct memory_medium *medium, struct memory_entry *log, size_t from,
                          size_t to, uint32_t percent) {
    size_t end = (from / MEMORY_MEDIUM_SECTOR + 1) * MEMORY_MEDIUM_SECTOR;
    if (end > to)
        end = to;
    if (memory_medium_chance(medium, percent)) {
        size_t cut = from;
        if (memory_medium_chance(medium, 50))
            cut += memory_medium_random(medium, end - from);
        memset(log->bytes + cut, 0, end - cut);
    }
    return end;
}

static void tear(struct memory_medium *medium, struct memory_entry *log, size_t from, size_t to,
                 uint32_t percent) {
    while (from < to)
        from = tear_sector(medium, log, from, to, percent);
}

/* Half of the time the unsynced bytes that survive are a clean prefix, else sectors are missing. */
static void lose_power(struct memory_medium *medium, struct memory_entry *log) {
    size_t survive = log->durable + memory_medium_random(medium, log->n - log->durable + 1);
    medium->used -= log->n - survive;
    log->n = survive;
    if (memory_medium_chance(medium, 50))
        tear(medium, log, log->durable, log->n, 25);
    size_t lost_to = log->lost_to < log->n ? log->lost_to : log->n;
    tear(medium, log, log->lost_from, lost_to, 50);
    log->durable = log->n;
    log->lost_from = log->lost_to = 0;
}

/* A new process. */
static void begin_again(struct memory_medium *medium) {
    CHECK(medium->handles == 0);
    for (size_t i = 0; i < medium->tables[MEDIUM_CATALOG].n; i++)
        medium->tables[MEDIUM_CATALOG].p[i]->unconfirmed = false;
    medium->faults = (struct memory_medium_faults){0};
    medium->crash_in = 0;
    medium->crashed = false;
    medium->epoch = 0;
}

void memory_medium_revive(struct medium *base) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    begin_again(medium);
    mutex_unlock(&medium->lock);
}

void memory_medium_power_cycle(struct medium *base, uint64_t seed) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    begin_again(medium);
    medium->random = seed;
    const struct memory_table *logs = &medium->tables[MEDIUM_LOGS];
    for (size_t i = 0; i < logs->n; i++)
        lose_power(medium, logs->p[i]);
    mutex_unlock(&medium->lock);
}

enum rc memory_medium_flip_bit(struct medium *base, enum medium_kind kind, const char *name,
                               uint64_t bit) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    struct memory_entry *entry = memory_medium_find(medium, kind, name);
    bool there = entry != NULL && bit / 8 < entry->n;
    if (there)
        entry->bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    mutex_unlock(&medium->lock);
    return there ? RC_OK : RC_NOT_FOUND;
}
