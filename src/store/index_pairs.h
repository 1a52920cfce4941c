/*
 * (tag key, tag value) -> the series that have it.
 */
#pragma once

#include "base/attr.h"
#include "store/index_set.h"

#include <stdbool.h>
#include <stdint.h>

struct index_pair {
    uint32_t key_uid; /* 0: empty slot */
    uint32_t value_uid;
    struct index_set series;
};

/* Open addressing with linear probing. */
struct index_pairs {
    struct index_pair *slots; /* mask + 1 of them, or NULL */
    uint64_t mask;
    uint64_t count;
    struct index_account *account;
};

void index_pairs_fini(struct index_pairs *pairs);

/* Makes room for `more` pairs; false over budget. */
bool index_pairs_reserve(struct index_pairs *pairs, uint32_t more) MUST_USE;

/* The set of a pair, or NULL. Valid until pairs are added or removed. */
struct index_set *index_pairs_find(const struct index_pairs *pairs, uint32_t key_uid,
                                   uint32_t value_uid);

/* Adds a series to a pair, which is created if missing: room was reserved in both. */
void index_pairs_add(struct index_pairs *pairs, uint32_t key_uid, uint32_t value_uid, uint32_t id);

/* Removes a series from a pair, and the pair with its last. */
void index_pairs_remove(struct index_pairs *pairs, uint32_t key_uid, uint32_t value_uid,
                        uint32_t id);
