#include "store/index_internal.h"

#include <string.h>

/*
 * A UID is shown in the width of its kind, big-endian. One that does not fit, and the one that is
 * all ones, is shown as an escape: all ones in that width, then 4 bytes. So the text of a UID tells
 * its own length, TSUIDs can be read from left to right whatever UIDs they hold, and their order as
 * text stays that of the UIDs (docs/format/names.md).
 */
enum { ESCAPED_BYTES = 4 };

static bool needs_escape(uint32_t uid, uint32_t width) {
    return width <= 4 && uid >= (UINT64_C(1) << (8 * width)) - 1;
}

static void add_hex(struct buf *out, uint64_t value, uint32_t width) {
    static const char pairs[] = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
                                "202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F"
                                "404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F"
                                "606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F"
                                "808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9F"
                                "A0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBF"
                                "C0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF"
                                "E0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF";
    char *to = buf_reserve(out, 2 * (size_t)width);
    if (to == NULL)
        return;
    for (uint32_t byte = width; byte-- > 0; to += 2)
        memcpy(to, pairs + 2 * (value >> (8 * byte) & 0xff), 2);
    out->n += 2 * (size_t)width;
}

void index_uid_hex(struct index *index, enum index_kind kind, uint32_t uid, struct buf *out) {
    uint32_t width = index->options.uid_width[kind];
    if (needs_escape(uid, width)) {
        add_hex(out, UINT64_MAX, width);
        width = ESCAPED_BYTES;
    }
    add_hex(out, uid, width);
}

void index_tsuid(struct index *index, const struct series *series, struct buf *out) {
    index_uid_hex(index, INDEX_METRIC, series->metric_uid, out);
    for (uint32_t i = 0; i < series->tag_count; i++) {
        index_uid_hex(index, INDEX_TAGK, series->tags[i].key_uid, out);
        index_uid_hex(index, INDEX_TAGV, series->tags[i].value_uid, out);
    }
}

/* Takes `width` bytes of hex from the front of *hex. */
static bool take_hex(str *hex, uint32_t width, uint64_t *value) {
    if (hex->n < 2 * (size_t)width)
        return false;
    *value = 0;
    for (uint32_t i = 0; i < 2 * width; i++) {
        char c = hex->p[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'A' && c <= 'F')
            digit = (unsigned)(c - 'A') + 10;
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        *value = *value << 4 | digit;
    }
    *hex = (str){hex->p + 2 * width, hex->n - 2 * width};
    return true;
}

/* Takes one UID from the front of *hex; 0 if it is not one as index_uid_hex writes it. */
static uint32_t take_uid(const struct index *index, enum index_kind kind, str *hex) {
    uint32_t width = index->options.uid_width[kind];
    uint64_t value;
    if (!take_hex(hex, width, &value) || value > UINT32_MAX)
        return 0;
    if (!needs_escape((uint32_t)value, width))
        return (uint32_t)value;
    if (!take_hex(hex, ESCAPED_BYTES, &value) || !needs_escape((uint32_t)value, width))
        return 0;
    return (uint32_t)value;
}

uint32_t index_uid_parse(struct index *index, enum index_kind kind, str hex) {
    uint32_t uid = take_uid(index, kind, &hex);
    return hex.n == 0 ? uid : 0;
}

uint32_t index_tsuid_metric(struct index *index, str hex) {
    uint32_t uid = take_uid(index, INDEX_METRIC, &hex);
    if (uid == 0)
        return 0;
    rwlock_read(&index->lock);
    bool known = index_names_name(&index->names[INDEX_METRIC], uid).p != NULL;
    rwlock_unlock(&index->lock);
    return known ? uid : 0;
}

struct series *index_by_tsuid(struct index *index, str hex) {
    struct index_identity identity = {.metric_uid = take_uid(index, INDEX_METRIC, &hex)};
    if (identity.metric_uid == 0)
        return NULL;
    while (hex.n > 0) {
        if (identity.tag_count == LIMIT_TAGS_MAX)
            return NULL;
        struct series_tag *tag = &identity.tags[identity.tag_count++];
        tag->key_uid = take_uid(index, INDEX_TAGK, &hex);
        tag->value_uid = tag->key_uid == 0 ? 0 : take_uid(index, INDEX_TAGV, &hex);
        if (tag->value_uid == 0)
            return NULL;
    }
    index_identity_sort(&identity);
    rwlock_read(&index->lock);
    struct series *series = index_identity_find(index, &identity);
    rwlock_unlock(&index->lock);
    return series;
}
