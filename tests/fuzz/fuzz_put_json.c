/*
 * A put body is points and then an end or an error with a text. What is good at all is good for
 * jansson too, and the order of array elements is kept.
 */
#include "base/check.h"
#include "wire/put_json.h"

#include <jansson.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Jansson refuses half surrogate pairs and numbers beyond its types. */
static bool beyond_jansson(str body) {
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] == '\\' || ((body.p[i] | 0x20) == 'e' && body.n > 3))
            return true;
    return false;
}

static void check_point(str body, const struct put_json_point *point, struct arena *arena) {
    CHECK(point->raw.p >= body.p && point->raw.p + point->raw.n <= body.p + body.n);
    if (point->error != NULL) {
        CHECK(point->error[0] != '\0');
        return;
    }
    CHECK(point->metric.n > 0 && point->value_text.n > 0 && point->tags_raw.n > 0);
    CHECK(point->time_ms > 0 && point->time_ms <= LIMIT_TIME_MS_MAX);
    struct series_key key;
    struct err err = {0};
    enum rc rc = put_json_key(point, arena, &key, &err);
    CHECK(rc == RC_OK || (rc == RC_INVALID && err.message[0] != '\0'));
    CHECK(rc < 0 || (key.tag_count > 0 && key.tag_count <= LIMIT_TAGS_MAX));
    if (rc == RC_OK)
        CHECK(series_key_canonicalise(&key, &err) == RC_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str body = {(const char *)data, size};
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, body, &arena);
    struct put_json_point point;
    struct err err = {0};
    size_t points = 0;
    int rc;
    while ((rc = put_json_next(&parser, &point, &err)) > 0) {
        check_point(body, &point, &arena);
        points++;
    }
    CHECK(rc == 0 || (rc == RC_INVALID && err.message[0] != '\0'));
    if (rc == 0 && !beyond_jansson(body)) {
        json_t *value = json_loadb(body.p, body.n, JSON_DECODE_INT_AS_REAL, NULL);
        CHECK(value != NULL);
        CHECK(json_is_object(value) ? points == 1 : points == json_array_size(value));
        json_decref(value);
    }
    arena_fini(&arena);
    return 0;
}
