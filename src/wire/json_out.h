/*
 * Writing JSON into a buffer, without building anything first.
 *
 *     json_out_object(j);
 *     json_out_key(j, STR("metric"));
 *     json_out_string(j, name);
 *     json_out_object_end(j);
 *
 * Commas are the writer's business. Strings are escaped as RFC 8259 asks; bytes that are not UTF-8
 * become U+FFFD. A zeroed struct json_out with `out` set is ready.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct json_out {
    struct buf *out;
    bool comma; /* the next element needs a comma before it */
};

void json_out_object(struct json_out *json);
void json_out_object_end(struct json_out *json);
void json_out_array(struct json_out *json);
void json_out_array_end(struct json_out *json);
void json_out_key(struct json_out *json, str key);
void json_out_string(struct json_out *json, str value);
void json_out_int(struct json_out *json, int64_t value);
/* As number_put_double; NaN and infinities as strings. */
void json_out_double(struct json_out *json, double value);
void json_out_bool(struct json_out *json, bool value);
void json_out_null(struct json_out *json);
/* Text that is JSON already. */
void json_out_raw(struct json_out *json, str text);
