#include "base/bytes.h"
#include "base/check.h"
#include "store/index_entry.h"
#include "store/index_internal.h"

#include <string.h>

/*
 * The bytes are described in docs/format/names.md.
 *
 * Ids and UIDs are given once. So a definition says for ever the same, "gone" is final, and
 * applying definitions commutes but for one thing: a series needs its names before it. A snapshot
 * can therefore be taken in slices while the index changes, as long as the changes follow it.
 */

enum { SLICE = 4096 /* ids encoded under one hold of the lock */ };

static void add_varint(struct buf *out, uint64_t value) {
    uint8_t bytes[BYTES_VARINT_MAX];
    buf_add(out, bytes, (size_t)(bytes_put_varint(bytes, value) - bytes));
}

static void add_name(const struct index *index, enum index_kind kind, uint32_t uid,
                     struct buf *out) {
    str name = index_names_name(&index->names[kind], uid);
    if (name.p == NULL)
        return; /* gone by now, as a later event says */
    buf_char(out, INDEX_ENTRY_NAME);
    buf_char(out, (char)kind);
    add_varint(out, uid);
    add_varint(out, name.n);
    buf_str(out, name);
}

static void add_names_gone(enum index_kind kind, uint32_t first, uint32_t count, struct buf *out) {
    buf_char(out, INDEX_ENTRY_NAMES_GONE);
    buf_char(out, (char)kind);
    add_varint(out, first);
    add_varint(out, count);
}

static void add_series(const struct series *series, struct buf *out) {
    buf_char(out, INDEX_ENTRY_SERIES);
    add_varint(out, series->id);
    add_varint(out, series->shard);
    add_varint(out, series->metric_uid);
    add_varint(out, series->tag_count);
    for (uint32_t i = 0; i < series->tag_count; i++) {
        add_varint(out, series->tags[i].key_uid);
        add_varint(out, series->tags[i].value_uid);
    }
}

static void add_series_gone(uint32_t first, uint32_t count, struct buf *out) {
    buf_char(out, INDEX_ENTRY_SERIES_GONE);
    add_varint(out, first);
    add_varint(out, count);
}

struct encoding {
    const struct index *index;
    struct buf *out;
};

static void add_event(void *context, uint32_t event, uint32_t id) {
    const struct encoding *encoding = context;
    bool gone;
    if (event < INDEX_EVENT_NAME_GONE) {
        add_name(encoding->index, (enum index_kind)event, id, encoding->out);
    } else if (event < INDEX_EVENT_SERIES) {
        add_names_gone((enum index_kind)(event - INDEX_EVENT_NAME_GONE), id, 1, encoding->out);
    } else if (event == INDEX_EVENT_SERIES) {
        const struct series *series = index_lookup(encoding->index, id, &gone);
        if (series != NULL)
            add_series(series, encoding->out);
    } else {
        add_series_gone(id, 1, encoding->out);
    }
}

/* A run of ids that are gone, written when it ends. */
struct gap {
    uint32_t first; /* 0: none */
    uint32_t last;
};

static void names_gap_end(enum index_kind kind, struct gap *gap, struct buf *out) {
    if (gap->first != 0)
        add_names_gone(kind, gap->first, gap->last - gap->first + 1, out);
    gap->first = 0;
}

static void series_gap_end(struct gap *gap, struct buf *out) {
    if (gap->first != 0)
        add_series_gone(gap->first, gap->last - gap->first + 1, out);
    gap->first = 0;
}

static void gap_extend(struct gap *gap, uint32_t first, uint32_t last) {
    if (gap->first == 0)
        gap->first = first;
    gap->last = last;
}

/* The last id before `to` that is in the same case as `id` because their page is not present; else
   `id` itself. */
static uint32_t same_until(const struct index_pages *pages, uint32_t id, uint64_t to) {
    if (index_pages_at(pages, id) != NULL)
        return id;
    uint32_t last = id | (INDEX_PAGE_ELEMENTS - 1);
    return last < to ? last : (uint32_t)(to - 1);
}

/* Encodes the UIDs [from, to) of a kind, but the last gap only when it ends. The lock is held. */
static void add_names_slice(const struct index *index, enum index_kind kind, uint64_t from,
                            uint64_t to, struct gap *gap, struct buf *out) {
    const struct index_names *names = &index->names[kind];
    for (uint64_t at = from; at < to; at++) {
        uint32_t uid = (uint32_t)at, last = same_until(&names->pages, uid, to);
        if (index_names_gone(names, uid)) {
            gap_extend(gap, uid, last);
        } else {
            names_gap_end(kind, gap, out);
            add_name(index, kind, uid, out);
        }
        at = last;
    }
}

static void add_series_slice(const struct index *index, uint64_t from, uint64_t to, struct gap *gap,
                             struct buf *out) {
    for (uint64_t at = from; at < to; at++) {
        bool gone;
        uint32_t id = (uint32_t)at, last = same_until(&index->series_pages, id, to);
        const struct series *series = index_lookup(index, id, &gone);
        if (gone)
            gap_extend(gap, id, last);
        else
            series_gap_end(gap, out);
        if (series != NULL)
            add_series(series, out);
        at = last;
    }
}

static uint64_t slice_end(uint64_t at, uint64_t end) {
    return at + SLICE < end ? at + SLICE : end;
}

static void add_all(struct index *index, const uint32_t *uid_max, uint32_t id_max,
                    struct buf *out) {
    struct gap gap = {0};
    for (int i = 0; i < INDEX_KINDS; i++) {
        enum index_kind kind = (enum index_kind)i;
        uint64_t end = (uint64_t)uid_max[kind] + 1;
        for (uint64_t at = 1; at < end; at = slice_end(at, end)) {
            rwlock_read(&index->lock);
            add_names_slice(index, kind, at, slice_end(at, end), &gap, out);
            rwlock_unlock(&index->lock);
        }
        names_gap_end(kind, &gap, out);
    }
    uint64_t end = (uint64_t)id_max + 1;
    for (uint64_t at = 1; at < end; at = slice_end(at, end)) {
        rwlock_read(&index->lock);
        add_series_slice(index, at, slice_end(at, end), &gap, out);
        rwlock_unlock(&index->lock);
    }
    series_gap_end(&gap, out);
}

/* Appends the events from `from` on, which are remembered. The lock is held. */
static void add_events(struct index *index, uint64_t from, struct buf *out, uint64_t *next) {
    struct encoding encoding = {index, out};
    index_events_visit(&index->events, from, add_event, &encoding);
    *next = index->events.next;
}

static enum rc encode_snapshot(struct index *index, struct buf *out, uint64_t *next) {
    uint32_t uid_max[INDEX_KINDS];
    rwlock_read(&index->lock);
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        uid_max[kind] = index->names[kind].uid_max;
    uint32_t id_max = index->series_id_max;
    uint64_t start = index->events.next;
    rwlock_unlock(&index->lock);

    add_all(index, uid_max, id_max, out);

    rwlock_read(&index->lock);
    bool reached = index_events_reach(&index->events, start);
    if (reached)
        add_events(index, start, out, next);
    rwlock_unlock(&index->lock);
    return reached ? RC_OK : RC_THROTTLE;
}

enum rc index_encode_since(struct index *index, uint64_t from, struct buf *out, uint64_t *next) {
    size_t before = out->n;
    buf_char(out, INDEX_ENTRY_VERSION);
    bool reached = false;
    if (from > 0) {
        rwlock_read(&index->lock);
        reached = index_events_reach(&index->events, from);
        if (reached)
            add_events(index, from, out, next);
        rwlock_unlock(&index->lock);
    }
    if (!reached)
        TRY(encode_snapshot(index, out, next));
    else if (out->n == before + 1)
        out->n = before; /* nothing new: no bytes */
    return out->failed ? RC_NOMEM : RC_OK;
}
