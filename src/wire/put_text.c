#include "wire/put_text.h"

#include "model/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

enum { TEXT_BYTES = sizeof(((struct err *)NULL)->message) };

enum rc put_text_not_finite(struct err *err, str metric, int64_t timestamp, struct value value) {
    double number = points_double_of(value.bits);
    const char *text = isnan(number) ? "NaN" : number < 0 ? "-Infinity" : "Infinity";
    return err_set(err, RC_INVALID, "value is NaN or Infinite: %s for metric=%.*s timestamp=%lld",
                   text, STR_ARG(metric), (long long)timestamp);
}

/* A value as OpenTSDB would store it: big-endian bytes, as few as hold an integer, four for a
   double that is a float. */
struct stored_value {
    int8_t bytes[8];
    int count;
    int flags; /* bytes - 1, and 8 for floating point */
};

static struct stored_value stored_value_of(struct value value) {
    uint64_t bits = value.bits;
    int64_t integer = (int64_t)bits;
    struct stored_value stored = {.count = 8};
    double number = points_double_of(bits);
    float narrow = (float)number;
    if (value.is_float && (double)narrow == number) {
        uint32_t narrow_bits;
        memcpy(&narrow_bits, &narrow, sizeof(narrow_bits));
        bits = narrow_bits;
        stored.count = 4;
    } else if (!value.is_float) {
        stored.count = integer == (int8_t)integer    ? 1
                       : integer == (int16_t)integer ? 2
                       : integer == (int32_t)integer ? 4
                                                     : 8;
    }
    stored.flags = stored.count - 1 + (value.is_float ? 8 : 0);
    for (int i = 0; i < stored.count; i++)
        stored.bytes[i] = (int8_t)(bits >> 8 * (stored.count - 1 - i));
    return stored;
}

enum rc put_text_bad_timestamp(struct err *err, const struct series_key *key, int64_t timestamp,
                               struct value value) {
    struct stored_value stored = stored_value_of(value);
    char bytes[64] = "";
    size_t n = 0;
    for (int i = 0; i < stored.count; i++)
        n +=
            (size_t)snprintf(bytes + n, sizeof(bytes) - n, i == 0 ? "%d" : ", %d", stored.bytes[i]);
    char tags[TEXT_BYTES];
    return err_set(err, RC_INVALID,
                   "bad timestamp=%lld when trying to add value=[%s]/%d to metric=%.*s, tags=%s",
                   (long long)timestamp, bytes, stored.flags, STR_ARG(key->metric),
                   series_key_tags_text(key, tags, sizeof(tags)));
}

enum rc put_text_too_many_tags(struct err *err, const struct series_key *key, uint64_t count) {
    char tags[TEXT_BYTES];
    return err_set(err, RC_INVALID, "Too many tags: %llu maximum allowed: %d, tags: %s",
                   (unsigned long long)count, LIMIT_TAGS_MAX,
                   series_key_tags_text(key, tags, sizeof(tags)));
}

str put_text_character(str text) {
    uint32_t code_point;
    size_t n = utf8_decode(text.p, text.n, &code_point);
    return n == 0 ? UTF8_REPLACEMENT : (str){text.p, n};
}
