#include "wire/put_json.h"

#include "base/attr.h"
#include "wire/json_in.h"
#include "wire/number.h"
#include "wire/put_shape.h"
#include "wire/put_text.h"

void put_json_init(struct put_json *parser, str body, struct put_shape *shape,
                   struct arena *request_arena) {
    *parser = (struct put_json){.body = body, .shape = shape, .arena = request_arena};
}

/* A body is an array at depth 1, its points objects at depth 2, their members' values deeper. */
enum { MEMBER_DEPTH = 2 };

/* Why a point could not be read when it is not the JSON's fault. */
static const char out_of_memory[] = "out of memory";

/* ---- scalars ---- */

/* A string, number, true, false or null as the text Jackson makes of it; null has a NULL .p. */
static bool take_text(struct json_in *in, struct arena *arena, str *text) {
    if (LIKELY(json_in_skip_plain_string(in, text)))
        return true;
    char c = in->at < in->end ? *in->at : '\0';
    bool integer;
    if (c == '"') {
        struct json_text string;
        if (!json_in_string(in, &string))
            return false;
        return json_in_unescape(string, arena, text) || json_in_fail(in, out_of_memory);
    }
    if (LIKELY(c == '-' || (c >= '0' && c <= '9')))
        return json_in_number(in, text, &integer);
    if (c == '{' || c == '[')
        return json_in_fail(in, "expected a string or a number");
    if (!json_in_word(in, text))
        return false;
    if (text->p[0] == 'n')
        *text = (str){NULL, 0};
    return true;
}

/* A double's integer part, if int64 has it. */
static bool truncate_double(double number, int64_t *out) {
    if (!(number > -0x1p63 && number < 0x1p63))
        return false;
    *out = (int64_t)number;
    return true;
}

static bool take_timestamp(struct json_in *in, struct put_json_point *point) {
    const char *start = in->at;
    point->timestamp = 0;
    if (in->at < in->end && *in->at == '"') {
        struct json_text string;
        if (!json_in_string(in, &string))
            return false;
        point->timestamp_text = string.raw;
        str text = str_trim(string.raw);
        if (text.n == 0 || str_eq(text, STR("null")))
            return true;
        return number_parse_int(text, &point->timestamp, NULL) == NUMBER_OK ||
               json_in_fail(in, "timestamp is not an integer");
    }
    if (json_in_skip_text(in, STR("null"))) {
        point->timestamp_text = (str){start, 0};
        return true;
    }
    bool integer;
    if (!json_in_number(in, &point->timestamp_text, &integer))
        return false;
    struct value value;
    if (number_parse_value(point->timestamp_text, &value, NULL) != NUMBER_OK)
        return json_in_fail(in, "timestamp out of range");
    if (LIKELY(!value.is_float)) {
        point->timestamp = (int64_t)value.bits;
        return true;
    }
    return truncate_double(points_double_of(value.bits), &point->timestamp) ||
           json_in_fail(in, "timestamp out of range");
}

/* ---- tags ---- */

/* True (and steps over them) if tags as most clients send them are next: strings without escapes,
   no blanks. No failure otherwise. */
static inline bool skip_plain_tags(struct json_in *in) {
    const char *start = in->at;
    str span;
    if (json_in_skip(in, '{')) {
        do {
            if (!json_in_skip_plain_string(in, &span) || !json_in_skip(in, ':') ||
                !json_in_skip_plain_string(in, &span))
                break;
            if (json_in_skip(in, '}'))
                return true;
        } while (json_in_skip(in, ','));
    }
    in->at = start;
    return false;
}

/* Steps over the tags object, whose values are scalars. *any: it has members. */
static bool skip_tags(struct json_in *in, bool *any) {
    *any = false;
    if (!json_in_skip(in, '{'))
        return json_in_fail(in, "expected an object of tags");
    json_in_blanks(in);
    if (json_in_skip(in, '}'))
        return true;
    *any = true;
    do {
        struct json_text text;
        str span;
        bool integer;
        if (!json_in_name(in, &text))
            return false;
        char c = in->at < in->end ? *in->at : '\0';
        bool ok = c == '"'                             ? json_in_string(in, &text)
                  : c == '-' || (c >= '0' && c <= '9') ? json_in_number(in, &span, &integer)
                                                       : json_in_word(in, &span);
        if (!ok)
            return false;
        json_in_blanks(in);
    } while (json_in_skip(in, ','));
    return json_in_skip(in, '}') || json_in_fail(in, "expected ',' or '}'");
}

static bool take_tags(struct json_in *in, struct put_json *parser, struct put_json_point *point) {
    const char *start = in->at;
    point->tags_raw = (str){start, 0};
    point->tagged = true;
    if (parser->tags_before.n > 0 && json_in_skip_text(in, parser->tags_before)) {
        point->tags_raw.n = parser->tags_before.n;
        return true;
    }
    point->tagged = false;
    if (json_in_skip_text(in, STR("null")))
        return true;
    bool any = true;
    if (!skip_plain_tags(in) && !skip_tags(in, &any))
        return false;
    point->tagged = any;
    point->tags_raw.n = (size_t)(in->at - start);
    if (any)
        parser->tags_before = point->tags_raw;
    return true;
}

/* ---- points ---- */

enum member { MEMBER_METRIC, MEMBER_TIMESTAMP, MEMBER_VALUE, MEMBER_TAGS, MEMBER_OTHER };

static enum member member_of(str name) {
    static const str names[] = {{"metric", 6}, {"timestamp", 9}, {"value", 5}, {"tags", 4}};
    int member = 0;
    while (member < MEMBER_OTHER && !str_eq(name, names[member]))
        member++;
    return (enum member)member;
}

static bool take_any_name(struct json_in *in, struct arena *arena, enum member *member) {
    struct json_text name;
    str text;
    if (!json_in_name(in, &name))
        return false;
    if (!json_in_unescape(name, arena, &text))
        return json_in_fail(in, out_of_memory);
    *member = member_of(text);
    return true;
}

/* A member's name and what stands before its value. Names are nearly always written in the way that
   is tried first; a look at the bytes is cheaper than taking a string. */
static bool take_name(struct json_in *in, struct arena *arena, enum member *member) {
    if (json_in_skip_text(in, STR("\"metric\":")))
        *member = MEMBER_METRIC;
    else if (json_in_skip_text(in, STR("\"timestamp\":")))
        *member = MEMBER_TIMESTAMP;
    else if (json_in_skip_text(in, STR("\"value\":")))
        *member = MEMBER_VALUE;
    else if (json_in_skip_text(in, STR("\"tags\":")))
        *member = MEMBER_TAGS;
    else
        return take_any_name(in, arena, member);
    json_in_blanks(in);
    return true;
}

static bool take_metric(struct json_in *in, struct arena *arena, struct put_json_point *point) {
    const char *start = in->at;
    if (!take_text(in, arena, &point->metric))
        return false;
    point->metric_raw = (str){start, (size_t)(in->at - start)};
    return true;
}

static bool take_member(struct json_in *in, struct put_json *parser, struct put_json_point *point) {
    enum member member;
    json_in_blanks(in);
    if (!take_name(in, parser->arena, &member))
        return false;
    switch (member) {
    case MEMBER_METRIC:
        return take_metric(in, parser->arena, point);
    case MEMBER_TIMESTAMP:
        return take_timestamp(in, point);
    case MEMBER_VALUE:
        return take_text(in, parser->arena, &point->value_text);
    case MEMBER_TAGS:
        return take_tags(in, parser, point);
    case MEMBER_OTHER:
        break;
    }
    return json_in_value(in, MEMBER_DEPTH);
}

/* An error text that has figures in it, kept in the arena. */
static const char *keep_text(struct arena *arena, const struct err *err) {
    str text = arena_str(arena, str_of(err->message));
    return text.p != NULL ? text.p : out_of_memory;
}

static const char *bad_timestamp(struct put_json *parser, const struct put_json_point *point) {
    struct series_key key;
    struct err err;
    /* With too many tags for a key, the first ones are shown. */
    if (put_json_key(point, parser->arena, &key, &err) == RC_NOMEM)
        return out_of_memory;
    put_text_bad_timestamp(&err, &key, point->timestamp, point->value);
    return keep_text(parser->arena, &err);
}

/* The first thing wrong with a point that was read, or NULL. */
static const char *judge(struct put_json *parser, struct put_json_point *point) {
    if (UNLIKELY(point->metric.n == 0))
        return "Metric name was empty";
    if (UNLIKELY(point->timestamp <= 0))
        return "Invalid timestamp";
    if (UNLIKELY(point->value_text.n == 0))
        return "Empty value";
    if (UNLIKELY(!point->tagged))
        return "Missing tags";
    enum number_outcome outcome = number_parse_value(point->value_text, &point->value, NULL);
    if (UNLIKELY(outcome == NUMBER_NOT_FINITE)) {
        struct err err;
        put_text_not_finite(&err, point->metric, point->timestamp, point->value);
        return keep_text(parser->arena, &err);
    }
    if (UNLIKELY(outcome != NUMBER_OK))
        return "Unable to parse value to a number";
    point->time_ms = put_text_time_ms(point->timestamp);
    return LIKELY(point->time_ms > 0) ? NULL : bad_timestamp(parser, point);
}

static bool take_point(struct json_in *in, struct put_json *parser, struct put_json_point *point) {
    const char *start = in->at;
    *point = (struct put_json_point){0};
    if (parser->array && json_in_skip_text(in, STR("null"))) {
        point->raw = (str){start, (size_t)(in->at - start)};
        point->error = "Unexpected null datapoint encountered in set.";
        return true;
    }
    if (!json_in_skip(in, '{'))
        return json_in_fail(in, in->at == in->end ? "unexpected end" : "expected an object");
    json_in_blanks(in);
    if (!json_in_skip(in, '}')) {
        do {
            if (!take_member(in, parser, point))
                return false;
            json_in_blanks(in);
        } while (json_in_skip(in, ','));
        if (!json_in_skip(in, '}'))
            return json_in_fail(in, in->at == in->end ? "unexpected end" : "expected ',' or '}'");
    }
    point->raw = (str){start, (size_t)(in->at - start)};
    point->error = judge(parser, point);
    return point->error != out_of_memory || json_in_fail(in, out_of_memory);
}

/* ---- bodies ---- */

static int fail(const struct json_in *in, struct err *err) {
    if (in->why == out_of_memory)
        return err_set(err, RC_NOMEM, "out of memory");
    err_set_http(err, RC_INVALID, 400, "Unable to parse the given JSON");
    err_details(err, "%s at byte %zu", in->why, (size_t)(in->at - in->start));
    return RC_INVALID;
}

/* Stands at the first point afterwards. */
static int start_body(struct put_json *parser, struct json_in *in, struct err *err) {
    parser->started = true;
    json_in_blanks(in);
    if (in->at == in->end)
        return err_set_http(err, RC_INVALID, 400, "Missing request content");
    parser->array = *in->at == '[';
    if (!parser->array && *in->at != '{')
        return err_set_http(err, RC_INVALID, 400, "The JSON must start as an object or an array");
    if (!parser->array)
        return RC_OK;
    in->at++;
    json_in_blanks(in);
    if (json_in_skip(in, ']')) {
        json_in_blanks(in);
        if (in->at < in->end) {
            in->why = "something behind the end";
            return fail(in, err);
        }
        return err_set_http(err, RC_INVALID, 400, "No datapoints found in content");
    }
    return RC_OK;
}

/* Behind a point: to the next one, or to the end of the body. */
static bool step(struct put_json *parser, struct json_in *in) {
    json_in_blanks(in);
    if (parser->array) {
        if (json_in_skip(in, ',')) {
            json_in_blanks(in);
            return true;
        }
        if (!json_in_skip(in, ']'))
            return json_in_fail(in, in->at == in->end ? "unexpected end" : "expected ',' or ']'");
        json_in_blanks(in);
    }
    parser->done = true;
    return in->at == in->end || json_in_fail(in, "something behind the end");
}

int put_json_next(struct put_json *parser, struct put_json_point *point, struct err *err) {
    struct json_in in = {parser->body.p, parser->body.p + parser->at,
                         parser->body.p + parser->body.n, NULL};
    if (parser->done)
        return 0;
    if (!parser->started)
        TRY((enum rc)start_body(parser, &in, err));
    else if (!step(parser, &in))
        return fail(&in, err);
    if (parser->done)
        return 0;
    if (!take_point(&in, parser, point))
        return fail(&in, err);
    parser->at = (size_t)(in.at - in.start);
    if (parser->shape != NULL && put_shape_wants_point(parser->shape))
        put_shape_learn(parser->shape, point);
    return 1;
}

bool put_json_expected(struct put_json *parser, str metric_raw, str tags_raw, int64_t *time_ms,
                       struct value *value) {
    struct json_in in = {parser->body.p, parser->body.p + parser->at,
                         parser->body.p + parser->body.n, NULL};
    if (!parser->started || !parser->array || parser->done || parser->shape == NULL)
        return false;
    json_in_blanks(&in);
    if (!json_in_skip(&in, ','))
        return false;
    json_in_blanks(&in);
    const char *end =
        put_shape_read(parser->shape, in.at, in.end, metric_raw, tags_raw, time_ms, value);
    if (end == NULL)
        return false;
    parser->at = (size_t)(end - in.start);
    return true;
}

/* ---- keys ---- */

/* Sets a tag; of one key the last value counts, in the place of the first. False if it is new and
   there is no room. */
static bool set_tag(struct series_key *key, struct tag tag) {
    for (uint32_t i = 0; i < key->tag_count; i++) {
        if (str_eq(key->tags[i].key, tag.key)) {
            key->tags[i].value = tag.value;
            return true;
        }
    }
    if (key->tag_count == LIMIT_TAGS_MAX)
        return false;
    key->tags[key->tag_count++] = tag;
    return true;
}

enum rc put_json_key(const struct put_json_point *point, struct arena *request_arena,
                     struct series_key *key, struct err *err) {
    key->metric = point->metric;
    key->tag_count = 0;
    str raw = point->tags_raw;
    struct json_in in = {raw.p, raw.p, raw.p + raw.n, NULL};
    uint64_t beyond = 0;
    if (!json_in_skip(&in, '{'))
        return err_set(err, RC_INVALID, "Missing tags");
    do {
        struct json_text name;
        struct tag tag;
        if (!json_in_name(&in, &name))
            return fail(&in, err);
        if (!json_in_unescape(name, request_arena, &tag.key))
            return err_set(err, RC_NOMEM, "out of memory");
        if (!take_text(&in, request_arena, &tag.value))
            return fail(&in, err);
        beyond += !set_tag(key, tag);
        json_in_blanks(&in);
    } while (json_in_skip(&in, ','));
    if (beyond > 0)
        return put_text_too_many_tags(err, key, LIMIT_TAGS_MAX + beyond);
    return RC_OK;
}
