#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *text;
    int http_status;
} table[] = {
    [-RC_OK] = {"ok", 200},
    [-RC_NOMEM] = {"out of memory", 503},
    [-RC_IO] = {"input/output error", 500},
    [-RC_CORRUPT] = {"corrupt data", 500},
    [-RC_NO_SPACE] = {"no space left on the medium", 503},
    [-RC_INVALID] = {"invalid request", 400},
    [-RC_NOT_FOUND] = {"not found", 404},
    [-RC_LIMIT] = {"limit exceeded", 413},
    [-RC_TIMEOUT] = {"deadline exceeded", 408},
    [-RC_CANCELLED] = {"cancelled", 499},
    [-RC_CLOSED] = {"shutting down", 503},
    [-RC_CONFLICT] = {"conflict", 409},
    [-RC_THROTTLE] = {"over the memory budget, retry later", 503},
    [-RC_UNSUPPORTED] = {"not supported", 501},
};

static size_t index_of(enum rc rc) {
    size_t i = (size_t)(rc < 0 ? -(int)rc : (int)rc);
    return i < COUNT_OF(table) ? i : (size_t)-RC_IO;
}

const char *err_text(enum rc rc) {
    return table[index_of(rc)].text;
}

int err_http_status(const struct err *err) {
    return err->http_status != 0 ? err->http_status : table[index_of(err->rc)].http_status;
}

/* Takes off the end of a text that was cut what may be half a character of UTF-8. */
static void drop_half_character(char *text, size_t size) {
    size_t n = size - 1, at = n;
    while (at > 0 && n - at < 3 && (text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at == 0 || (text[at - 1] & 0xc0) != 0xc0)
        return;
    unsigned char lead = (unsigned char)text[at - 1];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (at - 1 + length > n)
        text[at - 1] = '\0';
}

static void print(char *text, size_t size, const char *format, va_list args) {
    int n = vsnprintf(text, size, format, args);
    if (n >= 0 && (size_t)n >= size)
        drop_half_character(text, size);
}

static void set(struct err *err, enum rc rc, int http_status, const char *format, va_list args) {
    if (err == NULL)
        return;
    err->rc = rc;
    err->http_status = http_status;
    err->details[0] = '\0';
    print(err->message, sizeof(err->message), format, args);
}

enum rc err_set(struct err *err, enum rc rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set(err, rc, 0, format, args);
    va_end(args);
    return rc;
}

enum rc err_set_http(struct err *err, enum rc rc, int http_status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set(err, rc, http_status, format, args);
    va_end(args);
    return rc;
}

void err_details(struct err *err, const char *format, ...) {
    if (err == NULL)
        return;
    va_list args;
    va_start(args, format);
    print(err->details, sizeof(err->details), format, args);
    va_end(args);
}

void err_context(struct err *err, const char *format, ...) {
    if (err == NULL)
        return;
    char old[sizeof(err->message)];
    memcpy(old, err->message, sizeof(old));
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(err->message))
        return;
    size_t room = sizeof(err->message) - (size_t)n;
    (void)!snprintf(err->message + n, room, ": %.*s", (int)(room > 3 ? room - 3 : 0), old);
}
