/*
 * A request target taken apart: "/api/query?start=1h-ago&m=sum:sys.cpu%7Bhost=*%7D".
 *
 * Query parameters are decoded as Netty's QueryStringDecoder does it, because that is what
 * OpenTSDB's clients were tested against: separated by '&' or ';', '+' is a space, "%%" is '%',
 * a name without '=' has the empty value, "=v" is the name "v", empty pieces are skipped, and after
 * URI_PARAMETERS_MAX parameters the rest is ignored.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum { URI_PARAMETERS_MAX = 1024 };

/* UTF-8, whatever the target held: bytes that are not become U+FFFD. */
struct uri_parameter {
    str name;
    str value;
};

struct http_uri {
    str path;                         /* as sent, not decoded; borrowed from the target */
    struct uri_parameter *parameters; /* in the order sent; in the arena */
    uint32_t parameter_count;
};

/* Parses an origin-form ("/path?query") or absolute-form ("http://host/path?query") target.
   RC_INVALID (status 400) for a bad %-escape, RC_NOMEM. `uri` borrows from target and arena. */
enum rc http_uri_parse(str target, struct arena *request_arena, struct http_uri *uri,
                       struct err *err) MUST_USE;

/* The value of the last parameter called `name` (OpenTSDB's rule), or NULL if there is none. */
const str *http_uri_find(const struct http_uri *uri, str name);
