/*
 * Statistics and health, for OpenTSDB's clients (/stats, /api/stats), Prometheus (/metrics) and
 * whatever runs the server (/health, /ready).
 */
#include "server/http_request.h"

#include "server/stats.h"
#include "server/stats_text.h"
#include "wire/json_out.h"

#include <stdio.h>
#include <string.h>

struct json_context {
    struct instance *instance;
    struct json_out json;
    int64_t seconds;
};

static void each_json(void *context, const struct stat *stat) {
    struct json_context *c = context;
    struct json_out *json = &c->json;
    char metric[96];
    snprintf(metric, sizeof(metric), "tsd.%s", stat->metric);
    struct buf value = {0};
    stats_text_value(stat->value, &value);
    json_out_object(json);
    json_out_key(json, STR("metric"));
    json_out_string(json, str_of(metric));
    json_out_key(json, STR("timestamp"));
    json_out_int(json, c->seconds);
    json_out_key(json, STR("value"));
    json_out_string(json, buf_view(&value));
    json_out_key(json, STR("tags"));
    json_out_object(json);
    if (stat->tag_key != NULL) {
        json_out_key(json, str_of(stat->tag_key));
        json_out_string(json, str_of(stat->tag_value));
    }
    json_out_key(json, STR("host"));
    json_out_string(json, str_of(c->instance->host));
    json_out_object_end(json);
    json_out_object_end(json);
    buf_fini(&value);
}

static void reply_json(struct http_request *request) {
    struct json_context context = {
        request->instance, {.out = &request->reply.body}, clock_wall_ms(&clock_system) / 1000};
    json_out_array(&context.json);
    stats_each(request->instance, each_json, &context);
    json_out_array_end(&context.json);
    request->reply.status = 200;
}

/* /stats: lines, or with ?json an array of the same lines. */
static void reply_lines(struct http_request *request) {
    struct buf lines = {0};
    stats_text_lines(request->instance, &lines);
    if (!http_request_flag(request, "json")) {
        http_reply_text(request, 200, "text/plain; charset=UTF-8", buf_view(&lines));
        buf_fini(&lines);
        return;
    }
    struct json_out json = {.out = &request->reply.body};
    json_out_array(&json);
    for (str left = buf_view(&lines); left.n > 0;) {
        size_t end = str_find(left, '\n');
        json_out_string(&json, (str){left.p, end});
        left = str_from(left, end < left.n ? end + 1 : end);
    }
    json_out_array_end(&json);
    buf_fini(&lines);
    request->reply.status = 200;
}

void http_stats_handle(struct http_request *request) {
    if (!http_allow(request, 1u << HTTP_GET | 1u << HTTP_POST))
        return;
    if (!request->api)
        reply_lines(request);
    else if (request->rest.n == 0)
        reply_json(request);
    else
        http_reply_error(request, 404, "Endpoint not found", "");
}

struct prometheus {
    struct buf *out;
    char last[128]; /* family */
};

/* "store.head_bytes" -> "barograph_store_head_bytes", with "_total" for counters. */
static void each_prometheus(void *context, const struct stat *stat) {
    struct prometheus *p = context;
    char name[128];
    int n =
        snprintf(name, sizeof(name), "barograph_%s%s", stat->metric, stat->counter ? "_total" : "");
    for (int i = 0; i < n && i < (int)sizeof(name); i++)
        if (name[i] == '.' || name[i] == '-')
            name[i] = '_';
    /* One statistic may be two families: what is open now, and what was counted. */
    if (strcmp(p->last, name) != 0)
        buf_printf(p->out, "# TYPE %s %s\n", name, stat->counter ? "counter" : "gauge");
    memcpy(p->last, name, sizeof(p->last));
    buf_str(p->out, str_of(name));
    if (stat->tag_key != NULL)
        buf_printf(p->out, "{%s=\"%s\"}", stat->tag_key, stat->tag_value);
    buf_printf(p->out, " %.17g\n", stat->value);
}

void http_stats_metrics(struct http_request *request) {
    if (!http_allow(request, 1u << HTTP_GET))
        return;
    struct prometheus p = {.out = &request->reply.body};
    stats_each(request->instance, each_prometheus, &p);
    request->reply.status = 200;
    request->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    request->reply.plain = true;
}

void http_stats_health(struct http_request *request) {
    http_reply_text(request, 200, "text/plain; charset=UTF-8", STR("alive\n"));
    request->reply.plain = true;
}

void http_stats_ready(struct http_request *request) {
    enum instance_state state = atomic_load(&request->instance->state);
    if (state == INSTANCE_READY)
        http_reply_text(request, 200, "text/plain; charset=UTF-8", STR("ready\n"));
    else
        http_reply_text(request, 503, "text/plain; charset=UTF-8",
                        state == INSTANCE_STARTING ? STR("starting\n") : STR("draining\n"));
    request->reply.plain = true;
}
