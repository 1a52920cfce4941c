#include "store/epoch.h"

#include "base/attr.h"
#include "base/check.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * The domain has an epoch that only grows. A pinned thread publishes the epoch it saw; the epoch
 * advances only when every pinned thread has published the current one. What was unlinked and
 * retired at epoch e can be seen by threads pinned at e or before, and by threads that pin at e + 1
 * while the advance is under way; so it is released at e + 2.
 *
 * All orderings that matter are sequentially consistent atomics rather than fences, because the
 * thread sanitizer models the former only.
 */

enum {
    SLOTS_PER_BLOCK = 64,
    RETIRED_PER_BLOCK = 255,
    COLLECT_EVERY = 64, /* retirements between attempts to collect */
    DOMAINS_PER_THREAD = 16,
    ADVANCES_PER_COLLECT = 2, /* enough for what was retired last, when nobody is pinned */
    DELAY = 2
};

/* One thread's place in one domain. On its own cache line: pinning writes it all the time. */
struct slot {
    ALIGNED(64) _Atomic uint64_t epoch; /* 0: not pinned */
    _Atomic bool taken;
    uint32_t depth; /* of nested pins; owner only */
};

struct slot_block {
    struct slot slots[SLOTS_PER_BLOCK];
    _Atomic(struct slot_block *) next; /* set once */
};

struct retired {
    void *pointer;
    void (*release)(void *pointer, void *context);
    void *context;
    uint64_t epoch;
};

/* Queue of retired pointers in order of retirement, hence ascending by epoch. */
struct retired_block {
    struct retired_block *next;
    uint32_t first; /* index of the oldest */
    uint32_t end;
    struct retired items[RETIRED_PER_BLOCK];
};

struct epoch_domain {
    _Atomic uint64_t epoch; /* from 1 */
    uint64_t id;            /* never given twice; tells a thread's cached slot from a dead one's */
    struct slot_block slots;
    struct mutex lock; /* guards what follows */
    struct retired_block *oldest;
    struct retired_block *newest;
    struct retired_block *spare; /* kept so that retiring rarely allocates */
    uint32_t since_collect;
    struct epoch_domain *next_live; /* guarded by the registry's lock */
};

/* What a thread remembers of the domains it has pinned. */
struct membership {
    uint64_t id; /* 0: free */
    struct epoch_domain *domain;
    struct slot *slot;
};

static _Thread_local struct membership memberships[DOMAINS_PER_THREAD];
static _Thread_local bool collecting;

/* The live domains: a thread that ends, or runs out of memberships, must know which of the domains
   it remembers still exist. */
static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    pthread_key_t key;
    struct epoch_domain *live;
    uint64_t id_last;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static bool is_live(uint64_t id) {
    for (const struct epoch_domain *at = registry.live; at != NULL; at = at->next_live)
        if (at->id == id)
            return true;
    return false;
}

/* Gives up a membership unless the thread is pinned there. The registry is locked. */
static bool leave(struct membership *membership) {
    if (membership->id != 0 && is_live(membership->id)) {
        if (membership->slot->depth > 0)
            return false;
        atomic_store(&membership->slot->taken, false);
    }
    *membership = (struct membership){0};
    return true;
}

static void thread_ends(void *own_memberships) {
    struct membership *own = own_memberships;
    CHECK(pthread_mutex_lock(&registry.lock) == 0);
    for (size_t i = 0; i < DOMAINS_PER_THREAD; i++)
        CHECK(leave(&own[i])); /* a thread must not end while it is pinned */
    CHECK(pthread_mutex_unlock(&registry.lock) == 0);
}

static void make_key(void) {
    CHECK(pthread_key_create(&registry.key, thread_ends) == 0);
}

struct epoch_domain *epoch_domain_new(void) {
    struct epoch_domain *domain = aligned_alloc(_Alignof(struct epoch_domain), sizeof(*domain));
    if (domain == NULL)
        return NULL;
    *domain = (struct epoch_domain){.epoch = 1};
    mutex_init(&domain->lock);
    CHECK(pthread_once(&registry.once, make_key) == 0);
    CHECK(pthread_mutex_lock(&registry.lock) == 0);
    domain->id = ++registry.id_last;
    domain->next_live = registry.live;
    registry.live = domain;
    CHECK(pthread_mutex_unlock(&registry.lock) == 0);
    return domain;
}

static struct slot *take_slot(struct epoch_domain *domain) {
    struct slot_block *block = &domain->slots;
    for (;;) {
        for (size_t i = 0; i < SLOTS_PER_BLOCK; i++) {
            bool expected = false;
            if (!atomic_load(&block->slots[i].taken) &&
                atomic_compare_exchange_strong(&block->slots[i].taken, &expected, true))
                return &block->slots[i];
        }
        struct slot_block *next = atomic_load(&block->next);
        if (next == NULL) {
            struct slot_block *fresh =
                aligned_alloc(_Alignof(struct slot_block), sizeof(struct slot_block));
            /* A thread that cannot pin cannot go on; only each 64th thread gets here. */
            CHECK(fresh != NULL);
            *fresh = (struct slot_block){0};
            if (atomic_compare_exchange_strong(&block->next, &next, fresh))
                next = fresh;
            else
                free(fresh);
        }
        block = next;
    }
}

static __attribute__((noinline)) struct slot *join(struct epoch_domain *domain) {
    struct membership *room = NULL;
    CHECK(pthread_mutex_lock(&registry.lock) == 0);
    for (size_t i = 0; i < DOMAINS_PER_THREAD && room == NULL; i++)
        if (memberships[i].id == 0 || !is_live(memberships[i].id))
            room = &memberships[i];
    for (size_t i = 0; i < DOMAINS_PER_THREAD && room == NULL; i++)
        if (leave(&memberships[i]))
            room = &memberships[i];
    CHECK(pthread_mutex_unlock(&registry.lock) == 0);
    CHECK(room != NULL); /* pinned in 16 domains at once */
    CHECK(pthread_setspecific(registry.key, memberships) == 0);
    *room = (struct membership){domain->id, domain, take_slot(domain)};
    return room->slot;
}

static inline struct slot *find_slot(const struct epoch_domain *domain) {
    for (size_t i = 0; i < DOMAINS_PER_THREAD; i++)
        if (memberships[i].id == domain->id)
            return memberships[i].slot;
    return NULL;
}

void epoch_pin(struct epoch_domain *domain) {
    struct slot *slot = find_slot(domain);
    if (UNLIKELY(slot == NULL))
        slot = join(domain);
    if (slot->depth++ > 0)
        return;
    /* Publish, then look again: either an advance that is under way sees the slot, or the second
       load sees the advance. */
    uint64_t epoch = atomic_load(&domain->epoch);
    for (;;) {
        atomic_store(&slot->epoch, epoch);
        uint64_t now = atomic_load(&domain->epoch);
        if (LIKELY(now == epoch))
            return;
        epoch = now;
    }
}

void epoch_unpin(struct epoch_domain *domain) {
    struct slot *slot = find_slot(domain);
    CHECK(slot != NULL && slot->depth > 0);
    if (--slot->depth == 0)
        atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

/* Advances the epoch if every pinned thread has seen the current one. */
static bool advance(struct epoch_domain *domain) {
    uint64_t epoch = atomic_load(&domain->epoch);
    for (struct slot_block *block = &domain->slots; block != NULL;
         block = atomic_load(&block->next)) {
        for (size_t i = 0; i < SLOTS_PER_BLOCK; i++) {
            uint64_t seen = atomic_load(&block->slots[i].epoch);
            if (seen != 0 && seen != epoch)
                return false;
        }
    }
    return atomic_compare_exchange_strong(&domain->epoch, &epoch, epoch + 1);
}

/* Takes the oldest retired pointer if it was retired at or before `epoch`. The lock is held. */
static bool take_due(struct epoch_domain *domain, uint64_t epoch, struct retired *due) {
    struct retired_block *block = domain->oldest;
    if (block == NULL || block->items[block->first].epoch > epoch)
        return false;
    *due = block->items[block->first++];
    if (block->first == block->end) {
        domain->oldest = block->next;
        if (domain->oldest == NULL)
            domain->newest = NULL;
        if (domain->spare == NULL)
            domain->spare = block;
        else
            free(block);
    }
    return true;
}

static void release_until(struct epoch_domain *domain, uint64_t epoch) {
    struct retired due[COLLECT_EVERY];
    size_t count;
    do {
        count = 0;
        mutex_lock(&domain->lock);
        while (count < COLLECT_EVERY && take_due(domain, epoch, &due[count]))
            count++;
        mutex_unlock(&domain->lock);
        for (size_t i = 0; i < count; i++)
            due[i].release(due[i].pointer, due[i].context);
    } while (count > 0);
}

uint64_t epoch_stamp(struct epoch_domain *domain) {
    /* Adding nothing is still a write: what was unlinked before is seen before it. */
    return atomic_fetch_add(&domain->epoch, 0);
}

uint64_t epoch_passed(struct epoch_domain *domain) {
    for (int i = 0; i < ADVANCES_PER_COLLECT && advance(domain); i++)
        continue;
    uint64_t epoch = atomic_load(&domain->epoch);
    return epoch > DELAY ? epoch - DELAY : 0;
}

void epoch_collect(struct epoch_domain *domain) {
    if (collecting)
        return; /* called from a release */
    collecting = true;
    release_until(domain, epoch_passed(domain));
    collecting = false;
}

/* Makes room for one more. The lock is held. */
static struct retired *add(struct epoch_domain *domain) {
    struct retired_block *block = domain->newest;
    if (block == NULL || block->end == RETIRED_PER_BLOCK) {
        block = domain->spare != NULL ? domain->spare : malloc(sizeof(*block));
        domain->spare = NULL;
        if (block == NULL)
            return NULL;
        block->next = NULL;
        block->first = block->end = 0;
        if (domain->newest == NULL)
            domain->oldest = block;
        else
            domain->newest->next = block;
        domain->newest = block;
    }
    return &block->items[block->end++];
}

void epoch_retire(struct epoch_domain *domain, void *pointer,
                  void (*release)(void *pointer, void *context), void *context) {
    mutex_lock(&domain->lock);
    struct retired *retired = add(domain);
    /* Without memory to remember it, the pointer leaks: a reader may still hold it. */
    if (retired != NULL)
        *retired = (struct retired){pointer, release, context, atomic_load(&domain->epoch)};
    bool due = ++domain->since_collect >= COLLECT_EVERY;
    if (due)
        domain->since_collect = 0;
    mutex_unlock(&domain->lock);
    if (due)
        epoch_collect(domain);
}

void epoch_domain_free(struct epoch_domain *domain) {
    if (domain == NULL)
        return;
    CHECK(pthread_mutex_lock(&registry.lock) == 0);
    struct epoch_domain **at = &registry.live;
    while (*at != domain)
        at = &(*at)->next_live;
    *at = domain->next_live;
    CHECK(pthread_mutex_unlock(&registry.lock) == 0);

    for (struct slot_block *block = &domain->slots; block != NULL; block = block->next)
        for (size_t i = 0; i < SLOTS_PER_BLOCK; i++)
            CHECK(atomic_load(&block->slots[i].epoch) == 0);
    release_until(domain, UINT64_MAX);
    free(domain->spare);
    for (struct slot_block *block = domain->slots.next; block != NULL;) {
        struct slot_block *next = block->next;
        free(block);
        block = next;
    }
    mutex_fini(&domain->lock);
    free(domain);
}
