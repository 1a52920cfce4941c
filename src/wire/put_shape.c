#include "wire/put_shape.h"

#include "base/attr.h"
#include "wire/digits.h"
#include "wire/number_decimal.h"
#include "wire/put_text.h"

enum gap { GAP_METRIC, GAP_TIME, GAP_VALUE, GAP_TAGS };

enum {
    WORDS_BYTES = PUT_SHAPE_WORDS * sizeof(uint64_t),
    DECIMAL_DIGITS_MAX = 19,
    /* What both numbers can take at most, and what is read behind the last of them. */
    SLACK_BYTES = 4 * DIGITS_RUN_MAX + DIGITS_RUN_BYTES + WORDS_BYTES
};

/* ---- learning ---- */

static bool learn_piece(struct put_shape_piece *piece, const char *from, const char *to) {
    size_t n = (size_t)(to - from);
    if (n > sizeof(piece->bytes))
        return false;
    *piece = (struct put_shape_piece){.n = (uint32_t)n};
    memcpy(piece->bytes, from, n);
    char mask[WORDS_BYTES] = {0};
    memset(mask, 0xff, n < WORDS_BYTES ? n : WORDS_BYTES);
    memcpy(piece->words, piece->bytes, WORDS_BYTES);
    memcpy(piece->masks, mask, WORDS_BYTES);
    return true;
}

/* The gap that begins first at or behind `from`; PUT_SHAPE_GAPS if none does. */
static unsigned next_gap(const str *gaps, const char *from) {
    unsigned best = PUT_SHAPE_GAPS;
    for (unsigned i = 0; i < PUT_SHAPE_GAPS; i++)
        if (gaps[i].p >= from && (best == PUT_SHAPE_GAPS || gaps[i].p < gaps[best].p))
            best = i;
    return best;
}

static bool lies_in(str part, str whole) {
    return part.n > 0 && part.p >= whole.p && part.p < whole.p + whole.n;
}

static bool learn(struct put_shape *shape, str object, const str *gaps) {
    const char *from = object.p;
    for (unsigned i = 0; i < PUT_SHAPE_GAPS; i++) {
        unsigned gap = next_gap(gaps, from);
        if (gap == PUT_SHAPE_GAPS || !learn_piece(&shape->piece[i], from, gaps[gap].p))
            return false;
        shape->gap[i] = (uint8_t)gap;
        shape->bytes += shape->piece[i].n;
        from = gaps[gap].p + gaps[gap].n;
    }
    const char *end = object.p + object.n;
    shape->bytes += (size_t)(end - from);
    return learn_piece(&shape->piece[PUT_SHAPE_GAPS], from, end);
}

void put_shape_learn(struct put_shape *shape, const struct put_json_point *point) {
    const str gaps[PUT_SHAPE_GAPS] = {[GAP_METRIC] = point->metric_raw,
                                      [GAP_TIME] = point->timestamp_text,
                                      [GAP_VALUE] = point->value_text,
                                      [GAP_TAGS] = point->tags_raw};
    shape->known = point->error == NULL;
    shape->strange = false;
    shape->bytes = 0;
    /* What was unescaped is in the arena, a word among the constants. */
    for (unsigned i = 0; i < PUT_SHAPE_GAPS; i++)
        shape->known = shape->known && lies_in(gaps[i], point->raw);
    shape->known = shape->known && learn(shape, point->raw, gaps);
}

/* ---- reading ---- */

/* WORDS_BYTES are readable, and so is the piece. */
static inline bool piece_stands(const struct put_shape_piece *piece, const char *p) {
    uint64_t differs = ((bytes_u64(p) ^ piece->words[0]) & piece->masks[0]) |
                       ((bytes_u64(p + 8) ^ piece->words[1]) & piece->masks[1]);
    return differs == 0 &&
           (LIKELY(piece->n <= WORDS_BYTES) ||
            memcmp(p + WORDS_BYTES, piece->bytes + WORDS_BYTES, piece->n - WORDS_BYTES) == 0);
}

static inline const char *read_time(const char *p, int64_t *time_ms) {
    uint64_t time;
    unsigned n = *p == '0' ? 0 : digits_take(p, &time);
    if (UNLIKELY(n == 0))
        return NULL;
    *time_ms = put_text_time_ms((int64_t)time);
    return *time_ms > 0 ? p + n : NULL;
}

/* Behind the point of a decimal. */
static const char *read_fraction(const char *p, bool negative, uint64_t whole, unsigned whole_n,
                                 struct value *value) {
    uint64_t fraction;
    unsigned n = digits_take(p, &fraction);
    if (n == 0 || whole_n + n > DECIMAL_DIGITS_MAX)
        return NULL;
    double number = number_decimal_to_double(whole * digits_power(n) + fraction, -(int)n);
    *value = (struct value){points_bits_of(negative ? -number : number), true};
    return p + n;
}

static inline const char *read_value(const char *p, struct value *value) {
    uint64_t whole;
    bool negative = *p == '-';
    p += negative;
    unsigned n = digits_take(p, &whole);
    if (UNLIKELY(n == 0 || (*p == '0' && n > 1)))
        return NULL;
    if (p[n] == '.')
        return read_fraction(p + n + 1, negative, whole, n, value);
    *value = (struct value){negative ? 0 - whole : whole, false};
    return p + n;
}

static inline const char *read_known(const char *p, str text) {
    return LIKELY(memcmp(p, text.p, text.n) == 0) ? p + text.n : NULL;
}

const char *put_shape_read(struct put_shape *shape, const char *p, const char *end, str metric,
                           str tags, int64_t *time_ms, struct value *value) {
    if (!shape->known || (size_t)(end - p) < shape->bytes + metric.n + tags.n + SLACK_BYTES)
        return NULL;
    const struct put_shape_piece *piece = shape->piece;
    for (unsigned i = 0; i < PUT_SHAPE_GAPS; i++, piece++) {
        if (UNLIKELY(!piece_stands(piece, p))) {
            shape->strange = true;
            return NULL;
        }
        p += piece->n;
        switch ((enum gap)shape->gap[i]) {
        case GAP_METRIC:
            p = read_known(p, metric);
            break;
        case GAP_TIME:
            p = read_time(p, time_ms);
            break;
        case GAP_VALUE:
            p = read_value(p, value);
            break;
        case GAP_TAGS:
            p = read_known(p, tags);
            break;
        }
        if (UNLIKELY(p == NULL))
            return NULL;
    }
    shape->strange = !piece_stands(piece, p);
    return LIKELY(!shape->strange) ? p + piece->n : NULL;
}
