#include "wire/json_in.h"

#include "base/attr.h"
#include "model/limits.h"
#include "model/utf8.h"

/* ---- strings ---- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits of an escape; -1 if they are not. */
static int32_t hex_unit(const char *p, const char *end) {
    if (end - p < 4)
        return -1;
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int value = hex_value(p[i]);
        if (value < 0)
            return -1;
        unit = unit << 4 | value;
    }
    return unit;
}

/* Steps over a backslash and what belongs to it. */
static bool take_escape(struct json_in *in) {
    if (in->end - in->at < 2)
        return json_in_fail(in, "unterminated string");
    char c = in->at[1];
    if (c == 'u') {
        if (hex_unit(in->at + 2, in->end) < 0)
            return json_in_fail(in, "\\u without four hexadecimal digits");
        in->at += 6;
        return true;
    }
    if (c == '\0' || strchr("\"\\/bfnrt", c) == NULL)
        return json_in_fail(in, "unknown escape");
    in->at += 2;
    return true;
}

bool json_in_string(struct json_in *in, struct json_text *text) {
    if (!json_in_skip(in, '"'))
        return json_in_fail(in, "expected a string");
    const char *start = in->at;
    text->escaped = false;
    for (;;) {
        in->at = json_in_plain_end(in->at, in->end);
        if (UNLIKELY(in->at == in->end))
            return json_in_fail(in, "unterminated string");
        if (LIKELY(*in->at == '"'))
            break;
        if (*in->at == '\\') {
            text->escaped = true;
            if (!take_escape(in))
                return false;
            continue;
        }
        if ((uint8_t)*in->at < 0x20)
            return json_in_fail(in, "control character in a string");
        uint32_t code_point;
        size_t n = utf8_decode(in->at, (size_t)(in->end - in->at), &code_point);
        if (n == 0)
            return json_in_fail(in, "bytes that are not UTF-8");
        in->at += n;
    }
    text->raw = (str){start, (size_t)(in->at - start)};
    in->at++;
    return true;
}

/* One escape at *p (behind the backslash, known to be well-formed) as a character. */
static uint32_t read_escape(const char **p, const char *end) {
    static const char named[128] = {['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r',
                                    ['t'] = '\t', ['"'] = '"',  ['/'] = '/',  ['\\'] = '\\'};
    char c = *(*p)++;
    if (c != 'u')
        return (uint8_t)named[(uint8_t)c & 127];
    uint32_t unit = (uint32_t)hex_unit(*p, end);
    *p += 4;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = (uint32_t)hex_unit(*p + 2, end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *p += 6;
            return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return 0xfffd;
}

bool json_in_unescape(struct json_text text, struct arena *arena, str *out) {
    *out = text.raw;
    if (LIKELY(!text.escaped))
        return true;
    /* No escape is shorter than what it stands for. */
    char *bytes = arena_alloc(arena, text.raw.n);
    if (bytes == NULL)
        return false;
    size_t n = 0;
    const char *end = text.raw.p + text.raw.n;
    for (const char *p = text.raw.p; p < end;) {
        const char *backslash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((backslash == NULL ? end : backslash) - p);
        memcpy(bytes + n, p, plain);
        n += plain;
        p += plain;
        if (backslash == NULL)
            break;
        p++;
        n += utf8_encode(bytes + n, read_escape(&p, end));
    }
    *out = (str){bytes, n};
    return true;
}

/* ---- numbers and words ---- */

static inline bool is_digit(char c) {
    return (uint8_t)(c - '0') < 10;
}

static inline const char *skip_digits(const char *p, const char *end) {
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Steps over digits, at least one. */
static inline bool take_digits(struct json_in *in) {
    const char *start = in->at;
    in->at = skip_digits(in->at, in->end);
    return in->at > start || json_in_fail(in, "expected a digit");
}

static bool take_fraction_and_exponent(struct json_in *in) {
    if (json_in_skip(in, '.') && !take_digits(in))
        return false;
    if (json_in_skip(in, 'e') || json_in_skip(in, 'E')) {
        if (!json_in_skip(in, '-'))
            json_in_skip(in, '+');
        return take_digits(in);
    }
    return true;
}

bool json_in_number(struct json_in *in, str *text, bool *integer) {
    const char *start = in->at;
    json_in_skip(in, '-');
    const char *first = in->at;
    if (!take_digits(in))
        return false;
    if (*first == '0' && in->at > first + 1) {
        in->at = first;
        return json_in_fail(in, "leading zero");
    }
    *integer = true;
    if (in->at < in->end && (*in->at == '.' || (*in->at | 0x20) == 'e')) {
        *integer = false;
        if (!take_fraction_and_exponent(in))
            return false;
    }
    *text = (str){start, (size_t)(in->at - start)};
    return true;
}

bool json_in_word(struct json_in *in, str *text) {
    static const str words[] = {{"null", 4}, {"true", 4}, {"false", 5}};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (json_in_skip_text(in, words[i])) {
            *text = words[i];
            return true;
        }
    }
    return json_in_fail(in, in->at == in->end ? "unexpected end" : "expected a value");
}

/* ---- values of any shape ---- */

bool json_in_name(struct json_in *in, struct json_text *name) {
    json_in_blanks(in);
    if (!json_in_string(in, name))
        return false;
    json_in_blanks(in);
    if (!json_in_skip(in, ':'))
        return json_in_fail(in, "expected ':'");
    json_in_blanks(in);
    return true;
}

static bool take_scalar(struct json_in *in) {
    struct json_text text;
    str span;
    bool integer;
    if (in->at < in->end && *in->at == '"')
        return json_in_string(in, &text);
    if (in->at < in->end && (*in->at == '-' || is_digit(*in->at)))
        return json_in_number(in, &span, &integer);
    return json_in_word(in, &span);
}

_Static_assert(LIMIT_JSON_DEPTH <= 64, "the open brackets are bits of a word");

bool json_in_value(struct json_in *in, unsigned depth) {
    uint64_t objects = 0; /* bit i: the i-th open bracket is an object's */
    unsigned open = 0;
    struct json_text name;
    for (;;) {
        bool object = in->at < in->end && *in->at == '{';
        bool nested = object || (in->at < in->end && *in->at == '[');
        bool empty = false;
        if (nested) {
            if (depth + open >= LIMIT_JSON_DEPTH)
                return json_in_fail(in, "nested too deeply");
            in->at++;
            json_in_blanks(in);
            empty = json_in_skip(in, object ? '}' : ']');
            if (!empty) {
                objects = objects << 1 | object;
                open++;
                if (object && !json_in_name(in, &name))
                    return false;
                continue;
            }
        } else if (!take_scalar(in)) {
            return false;
        }
        /* Behind a value: close what ends here, then step to the next one. */
        for (;; objects >>= 1, open--) {
            if (open == 0)
                return true;
            json_in_blanks(in);
            if (!json_in_skip(in, (objects & 1) != 0 ? '}' : ']'))
                break;
        }
        if (!json_in_skip(in, ','))
            return json_in_fail(in, in->at == in->end ? "unexpected end" : "expected ','");
        json_in_blanks(in);
        if ((objects & 1) != 0 && !json_in_name(in, &name))
            return false;
    }
}
