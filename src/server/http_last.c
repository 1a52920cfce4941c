/*
 * /api/query/last: the newest point of each series. The index answers it, so no meta tables are
 * needed; back_scan bounds how far back the newest point may lie.
 */
#include "server/http_last.h"

#include "query/query_names.h"
#include "server/http_json.h"
#include "server/series_spec.h"
#include "store/scan.h"
#include "wire/json_out.h"
#include "wire/number.h"

struct last {
    struct http_request *request;
    struct scan scan;
    struct json_out json;
    struct query_names names;
    struct buf metric; /* "metric":"name" of `metric_uid`; 0: of none */
    uint32_t metric_uid;
    int64_t from_ms;
    int64_t now_ms;
    bool resolve;
    uint32_t queries;
    struct err err;
};

/* Mostly that of the series before. */
static void put_metric(struct last *last, uint32_t uid) {
    if (last->metric_uid != uid) {
        struct json_out json = {.out = &last->metric};
        buf_reset(&last->metric);
        json_out_key(&json, STR("metric"));
        json_out_string(&json, index_name(last->request->instance->index, INDEX_METRIC, uid));
        last->metric_uid = last->metric.failed ? 0 : uid;
    }
    json_out_raw(&last->json, buf_view(&last->metric));
}

static void put_tags(struct last *last, const struct series *series) {
    struct buf *out = last->json.out;
    json_out_raw(&last->json, STR("\"tags\":{"));
    query_names_put_tags(&last->names, series->tags, series->tag_count, out);
    buf_char(out, '}');
}

/* Numbers and hexadecimal digits need no escaping. */
static enum rc put_series(struct last *last, struct series *series) {
    int64_t time_ms;
    struct value value;
    int found = scan_last(&last->scan, series, last->from_ms, LIMIT_TIME_MS_MAX, &time_ms, &value);
    if (found <= 0)
        return (enum rc)found;
    struct json_out *json = &last->json;
    struct buf *out = json->out;
    json_out_object(json);
    if (last->resolve)
        put_metric(last, series->metric_uid);
    json_out_raw(json, STR("\"timestamp\":"));
    number_put_int(out, time_ms);
    buf_str(out, STR(",\"value\":\""));
    if (value.is_float)
        number_put_double(out, points_double_of(value.bits));
    else
        number_put_int(out, (int64_t)value.bits);
    buf_char(out, '"');
    if (last->resolve)
        put_tags(last, series);
    buf_str(out, STR(",\"tsuid\":\""));
    index_tsuid(last->request->instance->index, series, out);
    buf_char(out, '"');
    json_out_object_end(json);
    return out->failed || last->metric.failed ? RC_THROTTLE : RC_OK;
}

static enum rc no_such_name(struct last *last, const char *kind, str name) {
    err_set_http(&last->err, RC_INVALID, 400, "No such name for '%s': '%.*s'", kind, STR_ARG(name));
    err_details(&last->err, "No such name for '%s': '%.*s'", kind, STR_ARG(name));
    return RC_INVALID;
}

/* All series of the metric that have the given tags. */
static enum rc put_matching(struct last *last, const struct series_spec *spec) {
    struct index *index = last->request->instance->index;
    struct index_condition conditions[LIMIT_TAGS_MAX];
    uint32_t values[LIMIT_TAGS_MAX];
    uint32_t metric = index_uid(index, INDEX_METRIC, spec->metric);
    last->queries++;
    if (spec->metric.n == 0)
        return err_set(&last->err, RC_INVALID, "Missing metric or tsuids");
    if (metric == 0)
        return no_such_name(last, "metrics", spec->metric);
    for (uint32_t i = 0; i < spec->tag_count; i++) {
        uint32_t key = index_uid(index, INDEX_TAGK, spec->tags[i].key);
        values[i] = index_uid(index, INDEX_TAGV, spec->tags[i].value);
        if (key == 0)
            return no_such_name(last, "tagk", spec->tags[i].key);
        if (values[i] == 0 && spec->tags[i].value.n > 0)
            return no_such_name(last, "tagv", spec->tags[i].value);
        conditions[i] = (struct index_condition){
            .kind = spec->tags[i].value.n == 0 ? INDEX_HAS_KEY : INDEX_VALUE_IN,
            .key_uid = key,
            .value_uids = &values[i],
            .value_count = 1,
        };
    }
    struct series_vec found = {0};
    store_readers_enter(last->request->instance->store);
    enum rc rc = index_select(index, metric, conditions, spec->tag_count, -1, &found);
    struct scan_row row = {found.p, found.n, last->from_ms, LIMIT_TIME_MS_MAX};
    if (rc == RC_OK)
        scan_prefetch_first(&last->scan, &row);
    for (size_t i = 0; rc == RC_OK && i < found.n; i++) {
        scan_prefetch(&last->scan, &row, i);
        rc = put_series(last, found.p[i]);
    }
    store_readers_leave(last->request->instance->store);
    series_vec_fini(&found);
    return rc;
}

static enum rc put_tsuid(struct last *last, str tsuid) {
    last->queries++;
    store_readers_enter(last->request->instance->store);
    struct series *series = index_by_tsuid(last->request->instance->index, tsuid);
    enum rc rc = series == NULL ? no_such_name(last, "tsuid", tsuid) : put_series(last, series);
    store_readers_leave(last->request->instance->store);
    return rc;
}

static enum rc from_uri(struct last *last) {
    const struct http_request *request = last->request;
    for (uint32_t i = 0; i < request->uri->parameter_count; i++) {
        str name = request->uri->parameters[i].name;
        str value = request->uri->parameters[i].value;
        if (str_eq(name, STR("timeseries"))) {
            struct series_spec spec;
            TRY(series_spec_parse(value, &spec, &last->err));
            TRY(put_matching(last, &spec));
        } else if (str_eq(name, STR("tsuids"))) {
            while (value.n > 0) {
                size_t end = str_find(value, ',');
                TRY(put_tsuid(last, (str){value.p, end}));
                value = str_from(value, end < value.n ? end + 1 : end);
            }
        }
    }
    return RC_OK;
}

static enum rc from_sub_query(struct last *last, const json_t *sub) {
    const json_t *tsuids = json_object_get(sub, "tsuids");
    for (size_t i = 0; i < json_array_size(tsuids); i++)
        TRY(put_tsuid(last, http_json_text(last->request, json_array_get(tsuids, i))));
    if (json_array_size(tsuids) > 0)
        return RC_OK;
    struct series_spec spec = {.metric =
                                   http_json_text(last->request, json_object_get(sub, "metric"))};
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(sub, "tags"), key, value) {
        if (spec.tag_count == LIMIT_TAGS_MAX)
            return err_set(&last->err, RC_INVALID, "too many tags: more than %d", LIMIT_TAGS_MAX);
        spec.tags[spec.tag_count++] =
            (struct series_spec_tag){str_of(key), http_json_text(last->request, value)};
    }
    return put_matching(last, &spec);
}

static void set_back_scan(struct last *last, int64_t hours) {
    const int64_t hour_ms = 3600000;
    if (hours > 0 && hours < last->now_ms / hour_ms)
        last->from_ms = (last->now_ms / hour_ms - hours) * hour_ms;
}

static enum rc read_back_scan(struct last *last, str text) {
    int64_t hours = 0;
    char bad;
    if (text.n > 0 && number_parse_int(text, &hours, &bad) != NUMBER_OK)
        return err_set(&last->err, RC_INVALID, "Unable to parse back_scan parameter");
    set_back_scan(last, hours);
    return RC_OK;
}

static enum rc from_body(struct last *last, const json_t *body) {
    struct http_request *request = last->request;
    str resolve = http_json_text(request, json_object_get(body, "resolveNames"));
    last->resolve = str_eq_nocase(resolve, STR("true"));
    TRY(read_back_scan(last, http_json_text(request, json_object_get(body, "backScan"))));
    const json_t *queries = json_object_get(body, "queries");
    for (size_t i = 0; i < json_array_size(queries); i++)
        TRY(from_sub_query(last, json_array_get(queries, i)));
    return RC_OK;
}

/* `body` is that of a POST, else NULL. */
static enum rc parse_and_put(struct last *last, const json_t *body) {
    struct http_request *request = last->request;
    if (request->verb != HTTP_POST) {
        last->resolve = http_request_flag(request, "resolve");
        TRY(read_back_scan(last, http_request_parameter(request, "back_scan")));
        return from_uri(last);
    }
    return from_body(last, body);
}

void http_last_handle(struct http_request *request) {
    json_t *body = request->verb == HTTP_POST ? http_json_body(request) : NULL;
    if (request->verb == HTTP_POST && body == NULL)
        return;
    struct last last = {
        .request = request,
        .json = {.out = &request->reply.body},
        .metric.budget = &request->instance->budget,
        .now_ms = clock_wall_ms(&clock_system),
        .from_ms = INT64_MIN,
    };
    request->reply.status = 200;
    enum rc rc = scan_init(&last.scan, request->instance->store, &request->instance->budget);
    if (rc < 0) {
        http_reply_error(request, 503, err_text(rc), "");
        json_decref(body);
        return;
    }
    query_names_init(&last.names, request->instance->index, QUERY_NAMES_FEW,
                     &request->instance->budget);
    json_out_array(&last.json);
    rc = parse_and_put(&last, body);
    json_decref(body);
    json_out_array_end(&last.json);
    scan_fini(&last.scan);
    query_names_fini(&last.names);
    buf_fini(&last.metric);
    if (rc == RC_OK && last.queries == 0)
        rc = err_set(&last.err, RC_INVALID, "Missing sub queries");
    if (rc < 0) {
        if (last.err.message[0] == '\0')
            err_set(&last.err, rc, "%s", err_text(rc));
        http_reply_err(request, &last.err);
    }
}
