/*
 * What the files of the index share.
 *
 * `lock` guards everything but the orders (index_order.h) and the slabs, which have their own;
 * the order's lock is taken before it, the slabs' after it. Nothing is retired to the epoch domain
 * under it: retiring may run anybody's releases.
 */
#pragma once

#include "os/thread.h"
#include "store/index.h"
#include "store/index_events.h"
#include "store/index_hash.h"
#include "store/index_names.h"
#include "store/index_order.h"
#include "store/index_pages.h"
#include "store/index_pairs.h"
#include "store/index_slab.h"

enum { INDEX_NAMES_MAX = 1 + 2 * LIMIT_TAGS_MAX /* names of one series */ };

/* The series of a metric are kept as those of the pair (INDEX_METRIC_KEY, metric UID). No UID gets
   as far. */
#define INDEX_METRIC_KEY UINT32_MAX

/* Largest UID and series id that are given. */
#define INDEX_ID_MAX (UINT32_MAX - 1)

struct index {
    struct index_options options;
    struct rwlock lock;
    struct index_account names_account;
    struct index_account series_account;
    struct index_account sets_account;
    struct index_names names[INDEX_KINDS];
    struct index_pairs pairs;
    struct index_hash series_hash;   /* by index_identity_hash */
    struct index_pages series_pages; /* struct series * by id; INDEX_SERIES_GONE: removed */
    struct index_slab *names_slab;
    struct index_slab *series_slab;
    uint32_t series_id_max;
    uint64_t series_count;
    uint64_t removals; /* of series: UIDs found under an older count may be gone */
    struct index_events events;
    struct index_order orders[INDEX_KINDS];
};

extern struct series index_series_gone_marker;
#define INDEX_SERIES_GONE (&index_series_gone_marker)

/* A series by UIDs. The words from `metric_uid` on are what is hashed and compared. */
struct index_identity {
    uint32_t tag_count;
    uint32_t metric_uid;
    struct series_tag tags[LIMIT_TAGS_MAX]; /* ascending by key_uid */
};

/* Sorts the tags by key UID. */
void index_identity_sort(struct index_identity *identity);

/* True if this is the identity of the series. */
bool index_identity_is(const struct index_identity *identity, const struct series *series);

/* The series of an identity, or NULL. The lock is held. */
struct series *index_identity_find(const struct index *index,
                                   const struct index_identity *identity);

/* What a creation needs, taken beforehand so that the creation cannot fail half-way. */
struct index_reservation {
    uint32_t text_count;
    struct index_name_text *texts[INDEX_NAMES_MAX];
    struct series *series;
    uint32_t series_tag_count;
};

/* Makes room for the series under `id` and for `reservation->text_count` names, `missing[kind]` of
   each kind; identity may hold UIDs 0 for those. On failure gives everything back and changes
   nothing. The write lock is held. */
bool index_reserve(struct index *index, const struct index_identity *identity,
                   const uint32_t *missing, uint32_t id,
                   struct index_reservation *reservation) MUST_USE;

/* Creates a series under an id never given. Room was reserved, the identity is complete and sorted
   and there is no such series. The write lock is held. */
struct series *index_create_series(struct index *index, uint32_t id, uint32_t shard,
                                   const struct index_identity *identity,
                                   struct index_reservation *reservation);

/* Adds a name under a UID never given; room was reserved. The write lock is held. */
void index_create_name(struct index *index, enum index_kind kind, uint32_t uid, uint32_t hash,
                       struct index_name_text *text);

/* The texts and the series that a removal took out, to be retired after unlocking. */
struct index_removal {
    struct series *series;
    uint32_t text_count;
    struct index_name_text *texts[INDEX_NAMES_MAX];
};

/* Takes a series out, and with `free_names` the names that no other uses. The write lock is held.
 */
void index_take_out(struct index *index, struct series *series, bool free_names,
                    struct index_removal *removal);

/* Takes out a name that no series uses. The write lock is held. */
void index_take_out_name(struct index *index, enum index_kind kind, uint32_t uid,
                         struct index_removal *removal);

/* Retires what was taken out. No lock is held. */
void index_retire(struct index *index, struct index_removal *removal);

/* RC_THROTTLE with a text that says whose limit was reached. */
enum rc index_over_budget(const struct index *index, struct err *err);

/* The series with this id or NULL; true by *gone if it was removed. The lock is held. */
struct series *index_lookup(const struct index *index, uint32_t id, bool *gone);
