/*
 * A put body is points and then an end or an error with a text. What is good at all is good for
 * jansson too, and the order of array elements is kept. Read as what is expected it is the same.
 */
#include "base/buf.h"
#include "base/check.h"
#include "wire/put_shape.h"

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

/* What of a point goes into the store; zeros if it has an error. */
struct stored {
    str metric_raw, tags_raw;
    int64_t time_ms;
    uint64_t bits;
    bool is_float;
};

static struct stored stored_of(const struct put_json_point *point) {
    if (point->error != NULL)
        return (struct stored){0};
    return (struct stored){point->metric_raw, point->tags_raw, point->time_ms, point->value.bits,
                           point->value.is_float};
}

static bool same(const struct stored *a, const struct stored *b) {
    return str_eq(a->metric_raw, b->metric_raw) && str_eq(a->tags_raw, b->tags_raw) &&
           a->time_ms == b->time_ms && a->bits == b->bits && a->is_float == b->is_float;
}

/* Reads the body again with the series of the point `back` before each expected to come; it held
   `points`, and ended with `end`. */
static void check_expected(str body, const struct stored *points, size_t count, int end,
                           size_t back) {
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_shape shape = {0};
    struct put_json parser;
    put_json_init(&parser, body, &shape, &arena);
    for (size_t i = 0; i <= count; i++) {
        struct stored stored = {0};
        if (i >= back && i - back < count)
            stored = points[i - back];
        struct value value;
        struct put_json_point point;
        if (stored.metric_raw.n > 0 &&
            put_json_expected(&parser, stored.metric_raw, stored.tags_raw, &stored.time_ms,
                              &value)) {
            stored.bits = value.bits;
            stored.is_float = value.is_float;
        } else {
            int rc = put_json_next(&parser, &point, NULL);
            CHECK(rc == (i < count ? 1 : end));
            if (rc > 0)
                stored = stored_of(&point);
        }
        CHECK(i == count || same(&stored, &points[i]));
    }
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str body = {(const char *)data, size};
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, body, NULL, &arena);
    struct put_json_point point;
    struct err err = {0};
    struct buf all = {0};
    size_t points = 0;
    int rc;
    while ((rc = put_json_next(&parser, &point, &err)) > 0) {
        check_point(body, &point, &arena);
        struct stored stored = stored_of(&point);
        buf_add(&all, &stored, sizeof(stored));
        points++;
    }
    CHECK(!all.failed);
    for (size_t back = 0; back < 2; back++)
        check_expected(body, (const struct stored *)(void *)all.p, points, rc, back);
    buf_fini(&all);
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
