#include "wire/json_out.h"

#include "model/utf8.h"
#include "wire/json_in.h"
#include "wire/number.h"

#include <math.h>

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

/* Nearly every string is plain: then it is copied in one piece. */
static void put_string(struct buf *out, str text) {
    if (text.n == 0 || json_in_plain_end(text.p, text.p + text.n) != text.p + text.n) {
        put_mixed_string(out, text);
        return;
    }
    char *to = buf_reserve(out, text.n + 2);
    if (to == NULL)
        return;
    to[0] = '"';
    memcpy(to + 1, text.p, text.n);
    to[text.n + 1] = '"';
    out->n += text.n + 2;
}

void json_out_key(struct json_out *json, str key) {
    begin_element(json);
    put_string(json->out, key);
    buf_char(json->out, ':');
    json->comma = false;
}

void json_out_string(struct json_out *json, str value) {
    begin_element(json);
    put_string(json->out, value);
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
