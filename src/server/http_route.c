#include "server/http_request.h"

#include "wire/json_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { API_VERSION_MAX = 1 };

/* ---- parameters and replies ---- */

str http_request_parameter(const struct http_request *request, const char *name) {
    const str *found = request->uri == NULL ? NULL : http_uri_find(request->uri, str_of(name));
    return found == NULL ? (str){NULL, 0} : *found;
}

bool http_request_flag(const struct http_request *request, const char *name) {
    return http_request_parameter(request, name).p != NULL;
}

/* The pages outside /api answer errors as HTML, or as {"err": ...} when asked with ?json. */
static void legacy_error(struct http_request *request, const char *message) {
    struct buf *body = &request->reply.body;
    if (http_request_flag(request, "json")) {
        struct json_out json = {.out = body};
        json_out_object(&json);
        json_out_key(&json, STR("err"));
        json_out_string(&json, str_of(message));
        json_out_object_end(&json);
        return;
    }
    buf_str(body, STR("<!DOCTYPE html><html><head><title>Barograph</title></head><body><h1>"));
    for (const char *c = message; *c != '\0'; c++) {
        if (*c == '<')
            buf_str(body, STR("&lt;"));
        else if (*c == '&')
            buf_str(body, STR("&amp;"));
        else
            buf_char(body, *c);
    }
    buf_str(body, STR("</h1></body></html>\n"));
}

void http_reply_error(struct http_request *request, int status, const char *message,
                      const char *details) {
    struct http_reply *reply = &request->reply;
    buf_fini(&reply->body);
    reply->body.budget = NULL; /* an error is short, and must be told when memory is full, too */
    reply->status = status;
    reply->content_type = NULL;
    if (!request->api) {
        legacy_error(request, message);
        return;
    }
    struct json_out json = {.out = &reply->body};
    json_out_object(&json);
    json_out_key(&json, STR("error"));
    json_out_object(&json);
    json_out_key(&json, STR("code"));
    json_out_int(&json, status);
    json_out_key(&json, STR("message"));
    json_out_string(&json, str_of(message));
    if (details != NULL && details[0] != '\0') {
        json_out_key(&json, STR("details"));
        json_out_string(&json, str_of(details));
    }
    json_out_object_end(&json);
    json_out_object_end(&json);
}

void http_reply_err(struct http_request *request, const struct err *err) {
    int status = err_http_status(err);
    http_reply_error(request, status == 499 ? 503 : status, err->message, err->details);
}

void http_reply_text(struct http_request *request, int status, const char *content_type, str text) {
    buf_reset(&request->reply.body);
    buf_str(&request->reply.body, text);
    request->reply.status = status;
    request->reply.content_type = content_type;
}

void http_reply_empty(struct http_request *request, int status) {
    buf_reset(&request->reply.body);
    request->reply.status = status;
    request->reply.plain = true;
}

bool http_allow(struct http_request *request, unsigned verbs) {
    if ((verbs >> request->verb & 1) != 0)
        return true;
    char details[160];
    snprintf(details, sizeof(details), "The HTTP method [%.32s] is not permitted for this endpoint",
             request->method);
    http_reply_error(request, 405, "Method not allowed", details);
    return false;
}

bool http_need_body(struct http_request *request) {
    if (request->body.n > 0)
        return true;
    http_reply_error(request, 400, "Missing message content",
                     "Supply valid JSON formatted data in the body of your request");
    return false;
}

/* ---- routes ---- */

enum family { FAMILY_WRITE = 1, FAMILY_READ = 2 }; /* what tsd.mode can switch off */

struct route {
    const char *name;
    http_endpoint *endpoint;
    int family;
};

static const struct route api_routes[] = {
    {"put", http_put_handle, FAMILY_WRITE},      {"query", http_query_handle, FAMILY_READ},
    {"suggest", http_meta_suggest, FAMILY_READ}, {"search", http_meta_search, FAMILY_READ},
    {"aggregators", http_meta_aggregators, 0},   {"config", http_meta_config, 0},
    {"version", http_meta_version, 0},           {"serializers", http_meta_serializers, 0},
    {"dropcaches", http_meta_dropcaches, 0},     {"stats", http_stats_handle, 0},
};

static const struct route page_routes[] = {
    {"", http_meta_home, FAMILY_READ},         {"suggest", http_meta_suggest, FAMILY_READ},
    {"aggregators", http_meta_aggregators, 0}, {"version", http_meta_version, 0},
    {"dropcaches", http_meta_dropcaches, 0},   {"stats", http_stats_handle, 0},
};

/* Always there, whatever is switched off: for those who run the server. */
static const struct route operator_routes[] = {
    {"metrics", http_stats_metrics, 0},
};

/* Answered even before the store is there. */
static const struct route probe_routes[] = {
    {"health", http_stats_health, 0},
    {"ready", http_stats_ready, 0},
};

static bool serve(struct http_request *request, const struct route *routes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(request->endpoint, str_of(routes[i].name)))
            continue;
        if ((routes[i].family == FAMILY_WRITE && !request->instance->writable) ||
            (routes[i].family == FAMILY_READ && !request->instance->queryable))
            return false;
        /* What readers ask for may be large: it leaves to writers what queries leave to them. */
        if (routes[i].family == FAMILY_READ)
            request->reply.body.budget = &request->instance->query_budget;
        routes[i].endpoint(request);
        return true;
    }
    return false;
}

static str lower_copy(struct arena *arena, str s) {
    str copy = arena_str(arena, s);
    char *p = (char *)(uintptr_t)copy.p;
    for (size_t i = 0; p != NULL && i < copy.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] - 'A' + 'a');
    return copy;
}

/* Takes the next segment off a path without its leading slashes. */
static str next_segment(str *path) {
    while (path->n > 0 && path->p[0] == '/')
        *path = str_from(*path, 1);
    str segment = {path->p, str_find(*path, '/')};
    *path = str_from(*path, segment.n);
    return segment;
}

/* Skips "v1"; false with the reply in place if the version cannot be served. */
static bool skip_version(struct http_request *request, str *path) {
    str ahead = *path;
    str segment = next_segment(&ahead);
    if (segment.n < 2 || segment.p[0] != 'v' || segment.p[1] < '0' || segment.p[1] > '9')
        return true;
    uint32_t version = 0;
    for (size_t i = 1; i < segment.n; i++) {
        if (segment.p[i] < '0' || segment.p[i] > '9' || i > 8) {
            http_reply_error(request, 400, "Invalid API version format supplied", NULL);
            return false;
        }
        version = version * 10 + (uint32_t)(segment.p[i] - '0');
    }
    if (version > API_VERSION_MAX) {
        char details[96];
        snprintf(details, sizeof(details), "API version [%u] is greater than the max [%d]", version,
                 API_VERSION_MAX);
        http_reply_error(request, 501, "Requested API version is greater than the max implemented",
                         details);
        return false;
    }
    *path = ahead;
    return true;
}

/* ?method_override=delete on a GET. False with the reply in place if it is no verb. */
static bool override_verb(struct http_request *request) {
    if (request->verb != HTTP_GET || !http_request_flag(request, "method_override"))
        return true;
    static const struct {
        const char *name;
        enum http_verb verb;
    } verbs[] = {
        {"get", HTTP_GET}, {"post", HTTP_POST}, {"put", HTTP_PUT}, {"delete", HTTP_DELETE}};
    str wanted = http_request_parameter(request, "method_override");
    if (wanted.n == 0) {
        http_reply_error(request, 405, "Missing method override value", NULL);
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (str_eq_nocase(wanted, str_of(verbs[i].name))) {
            request->verb = verbs[i].verb;
            return true;
        }
    http_reply_error(request, 405, "Unknown or unsupported method override value", NULL);
    return false;
}

static bool check_serializer(struct http_request *request) {
    str name = http_request_parameter(request, "serializer");
    if (name.p == NULL || str_eq_nocase(name, STR("json")))
        return true;
    char details[160];
    snprintf(details, sizeof(details), "Could not find a serializer with the name: %.*s",
             (int)(name.n < 64 ? name.n : 64), name.n > 0 ? name.p : "");
    http_reply_error(request, 400, "Requested serializer was not found", details);
    return false;
}

static void route_api(struct http_request *request, str path) {
    if (!config_true(request->instance->config, CONFIG_ENABLE_API)) {
        http_reply_error(request, 404, "Endpoint not found", NULL);
        return;
    }
    if (!skip_version(request, &path) || !check_serializer(request))
        return;
    request->endpoint = next_segment(&path);
    request->rest = path;
    while (request->rest.n > 0 && request->rest.p[0] == '/')
        request->rest = str_from(request->rest, 1);
    while (request->rest.n > 0 && request->rest.p[request->rest.n - 1] == '/')
        request->rest.n--;
    bool overrides =
        str_eq(request->endpoint, STR("query")) || str_eq(request->endpoint, STR("search"));
    if (overrides && !override_verb(request))
        return;
    if (!serve(request, api_routes, COUNT_OF(api_routes)))
        http_reply_error(request, 404, "Endpoint not found", NULL);
}

void http_route(struct http_request *request) {
    str path = lower_copy(request->arena, request->uri->path);
    if (path.p == NULL) {
        http_reply_error(request, 503, "The server is over its memory budget, retry later", NULL);
        return;
    }
    str first = next_segment(&path);
    request->endpoint = first;
    request->api = str_eq(first, STR("api"));
    if (serve(request, probe_routes, COUNT_OF(probe_routes)))
        return;
    if (!instance_has_store(request->instance)) {
        http_reply_error(request, 503, "The server is starting, retry later", NULL);
        return;
    }
    if (serve(request, operator_routes, COUNT_OF(operator_routes)))
        return;
    if (request->api) {
        route_api(request, path);
        return;
    }
    bool pages = config_true(request->instance->config, CONFIG_ENABLE_UI);
    if (!pages || !serve(request, page_routes, COUNT_OF(page_routes)))
        http_reply_error(request, 404, "Page Not Found", NULL);
}
