/*
 * What identifies a series: its metric and its tags, by name.
 *
 * The strings are borrowed. A key is *canonical* when its tags are sorted by key bytes and no key
 * is there twice; only canonical keys are compared, hashed or stored.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "model/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tag {
    str key;
    str value;
};

struct series_key {
    str metric;
    uint32_t tag_count;
    struct tag tags[LIMIT_TAGS_MAX];
};

/* What the configuration allows. */
struct series_key_rules {
    uint32_t tags_max; /* tsd.storage.max_tags, at most LIMIT_TAGS_MAX */
    str special_chars; /* tsd.core.tag.allow_specialchars: further ASCII characters allowed */
};

/* Sorts the tags. An identical pair given twice is kept once. RC_INVALID with OpenTSDB's text
   "duplicate tag: host=b, tags={host=a}" if one key has two values; the key is then as it was. */
enum rc series_key_canonicalise(struct series_key *key, struct err *err) MUST_USE;

/* Checks tag count and characters, in OpenTSDB's order and with its texts (docs: "Too many tags: 9
   maximum allowed: 8, tags: {...}", "Need at least one tag (metric=m, tags={})", `Invalid metric
   name ("a b"): illegal character:  `, ...). Allowed are a-z A-Z 0-9 - _ . / and any Unicode letter
   of the basic plane; bytes that are not UTF-8 are illegal, names longer than LIMIT_NAME_BYTES_MAX
   too. A name whose .p is NULL is reported as "null", as a JSON null is. Cost: one pass; the ASCII
   case makes no calls. */
enum rc series_key_check(const struct series_key *key, const struct series_key_rules *rules,
                         struct err *err) MUST_USE;

/* Hash of a canonical key; decides the shard. Stable across releases. */
uint64_t series_key_hash(const struct series_key *key);

/* True if every byte of `name` may stand in a metric, tag key or tag value. `bad` (may be NULL)
   gets the first offending character as UTF-8 text. */
bool series_key_name_ok(str name, str special_chars, str *bad);

/* Writes the tags as Java shows a map, "{host=a, cpu=0}", terminated, cut off at `capacity`.
   Returns `out`. */
const char *series_key_tags_text(const struct series_key *key, char *out, size_t capacity);
