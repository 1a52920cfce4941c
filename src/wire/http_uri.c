#include "wire/http_uri.h"

#include "model/utf8.h"

#include <stdbool.h>

/* ---- percent-decoding ---- */

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum rc report_escape(str text, size_t at, struct err *err) {
    size_t left = text.n - at;
    if (left < 3)
        return err_set_http(err, RC_INVALID, 400, "%s escape sequence at end of string: %.*s",
                            left == 1 ? "unterminated" : "partial", STR_ARG(text));
    return err_set_http(err, RC_INVALID, 400,
                        "invalid escape sequence `%.*s' at index %zu of: %.*s", 3, text.p + at, at,
                        STR_ARG(text));
}

/* Decodes into `out` (room for text.n bytes), *n bytes. */
static enum rc decode_escapes(str text, char *out, size_t *n, struct err *err) {
    *n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 1 < text.n && text.p[i + 1] == '%') {
            i++;
        } else if (c == '%') {
            int high = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
            int low = i + 2 < text.n ? hex_value(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return report_escape(text, i, err);
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[(*n)++] = c;
    }
    return RC_OK;
}

/* Length of `text` once what is not UTF-8 is replaced; writes that to `out` if it is not NULL. */
static size_t replace_invalid(str text, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t code_point;
        size_t length = utf8_decode(text.p + i, text.n - i, &code_point);
        str piece = length == 0 ? UTF8_REPLACEMENT : (str){text.p + i, length};
        if (out != NULL)
            memcpy(out + n, piece.p, piece.n);
        n += piece.n;
        i += length == 0 ? utf8_bad_length(text.p + i, text.n - i) : length;
    }
    return n;
}

static bool needs_no_decoding(str text) {
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '+' || text.p[i] == '%' || (text.p[i] & 0x80) != 0)
            return false;
    return true;
}

static enum rc decode(str text, struct arena *arena, str *decoded, struct err *err) {
    *decoded = text;
    if (needs_no_decoding(text))
        return RC_OK;
    char *bytes = arena_alloc(arena, text.n);
    if (bytes == NULL)
        return err_set(err, RC_NOMEM, "out of memory for the request line, retry later");
    size_t n;
    TRY(decode_escapes(text, bytes, &n, err));
    *decoded = (str){bytes, n};
    size_t valid = replace_invalid(*decoded, NULL);
    bytes = arena_alloc(arena, valid);
    if (bytes == NULL)
        return err_set(err, RC_NOMEM, "out of memory for the request line, retry later");
    replace_invalid(*decoded, bytes);
    *decoded = (str){bytes, valid};
    return RC_OK;
}

/* ---- parameters ---- */

static bool is_separator(char c) {
    return c == '&' || c == ';';
}

static size_t count_pieces(str query) {
    size_t pieces = 1;
    for (size_t i = 0; i < query.n && pieces < URI_PARAMETERS_MAX; i++)
        pieces += is_separator(query.p[i]);
    return pieces;
}

/* One piece between separators. False (nothing added) if there is nothing in it. */
static bool split_piece(str piece, str *name, str *value) {
    while (piece.n > 0 && piece.p[0] == '=')
        piece = str_from(piece, 1);
    size_t equals = str_find(piece, '=');
    *name = (str){piece.p, equals};
    *value = equals < piece.n ? str_from(piece, equals + 1) : (str){piece.p + piece.n, 0};
    return piece.n > 0;
}

static enum rc parse_query(str query, struct arena *arena, struct http_uri *uri, struct err *err) {
    uri->parameters = ARENA_ARRAY(arena, struct uri_parameter, count_pieces(query));
    if (uri->parameters == NULL)
        return err_set(err, RC_NOMEM, "out of memory for the request line, retry later");
    size_t start = 0;
    for (size_t i = 0; i <= query.n && uri->parameter_count < URI_PARAMETERS_MAX; i++) {
        if (i < query.n && !is_separator(query.p[i]))
            continue;
        str name, value;
        if (split_piece((str){query.p + start, i - start}, &name, &value)) {
            struct uri_parameter *parameter = &uri->parameters[uri->parameter_count];
            TRY(decode(name, arena, &parameter->name, err));
            TRY(decode(value, arena, &parameter->value, err));
            uri->parameter_count++;
        }
        start = i + 1;
    }
    return RC_OK;
}

/* "http://host:port/path" -> "/path"; without a path the root. */
static str without_authority(str target) {
    if (target.n == 0 || target.p[0] == '/')
        return target;
    for (size_t i = 0; i + 2 < target.n && target.p[i] != '?'; i++) {
        if (memcmp(target.p + i, "://", 3) != 0)
            continue;
        for (i += 3; i < target.n && target.p[i] != '?'; i++)
            if (target.p[i] == '/')
                return str_from(target, i);
        return i < target.n ? str_from(target, i) : STR("/");
    }
    return target;
}

enum rc http_uri_parse(str target, struct arena *request_arena, struct http_uri *uri,
                       struct err *err) {
    *uri = (struct http_uri){0};
    target = without_authority(target);
    size_t question = str_find(target, '?');
    uri->path = (str){target.p, question};
    if (question == target.n)
        return RC_OK;
    if (question == 0)
        uri->path = STR("/");
    return parse_query(str_from(target, question + 1), request_arena, uri, err);
}

const str *http_uri_find(const struct http_uri *uri, str name) {
    for (uint32_t i = uri->parameter_count; i > 0; i--)
        if (str_eq(uri->parameters[i - 1].name, name))
            return &uri->parameters[i - 1].value;
    return NULL;
}
