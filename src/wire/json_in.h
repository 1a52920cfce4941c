/*
 * Reading JSON bytes without building anything: a cursor that checks and steps over tokens; inside
 * wire. Strict RFC 8259 in valid UTF-8, no deeper than LIMIT_JSON_DEPTH.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Each taking function returns false when the text is not what it takes; `why` then says what was
   wrong and `at` where. */
struct json_in {
    const char *start;
    const char *at;
    const char *end;
    const char *why;
};

/* A string as it stands between its quotes. */
struct json_text {
    str raw;
    bool escaped; /* it holds backslashes: json_in_unescape() */
};

static inline bool json_in_fail(struct json_in *in, const char *why) {
    in->why = why;
    return false;
}

static inline void json_in_blanks(struct json_in *in) {
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

/* True (and steps over it) if `c` is next; no failure otherwise. */
static inline bool json_in_skip(struct json_in *in, char c) {
    if (in->at == in->end || *in->at != c)
        return false;
    in->at++;
    return true;
}

/* True (and steps over it) if the bytes of `text` are next; no failure otherwise. */
static inline bool json_in_skip_text(struct json_in *in, str text) {
    if ((size_t)(in->end - in->at) < text.n || memcmp(in->at, text.p, text.n) != 0)
        return false;
    in->at += text.n;
    return true;
}

/* The first byte from `p` on that is not printable ASCII, or is a quote or a backslash; or `end`.
 */
static inline const char *json_in_plain_end(const char *p, const char *end) {
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* Signed: bytes from 0x80 on are negative, and so below the space as well. */
        __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        int mask = _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, backslash)));
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && (uint8_t)*p >= 0x20 && (uint8_t)*p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* True (and steps over it) if a string of nothing but printable ASCII without escapes is next; no
   failure otherwise. */
static inline bool json_in_skip_plain_string(struct json_in *in, str *raw) {
    if (in->at == in->end || *in->at != '"')
        return false;
    const char *start = in->at + 1;
    const char *quote = json_in_plain_end(start, in->end);
    if (quote == in->end || *quote != '"')
        return false;
    *raw = (str){start, (size_t)(quote - start)};
    in->at = quote + 1;
    return true;
}

/* A string, from its opening quote. */
bool json_in_string(struct json_in *in, struct json_text *text);

/* A number. *integer: it has neither fraction nor exponent. */
bool json_in_number(struct json_in *in, str *text, bool *integer);

/* true, false or null. */
bool json_in_word(struct json_in *in, str *text);

/* A value of any shape that stands `depth` brackets deep, stepped over. Cost: linear, no
   recursion. */
bool json_in_value(struct json_in *in, unsigned depth);

/* A member's name with its colon and the blanks around. */
bool json_in_name(struct json_in *in, struct json_text *name);

/* The text itself, or an unescaped copy in the arena; half a surrogate pair becomes U+FFFD. False
   if memory is out. */
bool json_in_unescape(struct json_text text, struct arena *arena, str *out);
