#include "model/series_key.h"

#include "base/hash.h"
#include "model/letter.h"
#include "model/utf8.h"

#include <stdio.h>

enum { TAGS_TEXT_BYTES = sizeof(((struct err *)NULL)->message) };

/* ---- texts ---- */

static str text_of(str name) {
    return name.p == NULL ? STR("null") : name;
}

static size_t add_text(char *out, size_t at, size_t capacity, str text) {
    size_t n = text.n < capacity - 1 - at ? text.n : capacity - 1 - at;
    if (n > 0)
        memcpy(out + at, text.p, n);
    return at + n;
}

const char *series_key_tags_text(const struct series_key *key, char *out, size_t capacity) {
    size_t at = add_text(out, 0, capacity, STR("{"));
    for (uint32_t i = 0; i < key->tag_count; i++) {
        if (i > 0)
            at = add_text(out, at, capacity, STR(", "));
        at = add_text(out, at, capacity, text_of(key->tags[i].key));
        at = add_text(out, at, capacity, STR("="));
        at = add_text(out, at, capacity, text_of(key->tags[i].value));
    }
    at = add_text(out, at, capacity, STR("}"));
    out[at] = '\0';
    return out;
}

/* ---- canonical order ---- */

/* Position of an earlier tag with the key of tag `i`, or i. */
static uint32_t same_key_before(const struct series_key *key, uint32_t i) {
    uint32_t j = 0;
    while (j < i && !str_eq(key->tags[j].key, key->tags[i].key))
        j++;
    return j;
}

/* In the order given, because the text names the first tag that conflicts and those before it. */
static enum rc report_conflict(const struct series_key *key, struct err *err) {
    struct series_key before = {.metric = key->metric};
    for (uint32_t i = 0; i < key->tag_count; i++) {
        const struct tag *tag = &key->tags[i];
        uint32_t earlier = same_key_before(key, i);
        if (earlier == i) {
            before.tags[before.tag_count++] = *tag;
        } else if (!str_eq(key->tags[earlier].value, tag->value)) {
            char tags[TAGS_TEXT_BYTES];
            return err_set(err, RC_INVALID, "duplicate tag: %.*s=%.*s, tags=%s", STR_ARG(tag->key),
                           STR_ARG(tag->value), series_key_tags_text(&before, tags, sizeof(tags)));
        }
    }
    return RC_OK;
}

enum rc series_key_canonicalise(struct series_key *key, struct err *err) {
    struct tag sorted[LIMIT_TAGS_MAX];
    uint32_t count = 0;
    /* Insertion: few tags, and collectors send them sorted or nearly so. */
    for (uint32_t i = 0; i < key->tag_count; i++) {
        struct tag tag = key->tags[i];
        uint32_t at = count;
        int order = -1;
        while (at > 0 && (order = str_cmp(sorted[at - 1].key, tag.key)) > 0)
            at--;
        if (at > 0 && order == 0) {
            if (!str_eq(sorted[at - 1].value, tag.value))
                return report_conflict(key, err);
            continue;
        }
        memmove(&sorted[at + 1], &sorted[at], (count - at) * sizeof(sorted[0]));
        sorted[at] = tag;
        count++;
    }
    memcpy(key->tags, sorted, count * sizeof(sorted[0]));
    key->tag_count = count;
    return RC_OK;
}

/* ---- checks ---- */

static const bool plain[256] = {
    ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['-'] = true,
    ['.'] = true,         ['/'] = true,         ['_'] = true,
};

static bool is_special(char c, str special_chars) {
    return (uint8_t)c < 0x80 && str_find(special_chars, c) < special_chars.n;
}

bool series_key_name_ok(str name, str special_chars, str *bad) {
    for (size_t i = 0; i < name.n;) {
        if (LIKELY(plain[(uint8_t)name.p[i]]) || is_special(name.p[i], special_chars)) {
            i++;
            continue;
        }
        uint32_t code_point = 0;
        size_t n = utf8_decode(name.p + i, name.n - i, &code_point);
        if (n == 0 || !letter_is(code_point)) {
            if (bad != NULL)
                *bad = n == 0 ? UTF8_REPLACEMENT : (str){name.p + i, n};
            return false;
        }
        i += n;
    }
    return true;
}

/* What a name is, for texts: the metric, or a tag's key or value together with its other half. */
struct role {
    const char *what; /* a format with one "%.*s", for `other` */
    str other;
};

static enum rc check_name(str name, struct role role, str special_chars, struct err *err) {
    str bad;
    if (LIKELY(name.n > 0 && name.n <= LIMIT_NAME_BYTES_MAX &&
               series_key_name_ok(name, special_chars, &bad)))
        return RC_OK;
    char what[TAGS_TEXT_BYTES];
    (void)!snprintf(what, sizeof(what), role.what, STR_ARG(role.other));
    if (name.p == NULL)
        return err_set(err, RC_INVALID, "Invalid %s: null", what);
    if (name.n == 0)
        return err_set(err, RC_INVALID, "Invalid %s: empty string", what);
    if (name.n > LIMIT_NAME_BYTES_MAX)
        return err_set(err, RC_INVALID, "Invalid %s: %zu bytes long, maximum %d (\"%.*s...\")",
                       what, name.n, LIMIT_NAME_BYTES_MAX, 100, name.p);
    return err_set(err, RC_INVALID, "Invalid %s (\"%.*s\"): illegal character: %.*s", what,
                   STR_ARG(name), STR_ARG(bad));
}

enum rc series_key_check(const struct series_key *key, const struct series_key_rules *rules,
                         struct err *err) {
    char tags[TAGS_TEXT_BYTES];
    if (key->tag_count == 0)
        return err_set(err, RC_INVALID, "Need at least one tag (metric=%.*s, tags={})",
                       STR_ARG(key->metric));
    if (key->tag_count > rules->tags_max)
        return err_set(err, RC_INVALID, "Too many tags: %u maximum allowed: %u, tags: %s",
                       key->tag_count, rules->tags_max,
                       series_key_tags_text(key, tags, sizeof(tags)));
    str special = rules->special_chars;
    TRY(check_name(key->metric, (struct role){"metric name%.*s", {"", 0}}, special, err));
    for (uint32_t i = 0; i < key->tag_count; i++) {
        str k = key->tags[i].key;
        str v = key->tags[i].value;
        TRY(check_name(k, (struct role){"tag name with value [%.*s]", text_of(v)}, special, err));
        TRY(check_name(v, (struct role){"tag value with key [%.*s]", text_of(k)}, special, err));
    }
    return RC_OK;
}

uint64_t series_key_hash(const struct series_key *key) {
    /* Chained field by field, so that bytes that move from one field to the next change it. */
    uint64_t hash = hash_bytes(key->metric.p, key->metric.n);
    for (uint32_t i = 0; i < key->tag_count; i++) {
        hash = hash_chain(hash, key->tags[i].key.p, key->tags[i].key.n);
        hash = hash_chain(hash, key->tags[i].value.p, key->tags[i].value.n);
    }
    return hash;
}
