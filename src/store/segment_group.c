/*
 * Groups: the series ids and vector summaries of a run of series, packed column by column.
 *
 * A summary takes 64 bytes in memory and about 10 packed: times and counts repeat from series to
 * series, and the five doubles are mostly integers or short decimals, stored as scaled integers
 * relative to the smallest.
 */
#include "store/segment_group.h"

#include "base/bytes.h"
#include "base/check.h"

#include <math.h>
#include <stdlib.h>
#include <zstd.h>

/* Least bytes of a series (id, vector count) and of a vector (its 11 columns) in packed form. */
enum { SERIES_BYTES_MIN = 2, VECTOR_BYTES_MIN = 11 };

/* The doubles of a summary in the order of their columns; min comes first because the others are
   relative to it. */
enum { FIELD_MIN, FIELD_MAX, FIELD_FIRST, FIELD_LAST, FIELD_SUM, FIELD_COUNT };

static const size_t field_offset[FIELD_COUNT] = {
    offsetof(struct vector_summary, min),   offsetof(struct vector_summary, max),
    offsetof(struct vector_summary, first), offsetof(struct vector_summary, last),
    offsetof(struct vector_summary, sum),
};

static const double power_of_ten[SEGMENT_EXPONENT_MAX + 1] = {1,   1e1, 1e2, 1e3, 1e4,
                                                              1e5, 1e6, 1e7, 1e8, 1e9};

/* One byte a vector: bits 0-1 the kind, bit 2 + field: that field is 8 raw bytes. */
enum { FORM_KIND_MASK = 3, FORM_RAW_SHIFT = 2, FORM_END = 1 << (FORM_RAW_SHIFT + FIELD_COUNT) };

static double field_get(const struct vector_summary *summary, int field) {
    double v;
    memcpy(&v, (const char *)summary + field_offset[field], sizeof(v));
    return v;
}

static uint64_t field_bits(const struct vector_summary *summary, int field) {
    return bytes_u64((const char *)summary + field_offset[field]);
}

/* The integer that gives back exactly `v` when divided by 10^exponent, if there is one. */
static bool scaled(double v, unsigned exponent, int64_t *integer) {
    double product = v * power_of_ten[exponent];
    if (!(fabs(product) < 0x1p53))
        return false;
    int64_t i = llround(product);
    double back = (double)i / power_of_ten[exponent];
    *integer = i;
    return memcmp(&back, &v, sizeof(v)) == 0;
}

/* The smallest exponent that fits min, max, first and last; 0 if none does. (A sum of decimals is
   rarely a decimal itself.) */
static unsigned choose_exponent(const struct vector_summary *summary) {
    int64_t unused;
    for (unsigned e = 0; e <= SEGMENT_EXPONENT_MAX; e++) {
        if (scaled(summary->min, e, &unused) && scaled(summary->max, e, &unused) &&
            scaled(summary->first, e, &unused) && scaled(summary->last, e, &unused))
            return e;
    }
    return 0;
}

static void put_varint(struct buf *out, uint64_t v) {
    char *at = buf_reserve(out, BYTES_VARINT_MAX);
    if (at != NULL)
        out->n += (size_t)(bytes_put_varint((uint8_t *)at, v) - (uint8_t *)at);
}

/* What is subtracted from a field before it is stored: min, scaled, as often as the field counts
   it. Unsigned: wraps and wraps back. */
static uint64_t field_base(int field, uint64_t min, uint32_t count) {
    return field == FIELD_MIN ? 0 : field == FIELD_SUM ? min * count : min;
}

static void pack_field(const struct vector_summary *summary, int field, unsigned exponent,
                       struct buf *out) {
    int64_t min = 0;
    if (!scaled(summary->min, exponent, &min))
        min = 0;
    int64_t v;
    if (!scaled(field_get(summary, field), exponent, &v)) {
        uint64_t bits = field_bits(summary, field);
        buf_add(out, &bits, sizeof(bits));
        return;
    }
    uint64_t relative = (uint64_t)v - field_base(field, (uint64_t)min, summary->count);
    put_varint(out, field == FIELD_MIN ? bytes_zigzag((int64_t)relative) : relative);
}

static uint8_t form_of(const struct vector_summary *summary, unsigned exponent) {
    uint8_t form = summary->kind & FORM_KIND_MASK;
    int64_t unused;
    for (int field = 0; field < FIELD_COUNT; field++) {
        if (!scaled(field_get(summary, field), exponent, &unused))
            form |= (uint8_t)(1u << (FORM_RAW_SHIFT + field));
    }
    return form;
}

static void pack_times(const uint32_t *firsts, uint32_t series_count,
                       const struct vector_summary *summaries, struct buf *out) {
    uint64_t previous_first = 0;
    for (uint32_t s = 0; s < series_count; s++) {
        uint32_t v = firsts[s];
        uint64_t first = (uint64_t)summaries[v].time_first_ms;
        put_varint(out, bytes_zigzag((int64_t)(first - previous_first)));
        previous_first = first;
        for (v++; v < firsts[s + 1]; v++)
            put_varint(out, (uint64_t)summaries[v].time_first_ms -
                                (uint64_t)summaries[v - 1].time_last_ms);
    }
    for (uint32_t v = 0; v < firsts[series_count]; v++)
        put_varint(out, (uint64_t)summaries[v].time_last_ms - (uint64_t)summaries[v].time_first_ms);
}

void segment_group_pack(const uint32_t *ids, const uint32_t *firsts, uint32_t series_count,
                        const struct vector_summary *summaries, struct buf *out) {
    uint32_t vector_count = firsts[series_count];
    for (uint32_t s = 0; s < series_count; s++)
        put_varint(out, s == 0 ? 0 : ids[s] - ids[s - 1]);
    for (uint32_t s = 0; s < series_count; s++)
        put_varint(out, firsts[s + 1] - firsts[s]);
    size_t exponents = out->n;
    for (uint32_t v = 0; v < vector_count; v++)
        buf_char(out, (char)choose_exponent(&summaries[v]));
    if (out->failed)
        return;
    for (uint32_t v = 0; v < vector_count; v++)
        buf_char(out, (char)form_of(&summaries[v], (uint8_t)out->p[exponents + v]));
    for (uint32_t v = 0; v < vector_count; v++)
        put_varint(out, summaries[v].count);
    for (uint32_t v = 0; v < vector_count; v++)
        put_varint(out, summaries[v].payload_bytes);
    pack_times(firsts, series_count, summaries, out);
    for (int field = 0; field < FIELD_COUNT && !out->failed; field++) {
        for (uint32_t v = 0; v < vector_count; v++)
            pack_field(&summaries[v], field, (uint8_t)out->p[exponents + v], out);
    }
}

size_t segment_group_squeeze(const void *raw, size_t n, int level, struct buf *out) {
    size_t before = out->n;
    if (level > 0) {
        size_t bound = ZSTD_compressBound(n);
        char *at = buf_reserve(out, bound);
        if (at == NULL)
            return 0;
        size_t got = ZSTD_compress(at, bound, raw, n, level);
        if (!ZSTD_isError(got) && got < n - n / 8 && n / SEGMENT_RATIO_MAX < got) {
            out->n += got;
            return got;
        }
    }
    buf_add(out, raw, n);
    return out->failed ? 0 : out->n - before;
}

/* ---- expanding ---- */

/* bytes_take_varint with the one-byte case first: most columns are small. */
static inline uint64_t take_varint(struct bytes_reader *reader) {
    if (LIKELY(!reader->failed && reader->at < reader->end && *reader->at < 0x80))
        return *reader->at++;
    return bytes_take_varint(reader);
}

static struct segment_group *group_new(const struct segment_group_entry *entry) {
    size_t vectors = entry->vector_count, series = entry->series_count;
    size_t bytes = sizeof(struct segment_group) + vectors * sizeof(struct vector_summary) +
                   vectors * sizeof(struct segment_place) + (2 * series + 1) * sizeof(uint32_t);
    struct segment_group *group = malloc(bytes);
    if (group == NULL)
        return NULL;
    group->bytes = bytes;
    group->series_count = entry->series_count;
    group->vector_count = entry->vector_count;
    group->summaries = (struct vector_summary *)(void *)(group + 1);
    group->places = (struct segment_place *)(void *)(group->summaries + vectors);
    group->ids = (uint32_t *)(void *)(group->places + vectors);
    group->firsts = group->ids + series;
    return group;
}

static bool unpack_series(struct bytes_reader *reader, const struct segment_group_entry *entry,
                          struct segment_group *group) {
    uint64_t id = entry->first_series;
    for (uint32_t s = 0; s < group->series_count; s++) {
        uint64_t step = take_varint(reader);
        if ((step == 0) != (s == 0) || step > UINT32_MAX)
            return false;
        id += step;
        if (id > entry->last_series)
            return false;
        group->ids[s] = (uint32_t)id;
    }
    uint64_t first = 0;
    for (uint32_t s = 0; s < group->series_count; s++) {
        group->firsts[s] = (uint32_t)first;
        uint64_t count = take_varint(reader);
        if (count == 0 || count > group->vector_count - first)
            return false;
        first += count;
    }
    group->firsts[group->series_count] = (uint32_t)first;
    return id == entry->last_series && first == group->vector_count;
}

static bool unpack_sizes(struct bytes_reader *reader, const uint8_t *forms,
                         struct segment_group *group) {
    for (uint32_t v = 0; v < group->vector_count; v++) {
        uint64_t count = take_varint(reader);
        uint8_t kind = forms[v] & FORM_KIND_MASK;
        if (count == 0 || count > LIMIT_VECTOR_POINTS || kind > POINTS_MIXED ||
            forms[v] >= FORM_END)
            return false;
        group->summaries[v].count = (uint16_t)count;
        group->summaries[v].kind = kind;
        group->summaries[v].reserved = 0;
    }
    for (uint32_t v = 0; v < group->vector_count; v++) {
        uint64_t bytes = take_varint(reader);
        if (bytes > SEGMENT_BLOCK_BYTES_MAX)
            return false;
        group->summaries[v].payload_bytes = (uint32_t)bytes;
    }
    return true;
}

/* Gives every vector its place; the blocks must be filled exactly. */
static bool place_payloads(const struct segment_group_entry *entry,
                           const struct segment_block_entry *blocks, uint32_t block_count,
                           struct segment_group *group) {
    uint32_t v = 0;
    for (uint32_t b = 0; b < block_count; b++) {
        uint32_t offset = 0;
        if (blocks[b].first_vector - entry->first_vector != v ||
            blocks[b].vector_count > group->vector_count - v)
            return false;
        for (uint32_t end = v + blocks[b].vector_count; v < end; v++) {
            group->places[v] = (struct segment_place){entry->first_block + b, offset};
            if (group->summaries[v].payload_bytes > blocks[b].raw_bytes - offset)
                return false;
            offset += group->summaries[v].payload_bytes;
        }
        if (offset != blocks[b].raw_bytes)
            return false;
    }
    return v == group->vector_count;
}

static bool unpack_times(struct bytes_reader *reader, const struct segment_footer *footer,
                         struct segment_group *group) {
    struct vector_summary *summaries = group->summaries;
    for (uint32_t s = 0; s < group->series_count; s++) {
        uint32_t v = group->firsts[s];
        summaries[v].time_first_ms = bytes_unzigzag(take_varint(reader));
        for (v++; v < group->firsts[s + 1]; v++)
            summaries[v].time_first_ms = (int64_t)take_varint(reader);
    }
    uint64_t previous_first = 0, previous_last = 0;
    for (uint32_t s = 0; s < group->series_count; s++) {
        for (uint32_t v = group->firsts[s]; v < group->firsts[s + 1]; v++) {
            bool begins = v == group->firsts[s];
            int64_t before = (int64_t)previous_last;
            uint64_t first =
                (uint64_t)summaries[v].time_first_ms + (begins ? previous_first : previous_last);
            uint64_t span = take_varint(reader);
            uint64_t last = first + span;
            if (begins)
                previous_first = first;
            previous_last = last;
            summaries[v].time_first_ms = (int64_t)first;
            summaries[v].time_last_ms = (int64_t)last;
            bool points_fit = summaries[v].count == 1 ? span == 0 : span >= summaries[v].count - 1u;
            if (!points_fit || (int64_t)span < 0 || (int64_t)last < (int64_t)first ||
                (int64_t)first < footer->time_first_ms || (int64_t)last > footer->time_last_ms ||
                (!begins && (int64_t)first <= before))
                return false;
        }
    }
    return true;
}

/* min is unpacked first, and its scaled integer waits in the slot of the sum, which is unpacked
   last. */
static void unpack_min(struct bytes_reader *reader, uint8_t form, double scale,
                       struct vector_summary *summary) {
    uint64_t i = 0;
    if ((form >> FORM_RAW_SHIFT & 1) != 0) {
        summary->min = points_double_of(bytes_take_u64(reader));
    } else {
        i = (uint64_t)bytes_unzigzag(take_varint(reader));
        summary->min = (double)(int64_t)i / scale;
    }
    summary->sum = points_double_of(i);
}

static void unpack_fields(struct bytes_reader *reader, const uint8_t *exponents,
                          const uint8_t *forms, struct segment_group *group) {
    for (uint32_t v = 0; v < group->vector_count; v++)
        unpack_min(reader, forms[v], power_of_ten[exponents[v]], &group->summaries[v]);
    for (int field = FIELD_MIN + 1; field < FIELD_COUNT; field++) {
        for (uint32_t v = 0; v < group->vector_count; v++) {
            struct vector_summary *summary = &group->summaries[v];
            uint64_t bits;
            if ((forms[v] >> (FORM_RAW_SHIFT + field) & 1) != 0) {
                bits = bytes_take_u64(reader);
            } else {
                uint64_t min = field_bits(summary, FIELD_SUM);
                uint64_t i = take_varint(reader) + field_base(field, min, summary->count);
                bits = points_bits_of((double)(int64_t)i / power_of_ten[exponents[v]]);
            }
            memcpy((char *)summary + field_offset[field], &bits, sizeof(bits));
        }
    }
}

static bool bytes_all_at_most(const uint8_t *bytes, size_t n, uint8_t max) {
    uint8_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= bytes[i] > max;
    return bad == 0;
}

enum rc segment_group_unpack(const uint8_t *raw, const struct segment_group_entry *entry,
                             const struct segment_block_entry *blocks, uint32_t block_count,
                             const struct segment_footer *footer, struct segment_group **out) {
    if (entry->raw_bytes / SERIES_BYTES_MIN < entry->series_count ||
        entry->raw_bytes / VECTOR_BYTES_MIN < entry->vector_count)
        return RC_CORRUPT;
    struct segment_group *group = group_new(entry);
    if (group == NULL)
        return RC_NOMEM;
    struct bytes_reader reader = bytes_reader_of(raw, entry->raw_bytes);
    if (!unpack_series(&reader, entry, group))
        goto corrupt;
    const uint8_t *exponents = bytes_take(&reader, group->vector_count);
    const uint8_t *forms = bytes_take(&reader, group->vector_count);
    if (forms == NULL || !bytes_all_at_most(exponents, group->vector_count, SEGMENT_EXPONENT_MAX))
        goto corrupt;
    if (!unpack_sizes(&reader, forms, group) ||
        !place_payloads(entry, blocks, block_count, group) || !unpack_times(&reader, footer, group))
        goto corrupt;
    unpack_fields(&reader, exponents, forms, group);
    if (reader.failed || bytes_left(&reader) != 0)
        goto corrupt;
    *out = group;
    return RC_OK;

corrupt:
    free(group);
    return RC_CORRUPT;
}
