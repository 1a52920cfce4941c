#include "store/index_events.h"

#include "base/check.h"

#include <stdlib.h>

enum {
    BLOCK_EVENTS = 4096,
    BLOCKS_MAX = 128 /* half a million events, 2.6 MB; the largest batch makes fewer */
};

struct index_event_block {
    struct index_event_block *next;
    uint64_t first; /* sequence number of the first event */
    uint32_t count;
    uint32_t ids[BLOCK_EVENTS];
    uint8_t events[BLOCK_EVENTS];
};

void index_events_init(struct index_events *events, struct index_account *account) {
    *events = (struct index_events){.next = 1, .account = account};
}

static void forget_oldest(struct index_events *events) {
    struct index_event_block *block = events->oldest;
    events->oldest = block->next;
    if (events->oldest == NULL)
        events->newest = NULL;
    events->blocks--;
    free(block);
    index_account_release(events->account, sizeof(*block));
}

void index_events_fini(struct index_events *events) {
    while (events->oldest != NULL)
        forget_oldest(events);
}

bool index_events_reserve(struct index_events *events, uint32_t count) {
    CHECK(count <= BLOCK_EVENTS);
    if (events->newest != NULL && BLOCK_EVENTS - events->newest->count >= count)
        return true;
    if (events->blocks == BLOCKS_MAX)
        forget_oldest(events);
    if (!index_account_charge(events->account, sizeof(struct index_event_block)))
        return false;
    struct index_event_block *block = malloc(sizeof(*block));
    if (block == NULL) {
        index_account_release(events->account, sizeof(*block));
        return false;
    }
    block->next = NULL;
    block->first = events->next;
    block->count = 0;
    if (events->newest == NULL)
        events->oldest = block;
    else
        events->newest->next = block;
    events->newest = block;
    events->blocks++;
    return true;
}

void index_events_add(struct index_events *events, uint32_t event, uint32_t id) {
    if (index_events_reserve(events, 1)) {
        struct index_event_block *block = events->newest;
        block->ids[block->count] = id;
        block->events[block->count] = (uint8_t)event;
        block->count++;
    } else {
        index_events_fini(events);
    }
    events->next++;
}

bool index_events_reach(const struct index_events *events, uint64_t from) {
    if (from > events->next)
        return false;
    return from == events->next || (events->oldest != NULL && events->oldest->first <= from);
}

void index_events_visit(const struct index_events *events, uint64_t from,
                        void (*visit)(void *context, uint32_t event, uint32_t id), void *context) {
    for (const struct index_event_block *at = events->oldest; at != NULL; at = at->next) {
        uint64_t skip = from > at->first ? from - at->first : 0;
        for (uint64_t i = skip; i < at->count; i++)
            visit(context, at->events[i], at->ids[i]);
    }
}
