#include "wire/put_line.h"

#include "base/attr.h"
#include "wire/number.h"
#include "wire/put_text.h"

static enum rc illegal(struct err *err) {
    err_context(err, "illegal argument");
    return RC_INVALID;
}

/* Text of a bad integer, or of a value that is none of OpenTSDB's numbers (`bad` is 0). */
static enum rc report_number(enum number_outcome outcome, str text, char bad, struct err *err) {
    switch (outcome) {
    case NUMBER_EMPTY:
        return err_set(err, RC_INVALID, "invalid value: Empty string");
    case NUMBER_SIGN_ONLY:
        return err_set(err, RC_INVALID, "invalid value: Just a sign, no value: %.*s",
                       STR_ARG(text));
    case NUMBER_TOO_LONG:
        return err_set(err, RC_INVALID, "invalid value: Value too long: %.*s", STR_ARG(text));
    case NUMBER_OVERFLOW:
        return err_set(err, RC_INVALID, "invalid value: Overflow in %.*s", STR_ARG(text));
    case NUMBER_OK:
    case NUMBER_INVALID:
    case NUMBER_NOT_FINITE:
        break;
    }
    if (bad == '\0')
        return err_set(err, RC_INVALID, "invalid value: For input string: \"%.*s\"", STR_ARG(text));
    str character = put_text_character(str_from(text, str_find(text, bad)));
    return err_set(err, RC_INVALID, "invalid value: Invalid character '%.*s' in %.*s",
                   STR_ARG(character), STR_ARG(text));
}

/* ---- time ---- */

/* Like a number of this length, and longer than any integer may be. */
enum { TIME_TEXT_MAX = 64 };

/* The number in a timestamp's text; it is above 0. */
static enum rc read_timestamp(str text, int64_t *timestamp, struct err *err) {
    char undotted[TIME_TEXT_MAX];
    if (str_find(text, '.') < text.n) {
        size_t n = 0;
        for (size_t i = 0; i < text.n && n < sizeof(undotted); i++)
            if (text.p[i] != '.')
                undotted[n++] = text.p[i];
        text = (str){undotted, n};
    }
    char bad = '\0';
    enum number_outcome outcome = number_parse_int(text, timestamp, &bad);
    if (outcome != NUMBER_OK)
        return report_number(outcome, text, bad, err);
    if (*timestamp <= 0)
        return err_set(err, RC_INVALID, "illegal argument: invalid timestamp: %lld",
                       (long long)*timestamp);
    return RC_OK;
}

enum rc put_line_time(str text, int64_t *time_ms, struct err *err) {
    int64_t timestamp;
    TRY(read_timestamp(text, &timestamp, err));
    *time_ms = put_text_time_ms(timestamp);
    if (*time_ms == 0)
        return err_set(err, RC_INVALID, "illegal argument: bad timestamp=%lld",
                       (long long)timestamp);
    return RC_OK;
}

/* ---- tags ---- */

/* The next word that is not empty; n 0 at the end. */
static str next_word(str *text) {
    while (text->n > 0 && text->p[0] == ' ')
        *text = str_from(*text, 1);
    size_t n = str_find(*text, ' ');
    str word = {text->p, n};
    *text = str_from(*text, n);
    return word;
}

static bool split_tag(str word, struct tag *tag) {
    size_t equals = str_find(word, '=');
    if (equals == 0 || equals + 1 >= word.n)
        return false;
    tag->key = (str){word.p, equals};
    tag->value = str_from(word, equals + 1);
    return str_find(tag->value, '=') == tag->value.n;
}

static bool holds(const struct series_key *key, struct tag tag) {
    for (uint32_t i = 0; i < key->tag_count; i++)
        if (str_eq(key->tags[i].key, tag.key) && str_eq(key->tags[i].value, tag.value))
            return true;
    return false;
}

/* Takes out repeated pairs, so that they do not count against the limit. */
static void drop_repeated(struct series_key *key) {
    uint32_t count = key->tag_count;
    key->tag_count = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!holds(key, key->tags[i]))
            key->tags[key->tag_count++] = key->tags[i];
}

/* Fills key; *beyond is the number of tags that did not fit. */
static enum rc take_tags(const struct put_line *put, struct series_key *key, uint64_t *beyond,
                         struct err *err) {
    key->metric = put->metric;
    key->tag_count = 0;
    *beyond = 0;
    str rest = put->tags;
    for (str word = next_word(&rest); word.n > 0; word = next_word(&rest)) {
        struct tag tag;
        if (!split_tag(word, &tag))
            return err_set(err, RC_INVALID, "illegal argument: invalid tag: %.*s", STR_ARG(word));
        if (UNLIKELY(key->tag_count == LIMIT_TAGS_MAX && *beyond == 0))
            drop_repeated(key);
        if (LIKELY(key->tag_count < LIMIT_TAGS_MAX))
            key->tags[key->tag_count++] = tag;
        else if (!holds(key, tag))
            ++*beyond;
    }
    return RC_OK;
}

enum rc put_line_key(const struct put_line *put, struct series_key *key, struct err *err) {
    uint64_t beyond;
    TRY(take_tags(put, key, &beyond, err));
    if (beyond == 0)
        return RC_OK;
    put_text_too_many_tags(err, key, LIMIT_TAGS_MAX + beyond);
    return illegal(err);
}

/* ---- lines ---- */

/* What is wrong with a value or a timestamp's range is said after what is wrong with the tags. */
static enum rc report_late(struct put_line *put, str value_text, int64_t timestamp,
                           struct err *err) {
    struct series_key key;
    uint64_t beyond;
    TRY(take_tags(put, &key, &beyond, err));
    struct series_key canonical = key;
    if (series_key_canonicalise(&canonical, err) < 0)
        return illegal(err);
    char bad = '\0';
    enum number_outcome outcome = number_parse_value(value_text, &put->value, &bad);
    if (outcome == NUMBER_NOT_FINITE)
        put_text_not_finite(err, put->metric, timestamp, put->value);
    else if (outcome != NUMBER_OK)
        return report_number(
            outcome, outcome == NUMBER_INVALID && bad == '\0' ? str_trim(value_text) : value_text,
            bad, err);
    else
        put_text_bad_timestamp(err, &key, timestamp, put->value);
    return illegal(err);
}

/* Fewer than four words: words are what stands between single spaces, empty or not. */
static enum rc report_too_few(str line, struct err *err) {
    int words = line.p != NULL;
    for (size_t i = 0; i < line.n; i++)
        words += line.p[i] == ' ';
    return err_set(err, RC_INVALID, "illegal argument: not enough arguments (need least 4, got %d)",
                   words);
}

/* The word at `p`: everything to the next space. NULL if there is no space up to `end`. */
static inline const char *word_end(const char *p, const char *end) {
    return p == end ? NULL : memchr(p, ' ', (size_t)(end - p));
}

enum rc put_line_parse(str line, struct put_line *put, struct err *err) {
    const char *end = line.p + line.n;
    const char *metric_end = word_end(line.p, end);
    const char *time_end = metric_end == NULL ? NULL : word_end(metric_end + 1, end);
    const char *value_end = time_end == NULL ? NULL : word_end(time_end + 1, end);
    put->metric = (str){line.p, metric_end == NULL ? line.n : (size_t)(metric_end - line.p)};
    put->tags = (str){end, 0};
    if (UNLIKELY(value_end == NULL))
        return report_too_few(line, err);
    put->tags = (str){value_end + 1, (size_t)(end - value_end - 1)};
    if (UNLIKELY(put->metric.n == 0))
        return err_set(err, RC_INVALID, "illegal argument: empty metric name");
    str time_text = {metric_end + 1, (size_t)(time_end - metric_end - 1)};
    int64_t timestamp;
    if (UNLIKELY(number_parse_int(time_text, &timestamp, NULL) != NUMBER_OK || timestamp <= 0))
        TRY(read_timestamp(time_text, &timestamp, err));
    str value_text = {time_end + 1, (size_t)(value_end - time_end - 1)};
    if (UNLIKELY(value_text.n == 0))
        return err_set(err, RC_INVALID, "illegal argument: empty value");
    put->time_ms = put_text_time_ms(timestamp);
    if (UNLIKELY(number_parse_value(value_text, &put->value, NULL) != NUMBER_OK ||
                 put->time_ms == 0))
        return report_late(put, value_text, timestamp, err);
    return RC_OK;
}
