/*
 * Names of UIDs, remembered ready for an answer: results repeat their tags, and quoting a name
 * costs more than everything else of a small result.
 *
 * A table of tags as JSON, each in one cache line. It grows while it is too small, to 2^bits_max of
 * them; then the new replaces the old. It holds copies, and UIDs are never given twice, so nothing
 * in it ever becomes wrong. Belongs to one thread, which is pinned whenever it asks.
 */
#pragma once

#include "base/buf.h"
#include "model/series_key.h"
#include "query/scratch.h"
#include "store/index.h"

#include <stdint.h>

struct query_names_slot;

struct query_names {
    struct index *index;
    struct scratch memory;          /* of `slots` */
    struct query_names_slot *slots; /* NULL: nothing is remembered */
    uint32_t slot_bits;             /* log2 of their number */
    uint32_t bits_max;
    uint32_t crowded; /* tags that found no free place since the table has this size */
    struct buf text;  /* what was asked last, if it is not remembered */
};

/* For who meets all names many times, and for who meets most of them once. */
enum { QUERY_NAMES_MANY = 14, QUERY_NAMES_FEW = 10 };

/* An empty table. `budget` may be NULL; over it the table stays small. */
void query_names_init(struct query_names *names, struct index *index, uint32_t bits_max,
                      struct budget *budget);
void query_names_fini(struct query_names *names);

/* Appends "key":"value" of each tag, with commas between them. */
void query_names_put_tags(struct query_names *names, const struct series_tag *tags, uint32_t count,
                          struct buf *out);

/* Appends the names of tag keys, quoted, with commas between them. */
void query_names_put_keys(struct query_names *names, const uint32_t *key_uids, uint32_t count,
                          struct buf *out);

/* The names themselves, borrowed until the next call. */
struct tag query_names_tag(struct query_names *names, struct series_tag tag);
