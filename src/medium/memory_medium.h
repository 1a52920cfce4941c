/*
 * The memory medium: everything in this process, and faults on demand.
 *
 * For store.mode=memory, and for tests: it keeps what is durable apart from what is only written,
 * so that a crash can be played at any operation, and injects short and torn writes, failing and
 * lying syncs, full disks, read errors and bit flips from a seed.
 */
#pragma once

#include "base/budget.h"
#include "medium/medium.h"

/* Opens an empty medium. `budget` (may be NULL) is charged for all bytes kept; over budget a write
   fails with RC_NO_SPACE. */
enum rc memory_medium_open(struct budget *budget, struct medium **out, struct err *err) MUST_USE;

/* ---- faults; only meaningful for a medium from memory_medium_open ---- */

struct memory_medium_faults {
    uint64_t seed;
    /* n > 0: the n-th log create, append, sync, settle, truncate, object write, commit, put or
       remove from now on "crashes": it takes effect partly or not at all, and it and all later ones
       fail with RC_IO. Reading goes on. */
    uint64_t crash_at_operation;
    uint64_t space_bytes; /* 0: unlimited; else bytes that may be in use at the most; an append that
                             does not fit keeps what does */
    uint32_t sync_fails_percent;  /* a log sync fails, and what it should have covered may be lost
                                     at the power cycle even if a later sync succeeds; a log create
                                     or commit fails; a put fails, done or not */
    uint32_t write_short_percent; /* an append keeps a random prefix and fails */
    uint32_t sync_takes_ms;       /* a log sync takes this long */
    uint32_t read_fails_percent;  /* RC_IO from reads of logs, objects and catalog values */
    const char *unreadable;       /* name of what can never be read, or NULL; borrowed */
};

void memory_medium_set_faults(struct medium *medium, const struct memory_medium_faults *faults);

/* Makes medium_is_durable true, as it is while a test plays crashes by the power cycle. Before the
   medium is shared between threads. */
void memory_medium_claim_durable(struct medium *medium);

/* Operations (as counted for crash_at_operation) done since the medium was opened. */
uint64_t memory_medium_operations(const struct medium *medium);

/* Plays the power loss: of what was not durable, a random part (from `seed`) survives: a prefix of
   each log's unsynced bytes, possibly torn inside a sector; uncommitted objects vanish. Clears all
   faults. All handles must be closed before. */
void memory_medium_power_cycle(struct medium *medium, uint64_t seed);

/* Plays the end of the process without a power loss (kill -9): what was written is still seen, what
   was not synced is still not durable. Clears all faults; uncommitted objects vanish. All handles
   must be closed before. */
void memory_medium_revive(struct medium *medium);

/* Flips one bit of a log, object or catalog value. RC_NOT_FOUND if there is no such bit. */
enum rc memory_medium_flip_bit(struct medium *medium, enum medium_kind kind, const char *name,
                               uint64_t bit) MUST_USE;
