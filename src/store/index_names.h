/*
 * The names of one kind: name -> UID and UID -> name, with a count of the series that use each.
 */
#pragma once

#include "base/attr.h"
#include "base/str.h"
#include "store/index_hash.h"
#include "store/index_pages.h"
#include "store/index_slab.h"

#include <stdbool.h>
#include <stdint.h>

/* A name as kept in a slab block of index_names_text_bytes. Immutable. */
struct index_name_text {
    uint16_t n;
    char bytes[];
};

struct index_name {
    struct index_name_text *text; /* NULL: absent or gone */
    uint32_t references;          /* uses by series */
    bool gone;                    /* had a name once; the UID is not given again */
};

struct index_names {
    struct index_hash hash;
    struct index_pages pages; /* struct index_name by UID */
    struct index_slab *slab;
    uint32_t uid_max;
    uint32_t count;    /* alive */
    uint64_t disorder; /* counts what invalidates an order of UIDs: removals, and UIDs that
                          recovery gave out of sequence */
};

/* Hash of a name in these tables. */
uint32_t index_names_hash(str name);

static inline str index_names_text(const struct index_name_text *text) {
    return (str){text->bytes, text->n};
}

static inline size_t index_names_text_bytes(size_t n) {
    return offsetof(struct index_name_text, bytes) + (n == 0 ? 1 : n);
}

static inline struct index_name *index_names_at(const struct index_names *names, uint32_t uid) {
    return index_pages_at(&names->pages, uid);
}

/* Name of a UID; .p is NULL if there is none. */
static inline str index_names_name(const struct index_names *names, uint32_t uid) {
    const struct index_name *name = index_names_at(names, uid);
    return name == NULL || name->text == NULL ? (str){NULL, 0} : index_names_text(name->text);
}

/* True if the UID was given and its name is no more. */
bool index_names_gone(const struct index_names *names, uint32_t uid);

/* UID of a name, or 0. */
uint32_t index_names_find(const struct index_names *names, uint32_t hash, str name);

/* A block with a copy of `name`, to be added or given back to the slab; NULL over budget. */
struct index_name_text *index_names_copy(const struct index_names *names, str name);

/* Makes room for `count` names with the next UIDs; false over budget. */
bool index_names_reserve(struct index_names *names, uint32_t count) MUST_USE;

/* Adds a name that is not there under a UID that was never given; room was reserved. */
void index_names_add(struct index_names *names, uint32_t uid, uint32_t hash,
                     struct index_name_text *text);

/* Takes a name out; its text is now the caller's to retire. */
struct index_name_text *index_names_drop(struct index_names *names, uint32_t uid);

/* Notes that a UID in an absent or present page, not alive, was given and is gone; false over
   budget. */
bool index_names_skip(struct index_names *names, uint32_t uid) MUST_USE;
