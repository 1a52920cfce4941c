#include "query/query_names.h"

#include "wire/json_out.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_BYTES = 64, TEXT_BYTES = 52, HASH_BITS = 32, BITS_FIRST = 6, CROWDED = 8 };

/* A tag, or with value_uid 0 a key alone. */
struct query_names_slot {
    struct series_tag tag; /* key_uid 0: free */
    uint8_t n;             /* bytes of the text: what is longer is not remembered */
    uint8_t key_n;         /* bytes of the key, if the text holds the names as they are; else 0 */
    char text[TEXT_BYTES + 2];
};
_Static_assert(sizeof(struct query_names_slot) == SLOT_BYTES, "one cache line");

void query_names_init(struct query_names *names, struct index *index, uint32_t bits_max,
                      struct budget *budget) {
    *names = (struct query_names){
        .index = index, .bits_max = bits_max, .memory.budget = budget, .text.budget = budget};
}

void query_names_fini(struct query_names *names) {
    scratch_fini(&names->memory);
    buf_fini(&names->text);
    names->slots = NULL;
    names->slot_bits = 0;
}

static inline bool is_of(const struct query_names_slot *slot, const struct series_tag *tag) {
    return memcmp(&slot->tag, tag, sizeof(*tag)) == 0;
}

/* UIDs are dense, and most values have one key only: the last bits of the value's are the tag's
   home, so that results in order of UIDs walk through the table. */
static inline struct query_names_slot *home_of(const struct query_names *names,
                                               struct series_tag tag) {
    return &names->slots[tag.value_uid & ((UINT32_C(1) << names->slot_bits) - 1)];
}

/* Where else it may stand. */
static inline struct query_names_slot *refuge_of(const struct query_names *names,
                                                 struct series_tag tag) {
    uint32_t hash = tag.value_uid * UINT32_C(0x9e3779b1) + tag.key_uid * UINT32_C(0x85ebca77);
    return &names->slots[hash >> (HASH_BITS - names->slot_bits)];
}

/* The slot of a tag, or a free one where it may stand, or NULL. */
static inline struct query_names_slot *find(const struct query_names *names,
                                            struct series_tag tag) {
    struct query_names_slot *slot = home_of(names, tag);
    if (LIKELY(is_of(slot, &tag)) || slot->tag.key_uid == 0)
        return slot;
    slot = refuge_of(names, tag);
    return is_of(slot, &tag) || slot->tag.key_uid == 0 ? slot : NULL;
}

/* An empty table of 2^bits slots, each in one cache line. False when memory is out. */
static bool make_table(struct query_names *names, uint32_t bits) {
    struct scratch memory = {.budget = names->memory.budget};
    size_t bytes = ((size_t)1 << bits) * SLOT_BYTES;
    char *p = scratch_need(&memory, bytes + SLOT_BYTES);
    if (p == NULL)
        return false;
    p += (SLOT_BYTES - (uintptr_t)p % SLOT_BYTES) % SLOT_BYTES;
    memset(p, 0, bytes);
    names->memory = memory;
    names->slots = (struct query_names_slot *)(void *)p;
    names->slot_bits = bits;
    return true;
}

/* A larger table with what was in the old one. False, and nothing changed, when memory is out or it
   is as large as it may be. */
static bool grow(struct query_names *names) {
    struct query_names before = *names;
    uint32_t bits = before.slots == NULL ? BITS_FIRST : before.slot_bits + 1;
    names->crowded = 0;
    if (bits > names->bits_max || !make_table(names, bits))
        return false;
    size_t count = before.slots == NULL ? 0 : (size_t)1 << before.slot_bits;
    for (size_t i = 0; i < count; i++) {
        const struct query_names_slot *slot = &before.slots[i];
        if (slot->tag.key_uid == 0)
            continue;
        struct query_names_slot *place = find(names, slot->tag);
        if (place != NULL)
            *place = *slot;
    }
    scratch_fini(&before.memory);
    return true;
}

/* Where to remember a tag, at the price of what is there; NULL without a table. A few that find no
   place are no reason to double it. */
static struct query_names_slot *place_for(struct query_names *names, struct series_tag tag) {
    if (names->slots == NULL && !grow(names))
        return NULL;
    struct query_names_slot *slot = find(names, tag);
    if (slot == NULL && ++names->crowded > (UINT32_C(1) << names->slot_bits) / CROWDED &&
        grow(names))
        slot = find(names, tag);
    return slot != NULL ? slot : home_of(names, tag);
}

/* Quotes into names->text; the names by *raw. */
static void quote(struct query_names *names, struct series_tag tag, struct tag *raw) {
    *raw = (struct tag){index_name(names->index, INDEX_TAGK, tag.key_uid), {NULL, 0}};
    buf_reset(&names->text);
    struct json_out json = {.out = &names->text};
    if (tag.value_uid == 0) {
        json_out_string(&json, raw->key);
        return;
    }
    raw->value = index_name(names->index, INDEX_TAGV, tag.value_uid);
    json_out_key(&json, raw->key);
    json_out_string(&json, raw->value);
}

/* Whether the text is the names themselves with four quotes and a colon. */
static bool is_verbatim(str text, const struct tag *raw) {
    return raw->key.n > 0 && raw->value.n > 0 && text.n == raw->key.n + raw->value.n + 5 &&
           memcmp(text.p + 1, raw->key.p, raw->key.n) == 0 &&
           memcmp(text.p + raw->key.n + 4, raw->value.p, raw->value.n) == 0;
}

static void remember(struct query_names *names, struct series_tag tag, const struct tag *raw) {
    str text = buf_view(&names->text);
    bool fits = !names->text.failed && text.n <= TEXT_BYTES;
    struct query_names_slot *slot = fits ? place_for(names, tag) : NULL;
    if (slot == NULL)
        return;
    slot->tag = tag;
    slot->n = (uint8_t)text.n;
    slot->key_n = is_verbatim(text, raw) ? (uint8_t)raw->key.n : 0;
    memcpy(slot->text, text.p, text.n);
}

/* The slot of a tag that is remembered, else NULL. */
static inline const struct query_names_slot *recall(const struct query_names *names,
                                                    struct series_tag tag) {
    const struct query_names_slot *slot = LIKELY(names->slots != NULL) ? find(names, tag) : NULL;
    return slot != NULL && slot->tag.key_uid != 0 ? slot : NULL;
}

static __attribute__((noinline)) void put_new(struct query_names *names, struct series_tag tag,
                                              struct buf *out) {
    struct tag raw;
    quote(names, tag, &raw);
    remember(names, tag, &raw);
    if (names->text.failed)
        out->failed = true;
    buf_str(out, buf_view(&names->text));
}

/* Appends what is remembered of the first tags, each with a comma, and returns their number. All
   bytes that a text may have are copied: that is one line, and no branch on its length. Nearly all
   tags are at home, so those are looked for with what is in registers. */
static uint32_t put_known(const struct query_names *names, const struct series_tag *tags,
                          uint32_t count, struct buf *out) {
    char *start = buf_reserve(out, (size_t)count * (TEXT_BYTES + 1));
    const struct query_names_slot *slots = names->slots;
    if (UNLIKELY(start == NULL || slots == NULL))
        return 0;
    uint32_t mask = (UINT32_C(1) << names->slot_bits) - 1;
    char *to = start;
    uint32_t i = 0;
    for (; i < count; i++) {
        const struct query_names_slot *slot = &slots[tags[i].value_uid & mask];
        if (UNLIKELY(!is_of(slot, &tags[i])) && (slot = recall(names, tags[i])) == NULL)
            break;
        memcpy(to, slot->text, TEXT_BYTES);
        to += slot->n;
        *to++ = ',';
    }
    out->n += (size_t)(to - start);
    return i;
}

void query_names_put_tags(struct query_names *names, const struct series_tag *tags, uint32_t count,
                          struct buf *out) {
    size_t before = out->n;
    for (uint32_t done = 0; done < count;) {
        done += put_known(names, tags + done, count - done, out);
        if (LIKELY(done == count))
            break;
        put_new(names, tags[done++], out);
        buf_char(out, ',');
    }
    if (out->n > before && !out->failed)
        out->n--; /* the last comma */
}

void query_names_put_keys(struct query_names *names, const uint32_t *key_uids, uint32_t count,
                          struct buf *out) {
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            buf_char(out, ',');
        query_names_put_tags(names, &(struct series_tag){key_uids[i], 0}, 1, out);
    }
}

struct tag query_names_tag(struct query_names *names, struct series_tag tag) {
    const struct query_names_slot *slot = recall(names, tag);
    struct tag raw;
    if (slot != NULL && slot->key_n > 0) {
        size_t around = slot->key_n + 5u; /* the key, and what is not a name */
        return (struct tag){{slot->text + 1, slot->key_n},
                            {slot->text + slot->key_n + 4, slot->n - around}};
    }
    quote(names, tag, &raw);
    remember(names, tag, &raw);
    return raw;
}
