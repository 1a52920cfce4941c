/*
 * The body of a POST query. Clients are of many minds about JSON: numbers come as strings and
 * strings as numbers, and fields of which this program knows nothing are passed over. What cannot
 * be read as meant is "Unable to parse the given JSON", with the reason as details.
 */
#include "query/query_parse.h"

#include "base/attr.h"
#include "model/limits.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What a field reader needs besides its value. */
struct parser {
    struct arena *query_arena;
    struct err *err;
};

static enum rc bad(const struct parser *parser, const char *format, ...) PRINTF_LIKE(2, 3);

static enum rc bad(const struct parser *parser, const char *format, ...) {
    char reason[400];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    enum rc rc = err_set(parser->err, RC_INVALID, "Unable to parse the given JSON");
    err_details(parser->err, "%s", reason);
    return rc;
}

static enum rc no_memory(const struct parser *parser) {
    return query_parse_no_memory(parser->err);
}

/* ---- scalars ---- */

static enum rc keep(const struct parser *parser, const char *text, size_t n, str *out) {
    *out = arena_str(parser->query_arena, (str){text, n});
    return out->p == NULL ? no_memory(parser) : RC_OK;
}

static bool is_whole(double value) {
    return value > -0x1p63 && value < 0x1p63 && value == (double)(int64_t)value;
}

/* A string, or the text of a number or truth value. null is no text. */
static enum rc read_text(const struct parser *parser, const char *name, json_t *value, str *out) {
    char number[40];
    switch (json_typeof(value)) {
    case JSON_STRING:
        return keep(parser, json_string_value(value), json_string_length(value), out);
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return keep(parser, number, strlen(number), out);
    case JSON_REAL:
        if (is_whole(json_real_value(value)))
            snprintf(number, sizeof(number), "%" PRId64, (int64_t)json_real_value(value));
        else
            snprintf(number, sizeof(number), "%.17g", json_real_value(value));
        return keep(parser, number, strlen(number), out);
    case JSON_TRUE:
        return keep(parser, "true", 4, out);
    case JSON_FALSE:
        return keep(parser, "false", 5, out);
    case JSON_NULL:
        *out = (str){NULL, 0};
        return RC_OK;
    default:
        return bad(parser, "The field '%s' must be a string", name);
    }
}

static enum rc read_flag(const struct parser *parser, const char *name, json_t *value, bool *out) {
    str text = {NULL, 0};
    TRY(read_text(parser, name, value, &text));
    if (json_is_number(value))
        *out = json_number_value(value) != 0;
    else if (str_eq_nocase(text, STR("true")))
        *out = true;
    else if (text.n == 0 || str_eq_nocase(text, STR("false")))
        *out = false;
    else
        return bad(parser, "The field '%s' must be true or false", name);
    return RC_OK;
}

/* An integer; fractions are cut off, and what is beyond int64 stops at its limits. */
static enum rc read_integer(const struct parser *parser, const char *name, json_t *value,
                            int64_t *out) {
    double real = json_number_value(value);
    if (json_is_integer(value))
        *out = json_integer_value(value);
    else if (json_is_real(value))
        *out = real >= 0x1p63 ? INT64_MAX : real <= -0x1p63 ? INT64_MIN : (int64_t)real;
    else if (json_is_string(value)) {
        str text = {json_string_value(value), json_string_length(value)};
        if (!query_parse_saturated(text, out))
            return bad(parser, "The field '%s' must be a number", name);
    } else if (!json_is_null(value))
        return bad(parser, "The field '%s' must be a number", name);
    return RC_OK;
}

/* ---- parts of a sub query ---- */

static enum rc read_rate_options(const struct parser *parser, json_t *value,
                                 struct query_sub *sub) {
    if (json_is_null(value))
        return RC_OK;
    if (!json_is_object(value))
        return bad(parser, "The field 'rateOptions' must be an object");
    sub->rate_options_given = true;
    struct query_rate *options = &sub->rate_options;
    const char *name;
    json_t *field;
    json_object_foreach(value, name, field) {
        if (strcmp(name, "counter") == 0 || strcmp(name, "isCounter") == 0)
            TRY(read_flag(parser, name, field, &options->counter));
        else if (strcmp(name, "dropResets") == 0)
            TRY(read_flag(parser, name, field, &options->drop_resets));
        else if (strcmp(name, "counterMax") == 0)
            TRY(read_integer(parser, name, field, &options->counter_max));
        else if (strcmp(name, "resetValue") == 0)
            TRY(read_integer(parser, name, field, &options->reset_value));
        else
            return bad(parser, "Unrecognized field \"%s\" in rateOptions", name);
    }
    return RC_OK;
}

static enum rc room_for_filters(const struct parser *parser, size_t count, struct filter **room) {
    if (count > QUERY_PARSE_FILTERS_MAX)
        return bad(parser, "Too many filters (at most %d)", (int)QUERY_PARSE_FILTERS_MAX);
    *room = ARENA_ARRAY(parser->query_arena, struct filter, count + 1);
    return *room == NULL ? no_memory(parser) : RC_OK;
}

/* The error of a filter as that of the body. */
static enum rc wrap_cause(const struct parser *parser, enum rc rc, const struct err *cause) {
    if (rc == RC_INVALID)
        return bad(parser, "%s", cause->message);
    return err_set(parser->err, rc, "%s", cause->message);
}

static enum rc read_tags(const struct parser *parser, json_t *value, struct query_sub *sub) {
    if (json_is_null(value))
        return RC_OK;
    if (!json_is_object(value))
        return bad(parser, "The field 'tags' must be an object");
    struct filter *filters;
    TRY(room_for_filters(parser, json_object_size(value), &filters));
    uint32_t count = 0;
    const char *key;
    json_t *tag;
    json_object_foreach(value, key, tag) {
        str text;
        struct err cause;
        TRY(read_text(parser, key, tag, &text));
        enum rc rc = filter_make_legacy(str_of(key), text, true, parser->query_arena,
                                        &filters[count++], &cause);
        if (rc != RC_OK)
            return wrap_cause(parser, rc, &cause);
    }
    sub->filters = filters;
    sub->filter_count = count;
    return RC_OK;
}

static enum rc read_filter(const struct parser *parser, json_t *value, struct filter *filter) {
    if (!json_is_object(value))
        return bad(parser, "A filter must be an object");
    str type = {NULL, 0}, key = {NULL, 0}, text = {NULL, 0};
    bool group_by = false;
    const char *name;
    json_t *field;
    json_object_foreach(value, name, field) {
        if (strcmp(name, "type") == 0)
            TRY(read_text(parser, name, field, &type));
        else if (strcmp(name, "tagk") == 0)
            TRY(read_text(parser, name, field, &key));
        else if (strcmp(name, "filter") == 0)
            TRY(read_text(parser, name, field, &text));
        else if (strcmp(name, "groupBy") == 0 || strcmp(name, "group_by") == 0)
            TRY(read_flag(parser, name, field, &group_by));
    }
    struct err cause;
    enum rc rc = filter_make(type, key, text, group_by, parser->query_arena, filter, &cause);
    return rc == RC_OK ? RC_OK : wrap_cause(parser, rc, &cause);
}

static enum rc read_filters(const struct parser *parser, json_t *value, struct query_sub *sub) {
    if (json_is_null(value))
        return RC_OK;
    if (!json_is_array(value))
        return bad(parser, "The field 'filters' must be an array");
    struct filter *filters;
    TRY(room_for_filters(parser, json_array_size(value), &filters));
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item) {
        TRY(read_filter(parser, item, &filters[i]));
    }
    sub->filters = filters;
    sub->filter_count = (uint32_t)json_array_size(value);
    return RC_OK;
}

static enum rc read_tsuids(const struct parser *parser, json_t *value, struct query_sub *sub) {
    if (json_is_null(value))
        return RC_OK;
    if (!json_is_array(value))
        return bad(parser, "The field 'tsuids' must be an array");
    str *tsuids = ARENA_ARRAY(parser->query_arena, str, json_array_size(value) + 1);
    if (tsuids == NULL)
        return no_memory(parser);
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item) {
        TRY(read_text(parser, "tsuids", item, &tsuids[i]));
    }
    sub->tsuids = tsuids;
    sub->tsuid_count = (uint32_t)json_array_size(value);
    return RC_OK;
}

static enum rc refuse_percentiles(const struct parser *parser, json_t *value) {
    if (json_array_size(value) == 0)
        return RC_OK;
    return err_set(parser->err, RC_UNSUPPORTED, "Histogram queries are not supported: percentiles");
}

static enum rc refuse_buckets(const struct parser *parser, const char *name, json_t *value) {
    bool wanted = false;
    TRY(read_flag(parser, name, value, &wanted));
    if (!wanted)
        return RC_OK;
    return err_set(parser->err, RC_UNSUPPORTED, "Histogram queries are not supported: %s", name);
}

/* ---- fields by name ---- */

enum kind {
    KIND_TEXT,
    KIND_FLAG,
    KIND_RATE_OPTIONS,
    KIND_TAGS,
    KIND_FILTERS,
    KIND_TSUIDS,
    KIND_PERCENTILES,
    KIND_BUCKETS
};

struct field {
    const char *name;
    enum kind kind;
    size_t offset; /* of a text or flag in its structure */
};

static const struct field sub_fields[] = {
    {"aggregator", KIND_TEXT, offsetof(struct query_sub, aggregator_name)},
    {"metric", KIND_TEXT, offsetof(struct query_sub, metric)},
    {"downsample", KIND_TEXT, offsetof(struct query_sub, downsample_text)},
    {"rollupUsage", KIND_TEXT, offsetof(struct query_sub, rollup_usage)},
    {"rate", KIND_FLAG, offsetof(struct query_sub, rate)},
    {"explicitTags", KIND_FLAG, offsetof(struct query_sub, explicit_tags)},
    {"preAggregate", KIND_FLAG, offsetof(struct query_sub, pre_aggregate)},
    {"rateOptions", KIND_RATE_OPTIONS, 0},
    /* The later of these two replaces the earlier. */
    {"tags", KIND_TAGS, 0},
    {"filters", KIND_FILTERS, 0},
    {"tsuids", KIND_TSUIDS, 0},
    {"percentiles", KIND_PERCENTILES, 0},
    {"showHistogramBuckets", KIND_BUCKETS, 0},
};

static const struct field query_fields[] = {
    {"start", KIND_TEXT, offsetof(struct query, start_text)},
    {"end", KIND_TEXT, offsetof(struct query, end_text)},
    {"timezone", KIND_TEXT, offsetof(struct query, timezone)},
    {"useCalendar", KIND_FLAG, offsetof(struct query, use_calendar)},
    {"msResolution", KIND_FLAG, offsetof(struct query, ms_resolution)},
    {"showTSUIDs", KIND_FLAG, offsetof(struct query, show_tsuids)},
    {"showQuery", KIND_FLAG, offsetof(struct query, show_query)},
    {"showSummary", KIND_FLAG, offsetof(struct query, show_summary)},
    {"showStats", KIND_FLAG, offsetof(struct query, show_stats)},
    {"noAnnotations", KIND_FLAG, offsetof(struct query, no_annotations)},
    {"globalAnnotations", KIND_FLAG, offsetof(struct query, global_annotations)},
    {"delete", KIND_FLAG, offsetof(struct query, delete)},
};

static const struct field *find_field(const struct field *fields, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static enum rc read_scalar(const struct parser *parser, const struct field *field, json_t *value,
                           void *structure) {
    char *at = (char *)structure + field->offset;
    if (field->kind == KIND_TEXT)
        return read_text(parser, field->name, value, (str *)(void *)at);
    return read_flag(parser, field->name, value, (bool *)(void *)at);
}

static enum rc read_sub_field(const struct parser *parser, const struct field *field, json_t *value,
                              struct query_sub *sub) {
    switch (field->kind) {
    case KIND_RATE_OPTIONS:
        return read_rate_options(parser, value, sub);
    case KIND_TAGS:
        return read_tags(parser, value, sub);
    case KIND_FILTERS:
        return read_filters(parser, value, sub);
    case KIND_TSUIDS:
        return read_tsuids(parser, value, sub);
    case KIND_PERCENTILES:
        return refuse_percentiles(parser, value);
    case KIND_BUCKETS:
        return refuse_buckets(parser, field->name, value);
    default:
        return read_scalar(parser, field, value, sub);
    }
}

static enum rc read_sub(const struct parser *parser, json_t *value, struct query_sub *sub) {
    if (!json_is_object(value))
        return bad(parser, "A sub query must be an object");
    sub->rate_options = query_parse_default_rate();
    const char *name;
    json_t *item;
    json_object_foreach(value, name, item) {
        const struct field *field = find_field(sub_fields, COUNT_OF(sub_fields), name);
        if (field != NULL)
            TRY(read_sub_field(parser, field, item, sub));
    }
    return RC_OK;
}

static enum rc read_subs(const struct parser *parser, json_t *value, struct query *query) {
    if (value == NULL || json_is_null(value))
        return RC_OK;
    if (!json_is_array(value))
        return bad(parser, "The field 'queries' must be an array");
    TRY(query_parse_make_subs(query, json_array_size(value), parser->query_arena, parser->err));
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item) {
        TRY(read_sub(parser, item, &query->subs[query->sub_count++]));
    }
    return RC_OK;
}

static enum rc read_query(const struct parser *parser, json_t *root, struct query *query) {
    if (!json_is_object(root))
        return bad(parser, "The query must be an object");
    const char *name;
    json_t *item;
    json_object_foreach(root, name, item) {
        const struct field *field = find_field(query_fields, COUNT_OF(query_fields), name);
        if (field != NULL)
            TRY(read_scalar(parser, field, item, query));
    }
    return read_subs(parser, json_object_get(root, "queries"), query);
}

/* ---- the document ---- */

/* Whether brackets nest within the limit; the parser of documents would recurse as deep as they do.
 */
static bool is_shallow(str body) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < body.n; i++) {
        char c = body.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '[' || c == '{') && ++depth > LIMIT_JSON_DEPTH)
            return false;
        else if (!in_string && (c == ']' || c == '}'))
            depth--;
    }
    return true;
}

static enum rc load(const struct parser *parser, str body, json_t **root) {
    if (body.n == 0) {
        enum rc rc = err_set(parser->err, RC_INVALID, "Missing message content");
        err_details(parser->err, "Supply valid JSON formatted data in the body of your request");
        return rc;
    }
    if (body.n > QUERY_PARSE_BODY_BYTES_MAX)
        return err_set(parser->err, RC_LIMIT, "The query has more than %d bytes",
                       (int)QUERY_PARSE_BODY_BYTES_MAX);
    if (!is_shallow(body))
        return bad(parser, "Nested deeper than %d", (int)LIMIT_JSON_DEPTH);
    json_error_t error;
    *root = json_loadb(body.p, body.n, 0, &error);
    /* Grafana sends counter limits beyond 2^63: then all integers are read as doubles. */
    if (*root == NULL && json_error_code(&error) == json_error_numeric_overflow)
        *root = json_loadb(body.p, body.n, JSON_DECODE_INT_AS_REAL, &error);
    if (*root != NULL)
        return RC_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
        return no_memory(parser);
    return bad(parser, "%s at line %d, column %d", error.text, error.line, error.column);
}

enum rc query_parse_post(str body, const struct query_parse_context *context,
                         struct arena *query_arena, struct query *query, struct err *err) {
    *query = (struct query){0};
    struct parser parser = {query_arena, err};
    json_t *root = NULL;
    TRY(load(&parser, body, &root));
    enum rc rc = read_query(&parser, root, query);
    json_decref(root);
    return rc == RC_OK ? query_parse_validate(query, context, err) : rc;
}
