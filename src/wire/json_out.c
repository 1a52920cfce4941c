#include "wire/json_out.h"

#include "model/utf8.h"
#include "wire/json_in.h"
#include "wire/number.h"

#include <math.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static void begin_element(struct json_out *json) {
    if (json->comma)
        buf_char(json->out, ',');
    json->comma = true;
}

static void open_with(struct json_out *json, char bracket) {
    begin_element(json);
    buf_char(json->out, bracket);
    json->comma = false;
}

static void close_with(struct json_out *json, char bracket) {
    buf_char(json->out, bracket);
    json->comma = true;
}

void json_out_object(struct json_out *json) {
    open_with(json, '{');
}

void json_out_object_end(struct json_out *json) {
    close_with(json, '}');
}

void json_out_array(struct json_out *json) {
    open_with(json, '[');
}

void json_out_array_end(struct json_out *json) {
    close_with(json, ']');
}

/* ---- strings ---- */

/* Writes the one byte c < 0x80 that is not plain. */
static void put_escaped(struct buf *out, char c) {
    static const char hex[] = "0123456789ABCDEF";
    static const char short_forms[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    uint8_t byte = (uint8_t)c;
    char escape = byte < sizeof(short_forms) ? short_forms[byte] : c;
    char text[6] = {'\\', escape};
    if (escape != '\0') {
        buf_add(out, text, 2);
        return;
    }
    text[1] = 'u';
    text[2] = text[3] = '0';
    text[4] = hex[byte >> 4];
    text[5] = hex[byte & 15];
    buf_add(out, text, 6);
}

/* Writes the character at `at` that is not plain; returns its length. */
static size_t put_character(struct buf *out, str text, size_t at) {
    if ((uint8_t)text.p[at] < 0x80) {
        put_escaped(out, text.p[at]);
        return 1;
    }
    uint32_t code_point;
    size_t n = utf8_decode(text.p + at, text.n - at, &code_point);
    if (n == 0) {
        buf_str(out, UTF8_REPLACEMENT);
        return utf8_bad_length(text.p + at, text.n - at);
    }
    buf_add(out, text.p + at, n);
    return n;
}

static void put_mixed_string(struct buf *out, str text) {
    buf_char(out, '"');
    for (size_t i = 0; i < text.n;) {
        const char *plain_end = json_in_plain_end(text.p + i, text.p + text.n);
        size_t n = (size_t)(plain_end - text.p) - i;
        buf_add(out, text.p + i, n);
        i += n;
        if (i < text.n)
            i += put_character(out, text, i);
    }
    buf_char(out, '"');
}

/* Sixteen bytes, held in two halves where there are no vectors. */
struct piece {
#ifdef __SSE2__
    __m128i bytes;
#else
    uint64_t bytes[2];
#endif
};

static inline uint64_t load_word(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static inline struct piece piece_of(uint64_t low, uint64_t high) {
#ifdef __SSE2__
    return (struct piece){_mm_set_epi64x((int64_t)high, (int64_t)low)};
#else
    return (struct piece){{low, high}};
#endif
}

#ifndef __SSE2__
/* Sets the high bit of some byte if one of the eight is not printable ASCII, or is a quote or a
   backslash. (Hacker's Delight, 2nd ed., 6-1: a byte below n, a byte that is zero.) */
static inline uint64_t not_plain(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = ones << 7;
    uint64_t quote = word ^ ones * '"';
    uint64_t backslash = word ^ ones * '\\';
    uint64_t control = (word - ones * 0x20) & ~word;
    uint64_t del = word + ones;
    return (word | del | control | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) &
           highs;
}
#endif

/* Whether all bytes are printable ASCII, and none a quote or a backslash. */
static inline bool is_plain(struct piece piece) {
#ifdef __SSE2__
    /* As signed numbers what is not ASCII is below the blank, too. */
    __m128i bad = _mm_cmplt_epi8(piece.bytes, _mm_set1_epi8(' '));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(piece.bytes, _mm_set1_epi8('"')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(piece.bytes, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(piece.bytes, _mm_set1_epi8(0x7f)));
    return _mm_movemask_epi8(bad) == 0;
#else
    return (not_plain(piece.bytes[0]) | not_plain(piece.bytes[1])) == 0;
#endif
}

/* Copies up to 16 bytes in loads and stores that overlap. */
static inline struct piece copy_short(char *to, const char *from, size_t n) {
    enum { WORD = sizeof(uint64_t), HALF = WORD / 2 };
    if (n >= WORD) {
        uint64_t first = load_word(from), last = load_word(from + n - WORD);
        memcpy(to, &first, WORD);
        memcpy(to + n - WORD, &last, WORD);
        return piece_of(first, last);
    }
    const uint64_t plain = UINT64_C(0x6161616161616161);
    if (n >= HALF) {
        uint32_t first, last;
        memcpy(&first, from, HALF);
        memcpy(&last, from + n - HALF, HALF);
        memcpy(to, &first, HALF);
        memcpy(to + n - HALF, &last, HALF);
        return piece_of((uint64_t)first << 32 | last, plain);
    }
    uint64_t bytes = plain;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        bytes = bytes << 8 | (uint8_t)from[i];
    }
    return piece_of(bytes, plain);
}

/* Copies a string and tells whether all of it is plain. Names are short: mostly one piece. */
static inline bool copy_plain(char *to, const char *from, size_t n) {
    enum { PIECE = 16, WORD = PIECE / 2 };
    bool plain = true;
    while (n > PIECE) {
        uint64_t low = load_word(from), high = load_word(from + WORD);
        memcpy(to, &low, WORD);
        memcpy(to + WORD, &high, WORD);
        plain &= is_plain(piece_of(low, high));
        from += PIECE;
        to += PIECE;
        n -= PIECE;
    }
    return is_plain(copy_short(to, from, n)) && plain;
}

/* Nearly every string is plain: then it is checked and written in one go, with what stands before
   and after it. */
static void put_string(struct json_out *json, str text, bool is_key) {
    struct buf *out = json->out;
    bool comma = json->comma;
    json->comma = !is_key;
    char *start = buf_reserve(out, text.n + 4);
    if (start == NULL)
        return;
    char *to = start;
    *to = ',';
    to += comma;
    *to++ = '"';
    if (LIKELY(copy_plain(to, text.p, text.n))) {
        to += text.n;
        *to++ = '"';
        *to = ':';
        to += is_key;
        out->n += (size_t)(to - start);
        return;
    }
    if (comma)
        buf_char(out, ',');
    put_mixed_string(out, text);
    if (is_key)
        buf_char(out, ':');
}

void json_out_key(struct json_out *json, str key) {
    put_string(json, key, true);
}

void json_out_string(struct json_out *json, str value) {
    put_string(json, value, false);
}

/* ---- the rest ---- */

void json_out_int(struct json_out *json, int64_t value) {
    begin_element(json);
    number_put_int(json->out, value);
}

void json_out_double(struct json_out *json, double value) {
    begin_element(json);
    bool finite = isfinite(value);
    if (!finite)
        buf_char(json->out, '"');
    number_put_double(json->out, value);
    if (!finite)
        buf_char(json->out, '"');
}

void json_out_bool(struct json_out *json, bool value) {
    json_out_raw(json, value ? STR("true") : STR("false"));
}

void json_out_null(struct json_out *json) {
    json_out_raw(json, STR("null"));
}

void json_out_raw(struct json_out *json, str text) {
    begin_element(json);
    buf_str(json->out, text);
}
