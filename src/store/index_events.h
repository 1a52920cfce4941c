/*
 * The latest creations and removals, in order, so that definitions can be logged at a cost of what
 * is new.
 *
 * The list is a convenience: it forgets the oldest when it grows too long, and everything when
 * memory is out. Who asks for more than it remembers gets the whole index, which says the same.
 */
#pragma once

#include "base/attr.h"
#include "store/index_account.h"

#include <stdbool.h>
#include <stdint.h>

enum index_event {
    INDEX_EVENT_NAME,          /* + kind: a name got UID `id` */
    INDEX_EVENT_NAME_GONE = 3, /* + kind: the name of UID `id` is no more */
    INDEX_EVENT_SERIES = 6,    /* series `id` was created */
    INDEX_EVENT_REMOVED = 7    /* series `id` was removed */
};

struct index_event_block;

struct index_events {
    struct index_event_block *oldest;
    struct index_event_block *newest;
    uint64_t next; /* sequence number of the next event, from 1 */
    uint32_t blocks;
    struct index_account *account;
};

void index_events_init(struct index_events *events, struct index_account *account);
void index_events_fini(struct index_events *events);

/* Makes room for `count` (a few hundred at most) events; false over budget. */
bool index_events_reserve(struct index_events *events, uint32_t count) MUST_USE;

/* Appends an event; if no room was reserved and none can be had, forgets all. */
void index_events_add(struct index_events *events, uint32_t event, uint32_t id);

/* True if everything from sequence number `from` on is remembered. */
bool index_events_reach(const struct index_events *events, uint64_t from);

/* Calls `visit` for the events from `from` on, in order; they are remembered. */
void index_events_visit(const struct index_events *events, uint64_t from,
                        void (*visit)(void *context, uint32_t event, uint32_t id), void *context);
