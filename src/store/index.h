/*
 * The series index: names, UIDs, series, and sets of series.
 *
 * Names of each kind get UIDs 1, 2, 3, ... in order of first use, as OpenTSDB's API shows them;
 * they stay while any series uses them. A series is metric UID + (tag key UID, tag value UID) pairs
 * sorted by key UID. Sets: metric -> series, and (tag key, tag value) -> series, as sorted arrays
 * while small and CRoaring bitmaps beyond.
 *
 * Memory is charged to the budget before it is taken; over budget, new series are refused with
 * RC_THROTTLE and existing ones go on. All functions are safe from any thread: look-ups take a
 * shared lock for a short time, creation and removal an exclusive one. Series found stay valid
 * memory until index_free (removed ones are recycled only when no reader can hold them, through the
 * epoch domain given).
 */
#pragma once

#include "base/arena.h"
#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "model/series_key.h"
#include "store/epoch.h"
#include "store/series.h"

#include <stdbool.h>
#include <stdint.h>

struct index;

enum index_kind { INDEX_METRIC, INDEX_TAGK, INDEX_TAGV };
enum { INDEX_KINDS = 3 };

VEC_DECLARE(series_vec, struct series *)

struct index_options {
    uint32_t shards;
    uint32_t uid_width[INDEX_KINDS]; /* bytes shown in hex: 3; a UID that needs more shows more */
    bool auto_create[INDEX_KINDS];   /* may index_series create names of this kind? */
    struct budget *budget;
    struct epoch_domain *readers; /* pinned by whoever holds series across calls */
};

/* The budget and the domain outlive the index; the budget also outlives the domain. uid_width is 1
   to 8. */
enum rc index_new(const struct index_options *options, struct index **out) MUST_USE;

/* Frees all series; their heads are the caller's to empty before. NULL is harmless. */
void index_free(struct index *index);

/* ---- names ---- */

/* UID of a name, or 0. */
uint32_t index_uid(struct index *index, enum index_kind kind, str name);

/* As index_uid, but creates the name if it is missing (whatever auto_create says; the telnet and
   HTTP rules are checked in index_series). It stays until series that use it have come and gone.
   RC_THROTTLE over budget; RC_INVALID if the name is empty or longer than LIMIT_NAME_BYTES_MAX. */
enum rc index_assign(struct index *index, enum index_kind kind, str name, uint32_t *uid,
                     struct err *err) MUST_USE;

/* Name of a UID, borrowed until the index is freed or the reader unpins; .p NULL if unknown. */
str index_name(struct index *index, enum index_kind kind, uint32_t uid);

/* Names of a kind that begin with `prefix`, in byte order, at most `max`, into `out` (strings
   borrowed like index_name's). Cost: logarithmic, but all names are sorted the first time and after
   removals. RC_THROTTLE when the budget cannot pay for the order. */
VEC_DECLARE(str_vec, str)
enum rc index_suggest(struct index *index, enum index_kind kind, str prefix, uint32_t max,
                      struct str_vec *out) MUST_USE;

/* ---- series ---- */

/* The series of a canonical, checked key, created if missing. RC_NOT_FOUND with "No such name for
   'metrics': 'x'" ('tagk', 'tagv') if a name is missing and may not be created; RC_THROTTLE over
   budget. */
enum rc index_series(struct index *index, const struct series_key *key, struct series **out,
                     struct err *err) MUST_USE;

/* The series of a canonical key if it exists, else NULL. Creates nothing. */
struct series *index_find(struct index *index, const struct series_key *key);

/* The series with this id, or NULL. */
struct series *index_by_id(struct index *index, uint32_t id);

/* The same for many at once, under one lock. Returns how many were found before the first that
   is not in the index. */
uint32_t index_by_ids(struct index *index, const uint32_t *ids, uint32_t count,
                      struct series **out);

/* The series with this TSUID (hex, either case), or NULL. */
struct series *index_by_tsuid(struct index *index, str hex);

/* Metric UID that a TSUID begins with, or 0 if it is malformed or unknown. */
uint32_t index_tsuid_metric(struct index *index, str hex);

/* Fills *key with the names of a series (tags sorted by key UID, strings borrowed like
 * index_name's). */
void index_key(struct index *index, const struct series *series, struct series_key *key);

/* Appends the TSUID of a series, upper-case hex (docs/format/names.md). */
void index_tsuid(struct index *index, const struct series *series, struct buf *out);

/* Appends one UID of a kind, upper-case hex in its width; one too large for it as an escape, from
   which the length can be told: all ones, then 4 bytes. */
void index_uid_hex(struct index *index, enum index_kind kind, uint32_t uid, struct buf *out);

/* Parses the hex of one UID; 0 if malformed or of the wrong width. */
uint32_t index_uid_parse(struct index *index, enum index_kind kind, str hex);

/* Number of series, of names of a kind, and the largest series id given so far. */
uint64_t index_series_count(struct index *index);
uint64_t index_name_count(struct index *index, enum index_kind kind);
uint32_t index_series_id_max(struct index *index);

/* Series made from now on get ids above `id`: ids up to it are in use for points whose definitions
   may be lost. */
void index_skip_ids(struct index *index, uint32_t id);

/* Bytes charged per part, for /api/stats: names, series, sets. */
struct index_memory {
    uint64_t names_bytes;
    uint64_t series_bytes;
    uint64_t sets_bytes;
};
void index_memory(struct index *index, struct index_memory *memory);

/* ---- selection ---- */

enum index_condition_kind {
    INDEX_HAS_KEY,    /* the series has the key, any value */
    INDEX_LACKS_KEY,  /* the series lacks the key */
    INDEX_VALUE_IN,   /* has the key with one of value_uids (sorted ascending) */
    INDEX_VALUE_MATCH /* has the key and match(context, value name) is true; called once for each
                         distinct value of the key within the candidates, never per series, and
                         without any lock held */
};

struct index_condition {
    enum index_condition_kind kind;
    uint32_t key_uid;
    const uint32_t *value_uids;
    uint32_t value_count;
    bool (*match)(void *context, str value);
    void *context;
};

/* Appends to `out` the series of `metric_uid` (0: of all metrics) that meet all conditions,
   ascending by id. `key_count` >= 0 demands exactly that many tags (explicitTags). Candidates come
   from the smallest set; time, and memory in `out` meanwhile, are about the size of that set. The
   caller is pinned to the domain of readers as long as it uses the series. RC_NOMEM. */
enum rc index_select(struct index *index, uint32_t metric_uid,
                     const struct index_condition *conditions, uint32_t condition_count,
                     int key_count, struct series_vec *out) MUST_USE;

/* Distinct UIDs of the metrics that have series, ascending. */
enum rc index_metrics(struct index *index, struct u32_vec *out) MUST_USE;

/* Value UID of a tag key on a series, or 0. */
uint32_t index_tag_value(const struct series *series, uint32_t key_uid);

/* ---- persistence ---- */

/* Every creation and removal gets the next sequence number, from 1 in each process. Appends to
   `out` the definitions of all that happened from `from` (0: everything there is, and what is gone)
   to now and returns the next number to ask from. Nothing is appended if nothing happened. Cost:
   what happened; but asking for what is half a million events ago gives everything, which says the
   same. The bytes are self-contained, checked on reading, and applying them twice is harmless
   (docs/format/names.md), but they must be applied in the order they were taken: hold a lock from
   here until they are in the log. Creation goes on while everything is written; RC_THROTTLE if more
   happened meanwhile than is remembered: ask again. */
enum rc index_encode_since(struct index *index, uint64_t from, struct buf *out,
                           uint64_t *next) MUST_USE;

/* Passes encoded definitions on in pieces of at most `bytes_max` (or of one definition, if that is
   longer) that, applied in the order of the calls, say the same as the whole. Stops at the first
   negative return and returns it. RC_CORRUPT if the bytes are no definitions. */
enum rc index_pieces(const uint8_t *bytes, size_t n, size_t bytes_max,
                     enum rc (*each)(void *context, const uint8_t *bytes, size_t n),
                     void *context) MUST_USE;

/* Sequence number of the next creation or removal. */
uint64_t index_sequence(struct index *index);

/* Applies encoded definitions; memory is taken even past the limit. RC_CORRUPT on bytes that are
   not such, and then nothing is applied; RC_CORRUPT also when some contradict what is known or lack
   their names because an earlier piece was lost: then all others are applied. */
enum rc index_apply(struct index *index, const uint8_t *bytes, size_t n, struct err *err) MUST_USE;

/* Removes a series from all sets and frees names nobody uses any more; ids and UIDs are not given
   again. Sets series->removed. The caller holds off writers (store.c's removal lock) and has
   emptied the head. The struct itself is recycled after all pinned readers are gone. */
void index_remove(struct index *index, struct series *series);
