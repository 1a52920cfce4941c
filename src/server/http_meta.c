/*
 * What clients ask about: names, series, aggregators, filters, configuration, version.
 */
#include "server/http_json.h"

#include "query/aggregator.h"
#include "query/filter.h"
#include "server/series_spec.h"
#include "server/stats_text.h"
#include "server/version.h"
#include "wire/json_out.h"
#include "wire/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_VERBS = 1u << HTTP_GET | 1u << HTTP_POST, SUGGEST_DEFAULT = 25, LOOKUP_DEFAULT = 25 };

/* ---- suggest ---- */

static bool suggest_kind(str type, enum index_kind *kind) {
    static const char *const names[INDEX_KINDS] = {"metrics", "tagk", "tagv"};
    for (int i = 0; i < INDEX_KINDS; i++)
        if (str_eq(type, str_of(names[i]))) {
            *kind = (enum index_kind)i;
            return true;
        }
    return false;
}

static void put_suggestions(struct http_request *request, const struct str_vec *names) {
    struct json_out json = {.out = &request->reply.body};
    request->reply.status = 200;
    json_out_array(&json);
    for (size_t i = 0; i < names->n && !request->reply.body.failed; i++)
        json_out_string(&json, names->p[i]);
    json_out_array_end(&json);
}

static void reply_names(struct http_request *request, enum index_kind kind, str prefix,
                        uint32_t max) {
    struct str_vec names = {0};
    /* The names are the index's own: nobody may take them away meanwhile. */
    store_readers_enter(request->instance->store);
    enum rc rc = index_suggest(request->instance->index, kind, prefix, max, &names);
    if (rc == RC_OK)
        put_suggestions(request, &names);
    else
        http_reply_error(request, 503, err_text(rc), "");
    store_readers_leave(request->instance->store);
    str_vec_fini(&names);
}

void http_meta_suggest(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    str type = http_request_parameter(request, "type");
    str prefix = http_request_parameter(request, "q");
    str max_text = http_request_parameter(request, "max");
    if (request->verb == HTTP_POST) {
        json_t *body = http_json_body(request);
        if (body == NULL)
            return;
        type = http_json_text(request, json_object_get(body, "type"));
        prefix = http_json_text(request, json_object_get(body, "q"));
        max_text = http_json_text(request, json_object_get(body, "max"));
        json_decref(body);
    }
    if (type.n == 0) {
        http_reply_error(request, 400, "Missing 'type' parameter", "");
        return;
    }
    enum index_kind kind;
    if (!suggest_kind(type, &kind)) {
        char message[160];
        snprintf(message, sizeof(message), "Invalid 'type' parameter:%.*s",
                 (int)(type.n < 100 ? type.n : 100), type.p);
        http_reply_error(request, 400, message, "");
        return;
    }
    int64_t max = SUGGEST_DEFAULT;
    char bad;
    if (max_text.n > 0 && number_parse_int(max_text, &max, &bad) != NUMBER_OK) {
        http_reply_error(request, 400, "Unable to parse 'max' as a number", "");
        return;
    }
    if (max <= 0)
        max = SUGGEST_DEFAULT;
    reply_names(request, kind, prefix, max > UINT32_MAX ? UINT32_MAX : (uint32_t)max);
}

/* ---- search/lookup ---- */

struct lookup {
    struct http_request *request;
    struct series_spec spec;
    int64_t limit;
};

static void lookup_unknown(struct lookup *lookup, const char *kind, str name) {
    char details[300];
    snprintf(details, sizeof(details), "No such name for '%s': '%.*s'", kind,
             (int)(name.n < 200 ? name.n : 200), name.p);
    http_reply_error(lookup->request, 404, "Unable to resolve one or more UIDs", details);
}

struct lookup_plan {
    uint32_t metric;
    uint32_t condition_count;
    struct index_condition conditions[LIMIT_TAGS_MAX];
    uint32_t values[LIMIT_TAGS_MAX][LIMIT_TAGS_MAX]; /* by condition */
    uint32_t any_key_count;
    uint32_t any_key[LIMIT_TAGS_MAX]; /* values that may stand under any key: one is enough */
};

static int compare_uids(const void *a, const void *b) {
    uint32_t left, right;
    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return (left > right) - (left < right);
}

/* Values of the same key are alternatives. */
static void plan_tag(struct lookup_plan *plan, uint32_t key, uint32_t value) {
    uint32_t at = 0;
    while (at < plan->condition_count && plan->conditions[at].key_uid != key)
        at++;
    struct index_condition *condition = &plan->conditions[at];
    if (at == plan->condition_count) {
        plan->condition_count++;
        *condition = (struct index_condition){
            .kind = INDEX_VALUE_IN, .key_uid = key, .value_uids = plan->values[at]};
    }
    if (value == 0)
        condition->kind = INDEX_HAS_KEY;
    else
        plan->values[at][condition->value_count++] = value;
    qsort(plan->values[at], condition->value_count, sizeof(uint32_t), compare_uids);
}

/* Resolves all names; false with the reply in place if one is unknown. */
static bool make_plan(struct lookup *lookup, struct lookup_plan *plan) {
    struct index *index = lookup->request->instance->index;
    const struct series_spec *spec = &lookup->spec;
    if (spec->metric.n > 0) {
        plan->metric = index_uid(index, INDEX_METRIC, spec->metric);
        if (plan->metric == 0) {
            lookup_unknown(lookup, "metrics", spec->metric);
            return false;
        }
    }
    for (uint32_t i = 0; i < spec->tag_count; i++) {
        uint32_t key = index_uid(index, INDEX_TAGK, spec->tags[i].key);
        uint32_t value = index_uid(index, INDEX_TAGV, spec->tags[i].value);
        if (spec->tags[i].key.n > 0 && key == 0) {
            lookup_unknown(lookup, "tagk", spec->tags[i].key);
            return false;
        }
        if (spec->tags[i].value.n > 0 && value == 0) {
            lookup_unknown(lookup, "tagv", spec->tags[i].value);
            return false;
        }
        if (key != 0)
            plan_tag(plan, key, value);
        else if (value != 0)
            plan->any_key[plan->any_key_count++] = value;
    }
    return true;
}

static bool has_any(const struct lookup_plan *plan, const struct series *series) {
    for (uint32_t i = 0; i < series->tag_count; i++)
        for (uint32_t v = 0; v < plan->any_key_count; v++)
            if (series->tags[i].value_uid == plan->any_key[v])
                return true;
    return plan->any_key_count == 0;
}

static void put_found(struct json_out *json, struct index *index, const struct series *series) {
    struct series_key key;
    struct buf tsuid = {0};
    index_key(index, series, &key);
    index_tsuid(index, series, &tsuid);
    json_out_object(json);
    json_out_key(json, STR("tsuid"));
    json_out_string(json, buf_view(&tsuid));
    json_out_key(json, STR("metric"));
    json_out_string(json, key.metric);
    json_out_key(json, STR("tags"));
    json_out_object(json);
    for (uint32_t i = 0; i < key.tag_count; i++) {
        json_out_key(json, key.tags[i].key);
        json_out_string(json, key.tags[i].value);
    }
    json_out_object_end(json);
    json_out_object_end(json);
    buf_fini(&tsuid);
}

static str star_if_any(str s) {
    return s.n == 0 ? STR("*") : s;
}

static void put_question(struct json_out *json, const struct lookup *lookup) {
    json_out_key(json, STR("type"));
    json_out_string(json, STR("LOOKUP"));
    json_out_key(json, STR("metric"));
    json_out_string(json, star_if_any(lookup->spec.metric));
    json_out_key(json, STR("tags"));
    json_out_array(json);
    for (uint32_t i = 0; i < lookup->spec.tag_count; i++) {
        json_out_object(json);
        json_out_key(json, STR("key"));
        json_out_string(json, star_if_any(lookup->spec.tags[i].key));
        json_out_key(json, STR("value"));
        json_out_string(json, star_if_any(lookup->spec.tags[i].value));
        json_out_object_end(json);
    }
    json_out_array_end(json);
    json_out_key(json, STR("limit"));
    json_out_int(json, lookup->limit);
}

static void put_results(struct lookup *lookup, const struct lookup_plan *plan,
                        const struct series_vec *found, int64_t started) {
    struct http_request *request = lookup->request;
    struct json_out json = {.out = &request->reply.body};
    int64_t shown = 0;
    request->reply.status = 200;
    json_out_object(&json);
    put_question(&json, lookup);
    json_out_key(&json, STR("results"));
    json_out_array(&json);
    const struct buf *body = &request->reply.body;
    for (size_t i = 0;
         i < found->n && !body->failed && (lookup->limit == 0 || shown < lookup->limit); i++) {
        if (!has_any(plan, found->p[i]))
            continue;
        put_found(&json, request->instance->index, found->p[i]);
        shown++;
    }
    json_out_array_end(&json);
    json_out_key(&json, STR("startIndex"));
    json_out_int(&json, 0);
    json_out_key(&json, STR("totalResults"));
    json_out_int(&json, shown);
    json_out_key(&json, STR("time"));
    json_out_double(&json, (double)(clock_monotonic_ns() - started) / 1e6);
    json_out_object_end(&json);
}

static void reply_lookup(struct lookup *lookup) {
    struct http_request *request = lookup->request;
    struct lookup_plan *plan = ARENA_NEW(request->arena, struct lookup_plan);
    if (plan == NULL) {
        http_reply_error(request, 503, "The server is over its memory budget, retry later", "");
        return;
    }
    int64_t started = clock_monotonic_ns();
    if (!make_plan(lookup, plan))
        return;
    struct series_vec found = {0};
    store_readers_enter(request->instance->store);
    enum rc rc = index_select(request->instance->index, plan->metric, plan->conditions,
                              plan->condition_count, -1, &found);
    if (rc == RC_OK)
        put_results(lookup, plan, &found, started);
    else
        http_reply_error(request, 503, err_text(rc), "");
    store_readers_leave(request->instance->store);
    series_vec_fini(&found);
}

static bool take_limit(struct lookup *lookup, str limit) {
    char bad;
    if (limit.n == 0 || number_parse_int(limit, &lookup->limit, &bad) == NUMBER_OK)
        return true;
    http_reply_error(lookup->request, 400, "Unable to convert 'limit' to a valid number", "");
    return false;
}

static bool lookup_from_body(struct lookup *lookup, const json_t *body) {
    struct http_request *request = lookup->request;
    str metric = http_json_text(request, json_object_get(body, "metric"));
    const json_t *tags = json_object_get(body, "tags");
    if (metric.n == 0 && json_array_size(tags) == 0) {
        http_reply_error(request, 400, "Missing metric and tags. Please supply at least one value.",
                         "");
        return false;
    }
    lookup->spec.metric = series_spec_part(metric);
    if (!take_limit(lookup, http_json_text(request, json_object_get(body, "limit"))))
        return false;
    if (json_array_size(tags) > LIMIT_TAGS_MAX) {
        http_reply_error(request, 400, "too many tags", "");
        return false;
    }
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);
        str key = http_json_text(request, json_object_get(tag, "key"));
        str value = http_json_text(request, json_object_get(tag, "value"));
        lookup->spec.tags[lookup->spec.tag_count++] =
            (struct series_spec_tag){series_spec_part(key), series_spec_part(value)};
    }
    return true;
}

static void handle_lookup(struct http_request *request) {
    struct lookup lookup = {.request = request, .limit = LOOKUP_DEFAULT};
    struct err err = {0};
    if (request->verb == HTTP_POST) {
        json_t *body = http_json_body(request);
        bool good = body != NULL && lookup_from_body(&lookup, body);
        json_decref(body);
        if (!good)
            return;
    } else {
        str m = http_request_parameter(request, "m");
        if (m.n == 0) {
            http_reply_error(request, 400, "Missing parameter <code>m</code>", "");
            return;
        }
        if (!take_limit(&lookup, http_request_parameter(request, "limit")))
            return;
        if (series_spec_parse(m, &lookup.spec, &err) < 0) {
            http_reply_err(request, &err);
            return;
        }
    }
    if (lookup.limit < 0)
        lookup.limit = LOOKUP_DEFAULT;
    reply_lookup(&lookup);
}

void http_meta_search(struct http_request *request) {
    static const char *const plugin_types[] = {"tsmeta", "tsmeta_summary", "tsuids", "uidmeta",
                                               "annotation"};
    if (request->verb != HTTP_GET && request->verb != HTTP_POST) {
        char details[64];
        snprintf(details, sizeof(details), "Unsupported method: %.32s", request->method);
        http_reply_error(request, 400, "Unsupported HTTP request method", details);
        return;
    }
    if (str_eq(request->rest, STR("lookup"))) {
        handle_lookup(request);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(plugin_types); i++)
        if (str_eq(request->rest, str_of(plugin_types[i]))) {
            http_reply_error(request, 400, "Searching is not enabled",
                             "Searching has not been enabled on this TSD");
            return;
        }
    http_reply_error(request, 400, "Invalid search query type supplied", "");
}

/* ---- lists ---- */

void http_meta_aggregators(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    struct json_out json = {.out = &request->reply.body};
    json_out_array(&json);
    for (int i = 0; i < AGGREGATOR_COUNT_OF; i++)
        json_out_string(&json, str_of(aggregator_name((enum aggregator)i)));
    json_out_array_end(&json);
    request->reply.status = 200;
}

static void reply_filters(struct http_request *request) {
    struct json_out json = {.out = &request->reply.body};
    json_out_object(&json);
    for (int i = 0; i < FILTER_TYPES; i++) {
        const char *name, *description, *examples;
        filter_describe((enum filter_type)i, &name, &description, &examples);
        json_out_key(&json, str_of(name));
        json_out_object(&json);
        json_out_key(&json, STR("examples"));
        json_out_string(&json, str_of(examples));
        json_out_key(&json, STR("description"));
        json_out_string(&json, str_of(description));
        json_out_object_end(&json);
    }
    json_out_object_end(&json);
    request->reply.status = 200;
}

static int compare_keys(const void *a, const void *b) {
    const enum config_key *left = a, *right = b;
    return strcmp(config_name(*left), config_name(*right));
}

void http_meta_config(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    if (str_eq(request->rest, STR("filters"))) {
        reply_filters(request);
        return;
    }
    if (request->rest.n > 0) {
        http_reply_error(request, 404, "Endpoint not found", "");
        return;
    }
    enum config_key order[CONFIG_KEYS];
    for (int i = 0; i < CONFIG_KEYS; i++)
        order[i] = (enum config_key)i;
    qsort(order, CONFIG_KEYS, sizeof(order[0]), compare_keys);
    struct json_out json = {.out = &request->reply.body};
    json_out_object(&json);
    for (int i = 0; i < CONFIG_KEYS; i++) {
        const char *name = config_name(order[i]);
        bool secret = strstr(name, "PASS") != NULL || strstr(name, "pass") != NULL;
        json_out_key(&json, str_of(name));
        json_out_string(&json, secret ? STR("********")
                                      : str_of(request->instance->config->text[order[i]]));
    }
    json_out_object_end(&json);
    request->reply.status = 200;
}

void http_meta_version(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    str path = request->uri->path;
    bool wants_json = request->api || http_request_flag(request, "json") ||
                      (path.n >= 4 && str_eq(str_from(path, path.n - 4), STR("json")));
    if (!wants_json) {
        stats_text_version(request->instance, &request->reply.body);
        request->reply.status = 200;
        return;
    }
    const struct {
        const char *key, *value;
    } members[] = {
        {"version", STATS_TEXT_VERSION},
        {"short_revision", VERSION_REVISION},
        {"full_revision", VERSION_REVISION},
        {"timestamp", VERSION_TIMESTAMP},
        {"repo_status", "MINT"},
        {"user", "barograph"},
        {"host", request->instance->host},
        {"repo", "barograph"},
        {"branch", ""},
        {"barograph", VERSION_TEXT},
    };
    struct json_out json = {.out = &request->reply.body};
    json_out_object(&json);
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        json_out_key(&json, str_of(members[i].key));
        json_out_string(&json, str_of(members[i].value));
    }
    json_out_object_end(&json);
    request->reply.status = 200;
}

void http_meta_serializers(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    http_reply_text(request, 200, NULL,
                    STR("[{\"serializer\":\"json\",\"class\":\"json\",\"request_content_type\":"
                        "\"application/json\",\"response_content_type\":\"application/json; "
                        "charset=UTF-8\",\"parsers\":[\"Put\",\"Query\",\"LastPointQuery\","
                        "\"Suggest\",\"Search\"],\"formatters\":[\"Aggregators\",\"Config\","
                        "\"Error\",\"NotFound\",\"Put\",\"Query\",\"LastPointQuery\","
                        "\"Serializers\",\"Stats\",\"Suggest\",\"Version\",\"DropCaches\"]}]"));
}

void http_meta_dropcaches(struct http_request *request) {
    if (!http_allow(request, 1u << HTTP_GET | 1u << HTTP_DELETE))
        return;
    store_trim(request->instance->store);
    if (request->api)
        http_reply_text(request, 200, NULL,
                        STR("{\"status\":\"200\",\"message\":\"Caches dropped\"}"));
    else
        http_reply_text(request, 200, NULL, STR("Caches dropped.\n"));
}

void http_meta_home(struct http_request *request) {
    if (!http_allow(request, READ_VERBS))
        return;
    http_reply_text(
        request, 200, NULL,
        STR("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Barograph"
            "</title></head><body><h1>Barograph</h1><p>A time-series database that speaks "
            "OpenTSDB.</p><ul><li><a href=\"api/suggest?type=metrics&amp;max=100\">metrics</a>"
            "</li><li><a href=\"api/query?start=5m-ago&amp;m=sum:tsd.datapoints.added\">points "
            "added, last five minutes</a></li><li><a href=\"stats\">statistics</a></li><li><a "
            "href=\"api/version\">version</a></li></ul></body></html>\n"));
}
