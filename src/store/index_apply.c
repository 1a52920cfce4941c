#include "base/bytes.h"
#include "base/check.h"
#include "store/index_entry.h"
#include "store/index_internal.h"

#include <string.h>

/*
 * The bytes are read twice: nothing is applied unless all are well-formed. Series that are gone are
 * applied before the rest, so that a snapshot also fits on an older index, whose series may use
 * names that are gone by now. Names go only where the bytes say so, not with their last series: in
 * this order that series may not be the last.
 */

enum { SLICE = 256 /* definitions applied under one hold of the lock */ };

struct definition {
    enum index_entry entry;
    enum index_kind kind; /* names */
    uint32_t first;       /* the id or UID, or the first of a run */
    uint32_t last;        /* of a run */
    uint32_t shard;
    str name;
    struct index_identity identity;
};

/* ---- reading ---- */

static uint32_t take_id(struct bytes_reader *reader) {
    uint64_t id = bytes_take_varint(reader);
    if (id == 0 || id > INDEX_ID_MAX)
        reader->failed = true;
    return (uint32_t)id;
}

static enum index_kind take_kind(struct bytes_reader *reader) {
    uint8_t kind = bytes_take_u8(reader);
    if (kind >= INDEX_KINDS)
        reader->failed = true;
    return reader->failed ? INDEX_METRIC : (enum index_kind)kind;
}

static void take_run(struct bytes_reader *reader, struct definition *definition) {
    definition->first = take_id(reader);
    uint64_t count = bytes_take_varint(reader);
    if (reader->failed || count == 0 || count - 1 > INDEX_ID_MAX - definition->first)
        reader->failed = true;
    else
        definition->last = (uint32_t)(definition->first + (count - 1));
}

static void take_name(struct bytes_reader *reader, struct definition *definition) {
    definition->kind = take_kind(reader);
    definition->first = take_id(reader);
    uint64_t n = bytes_take_varint(reader);
    if (n == 0 || n > LIMIT_NAME_BYTES_MAX)
        reader->failed = true;
    const uint8_t *bytes = bytes_take(reader, reader->failed ? 0 : n);
    definition->name = (str){(const char *)bytes, n};
}

static void take_series(struct bytes_reader *reader, uint32_t shards,
                        struct definition *definition) {
    struct index_identity *identity = &definition->identity;
    definition->first = take_id(reader);
    uint64_t shard = bytes_take_varint(reader);
    identity->metric_uid = take_id(reader);
    uint64_t tag_count = bytes_take_varint(reader);
    if (tag_count > LIMIT_TAGS_MAX || shard >= shards)
        reader->failed = true;
    definition->shard = (uint32_t)shard;
    identity->tag_count = reader->failed ? 0 : (uint32_t)tag_count;
    for (uint32_t i = 0; i < identity->tag_count; i++) {
        identity->tags[i].key_uid = take_id(reader);
        identity->tags[i].value_uid = take_id(reader);
        if (i > 0 && identity->tags[i].key_uid <= identity->tags[i - 1].key_uid)
            reader->failed = true;
    }
}

/* Reads the next definition; false if the bytes are not one. */
static bool take_definition(struct bytes_reader *reader, uint32_t shards,
                            struct definition *definition) {
    uint8_t entry = bytes_take_u8(reader);
    definition->entry = (enum index_entry)entry;
    switch (entry) {
    case INDEX_ENTRY_NAME:
        take_name(reader, definition);
        break;
    case INDEX_ENTRY_SERIES:
        take_series(reader, shards, definition);
        break;
    case INDEX_ENTRY_NAMES_GONE:
        definition->kind = take_kind(reader);
        take_run(reader, definition);
        break;
    case INDEX_ENTRY_SERIES_GONE:
        take_run(reader, definition);
        break;
    default:
        reader->failed = true;
    }
    return !reader->failed;
}

/* ---- cutting into pieces ---- */

struct cutter {
    size_t bytes_max;
    enum rc (*each)(void *context, const uint8_t *bytes, size_t n);
    void *context;
    struct buf piece;
};

static enum rc pass_on(struct cutter *cutter) {
    struct buf *piece = &cutter->piece;
    if (piece->n == 0)
        return RC_OK;
    enum rc rc = piece->failed ? RC_NOMEM
                               : cutter->each(cutter->context, (const uint8_t *)piece->p, piece->n);
    buf_reset(piece);
    return rc;
}

static enum rc cut(struct cutter *cutter, struct bytes_reader reader, bool series_gone) {
    while (bytes_left(&reader) > 0) {
        struct definition definition;
        const uint8_t *at = reader.at;
        if (!take_definition(&reader, UINT32_MAX, &definition))
            return RC_CORRUPT;
        if ((definition.entry == INDEX_ENTRY_SERIES_GONE) != series_gone)
            continue;
        size_t n = (size_t)(reader.at - at);
        if (cutter->piece.n + n > cutter->bytes_max)
            TRY(pass_on(cutter));
        if (cutter->piece.n == 0)
            buf_char(&cutter->piece, INDEX_ENTRY_VERSION);
        buf_add(&cutter->piece, at, n);
    }
    return pass_on(cutter);
}

/* In the order in which index_apply goes through the whole. */
enum rc index_pieces(const uint8_t *bytes, size_t n, size_t bytes_max,
                     enum rc (*each)(void *context, const uint8_t *bytes, size_t n),
                     void *context) {
    if (n <= bytes_max)
        return n == 0 ? RC_OK : each(context, bytes, n);
    struct bytes_reader reader = bytes_reader_of(bytes, n);
    if (bytes_take_u8(&reader) != INDEX_ENTRY_VERSION)
        return RC_CORRUPT;
    struct cutter cutter = {.bytes_max = bytes_max, .each = each, .context = context};
    enum rc rc = cut(&cutter, reader, true);
    if (rc == RC_OK)
        rc = cut(&cutter, reader, false);
    buf_fini(&cutter.piece);
    return rc;
}

/* ---- applying ---- */

enum outcome {
    APPLIED,
    REFUSED, /* contradicts what is known, or needs what is not */
    OUT_OF_MEMORY
};

static enum outcome apply_name(struct index *index, const struct definition *definition) {
    struct index_names *names = &index->names[definition->kind];
    uint32_t uid = definition->first, hash = index_names_hash(definition->name);
    str known = index_names_name(names, uid);
    if (index_names_gone(names, uid) || (known.p != NULL && str_eq(known, definition->name)))
        return APPLIED;
    if (known.p != NULL || index_names_find(names, hash, definition->name) != 0)
        return REFUSED;
    struct index_name_text *text = index_names_copy(names, definition->name);
    if (text == NULL)
        return OUT_OF_MEMORY;
    if (!index_hash_reserve(&names->hash, 1) || !index_pages_ensure(&names->pages, uid)) {
        index_slab_give(index->names_slab, text, index_names_text_bytes(text->n));
        return OUT_OF_MEMORY;
    }
    index_create_name(index, definition->kind, uid, hash, text);
    return APPLIED;
}

static bool names_known(const struct index *index, const struct index_identity *identity) {
    if (index_names_name(&index->names[INDEX_METRIC], identity->metric_uid).p == NULL)
        return false;
    for (uint32_t i = 0; i < identity->tag_count; i++)
        if (index_names_name(&index->names[INDEX_TAGK], identity->tags[i].key_uid).p == NULL ||
            index_names_name(&index->names[INDEX_TAGV], identity->tags[i].value_uid).p == NULL)
            return false;
    return true;
}

static enum outcome apply_series(struct index *index, const struct definition *definition) {
    bool gone;
    const struct series *known = index_lookup(index, definition->first, &gone);
    if (gone || (known != NULL && index_identity_is(&definition->identity, known)))
        return APPLIED;
    if (known != NULL || !names_known(index, &definition->identity) ||
        index_identity_find(index, &definition->identity) != NULL)
        return REFUSED;
    struct index_reservation reservation = {0};
    const uint32_t missing[INDEX_KINDS] = {0};
    if (!index_reserve(index, &definition->identity, missing, definition->first, &reservation))
        return OUT_OF_MEMORY;
    (void)index_create_series(index, definition->first, definition->shard, &definition->identity,
                              &reservation);
    return APPLIED;
}

/* Retires what was taken out, without the lock. */
static void retire(struct index *index, struct index_removal *removal) {
    rwlock_unlock(&index->lock);
    index_retire(index, removal);
    rwlock_write(&index->lock);
}

/* True if [id, last] begins with a whole page, absent, which can be skipped as one. */
static bool skips_page(const struct index_pages *pages, uint32_t id, uint32_t last) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    return id % INDEX_PAGE_ELEMENTS == 0 && last - id >= INDEX_PAGE_ELEMENTS - 1 &&
           (number >= pages->directory_count || pages->directory[number] == NULL);
}

static enum outcome apply_name_gone(struct index *index, enum index_kind kind, uint32_t uid) {
    struct index_names *names = &index->names[kind];
    const struct index_name *name = index_names_at(names, uid);
    if (name == NULL || name->text == NULL)
        return index_names_skip(names, uid) ? APPLIED : OUT_OF_MEMORY;
    if (name->references > 0)
        return REFUSED;
    struct index_removal removal = {0};
    index_take_out_name(index, kind, uid, &removal);
    retire(index, &removal);
    return APPLIED;
}

static enum outcome apply_one_series_gone(struct index *index, uint32_t id) {
    bool gone;
    struct series *series = index_lookup(index, id, &gone);
    if (series != NULL) {
        struct index_removal removal = {0};
        series->removed = true;
        index_take_out(index, series, false, &removal);
        retire(index, &removal);
    } else if (!gone) {
        if (!index_pages_ensure(&index->series_pages, id))
            return OUT_OF_MEMORY;
        *(struct series **)index_pages_at(&index->series_pages, id) = INDEX_SERIES_GONE;
        index_pages_count_gone(&index->series_pages, id);
    }
    return APPLIED;
}

/* Applies a run of gone names or series, whole pages at a time where nothing is known of them. */
static enum outcome apply_gone(struct index *index, const struct definition *definition) {
    bool names = definition->entry == INDEX_ENTRY_NAMES_GONE;
    struct index_pages *pages =
        names ? &index->names[definition->kind].pages : &index->series_pages;
    uint32_t *largest = names ? &index->names[definition->kind].uid_max : &index->series_id_max;
    enum outcome worst = APPLIED;
    for (uint64_t at = definition->first; at <= definition->last && worst != OUT_OF_MEMORY; at++) {
        uint32_t id = (uint32_t)at;
        enum outcome outcome = APPLIED;
        if (skips_page(pages, id, definition->last))
            outcome = index_pages_skip(pages, id) ? APPLIED : OUT_OF_MEMORY;
        else if (!index_pages_page_gone(pages, id))
            outcome = names ? apply_name_gone(index, definition->kind, id)
                            : apply_one_series_gone(index, id);
        if (index_pages_page_gone(pages, id))
            at |= INDEX_PAGE_ELEMENTS - 1;
        if (outcome > worst)
            worst = outcome;
    }
    if (worst != OUT_OF_MEMORY && definition->last > *largest)
        *largest = definition->last;
    return worst;
}

static enum outcome apply_definition(struct index *index, const struct definition *definition) {
    switch (definition->entry) {
    case INDEX_ENTRY_NAME:
        return apply_name(index, definition);
    case INDEX_ENTRY_SERIES:
        return apply_series(index, definition);
    case INDEX_ENTRY_NAMES_GONE:
    case INDEX_ENTRY_SERIES_GONE:
        return apply_gone(index, definition);
    }
    CHECK(false);
    return REFUSED;
}

/* What is defined in stored bytes must be held whatever the budget says now. The lock is held. */
static void force(struct index *index, bool on) {
    index->names_account.force = on;
    index->series_account.force = on;
    index->sets_account.force = on;
    index_slab_force(index->names_slab, on);
    index_slab_force(index->series_slab, on);
}

/* Applies up to SLICE definitions that are, or are not, of series that are gone; counts those
   refused. */
static enum rc apply_slice(struct index *index, struct bytes_reader *reader, bool series_gone,
                           uint64_t *refused) {
    struct definition definition;
    enum outcome outcome = APPLIED;
    rwlock_write(&index->lock);
    force(index, true);
    for (int i = 0; i < SLICE && bytes_left(reader) > 0 && outcome != OUT_OF_MEMORY; i++) {
        CHECK(take_definition(reader, index->options.shards, &definition));
        if ((definition.entry == INDEX_ENTRY_SERIES_GONE) != series_gone)
            continue;
        outcome = apply_definition(index, &definition);
        *refused += outcome == REFUSED;
    }
    force(index, false);
    rwlock_unlock(&index->lock);
    return outcome == OUT_OF_MEMORY ? RC_NOMEM : RC_OK;
}

static enum rc apply_all(struct index *index, struct bytes_reader reader, bool series_gone,
                         uint64_t *refused) {
    while (bytes_left(&reader) > 0)
        TRY(apply_slice(index, &reader, series_gone, refused));
    return RC_OK;
}

enum rc index_apply(struct index *index, const uint8_t *bytes, size_t n, struct err *err) {
    if (n == 0)
        return RC_OK;
    struct bytes_reader reader = bytes_reader_of(bytes, n);
    if (bytes_take_u8(&reader) != INDEX_ENTRY_VERSION)
        return err_set(err, RC_CORRUPT, "definitions of names and series in an unknown version");
    struct bytes_reader start = reader;
    bool any_gone = false;
    while (bytes_left(&reader) > 0) {
        struct definition definition;
        const uint8_t *at = reader.at;
        if (!take_definition(&reader, index->options.shards, &definition))
            return err_set(err, RC_CORRUPT,
                           "definitions of names and series are damaged at byte %zu of %zu",
                           (size_t)(at - bytes), n);
        any_gone = any_gone || definition.entry == INDEX_ENTRY_SERIES_GONE;
    }
    uint64_t refused = 0;
    enum rc rc = any_gone ? apply_all(index, start, true, &refused) : RC_OK;
    if (rc == RC_OK)
        rc = apply_all(index, start, false, &refused);
    if (rc != RC_OK)
        return err_set(err, rc, "out of memory for the names and series that are stored");
    if (refused > 0)
        return err_set(err, RC_CORRUPT,
                       "%llu definitions of names or series contradict others or lack their names",
                       (unsigned long long)refused);
    return RC_OK;
}
