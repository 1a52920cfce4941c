/*
 * /api/query: parses on the connection's thread, runs on the stream's, so that a long answer is
 * sent while it is made and stops when its reader goes.
 */
#include "server/http_request.h"

#include "os/clock.h"
#include "os/net.h"
#include "query/query.h"
#include "server/http_last.h"
#include "server/query_json.h"
#include "server/report.h"

#include <stdlib.h>
#include <string.h>

/* A client that half-closes its side after a short request still gets its answer: only a query that
   has run this long is given up when the other side is closed. */
#define PATIENCE_NS INT64_C(1000000000)

enum { PENDING_BYTES = 64 << 10, LARGE_BYTES = 8 << 10 };

struct job {
    struct instance *instance;
    struct query_gate *gate;
    struct arena arena; /* the query's own: outlives the request */
    struct query query;
    struct query_json json;
    str jsonp; /* n 0: none */
    int socket;
    int64_t started_ns;
    int64_t deadline_ns;
    bool opened;          /* "[" is written */
    struct buf pending;   /* not handed to the stream yet; charged to `memory` */
    bool inside;          /* the gate */
    struct budget memory; /* this query's share */
    struct http_stream *stream;
};

static void dispose(void *context) {
    struct job *job = context;
    buf_fini(&job->pending);
    arena_fini(&job->arena);
    free(job);
}

/* Runs with the gate's leave, but for the time that it waits for its reader: clients that do not
   read must not keep the queries of others out. */
static enum rc enter(void *context) {
    struct job *job = context;
    job->inside = query_gate_enter(job->gate, job->deadline_ns);
    return job->inside ? RC_OK : RC_TIMEOUT;
}

static void leave(void *context) {
    struct job *job = context;
    if (job->inside)
        query_gate_leave(job->gate);
    job->inside = false;
}

static bool is_cancelled(void *context) {
    struct job *job = context;
    if (http_stream_cancelled(job->stream))
        return true;
    return clock_monotonic_ns() - job->started_ns > PATIENCE_NS && net_hung_up(job->socket);
}

static void format_result(void *context, const struct query *query,
                          const struct query_result *result, struct buf *out) {
    struct job *job = context;
    query_json_format(&job->json, query, result, out);
}

/* Small texts are gathered, so that a hand-over is paid per block and not per result. */
static enum rc hand_over(struct job *job) {
    enum rc rc =
        job->pending.failed ? RC_THROTTLE : http_stream_push(job->stream, buf_view(&job->pending));
    buf_reset(&job->pending);
    return rc;
}

static enum rc say(struct job *job, str text) {
    bool large = text.n > LARGE_BYTES;
    if (large || job->pending.n + text.n > PENDING_BYTES)
        TRY(hand_over(job));
    if (large)
        return http_stream_push(job->stream, text);
    buf_str(&job->pending, text);
    return RC_OK;
}

static enum rc open_answer(struct job *job) {
    job->opened = true;
    if (job->jsonp.n > 0) {
        TRY(say(job, job->jsonp));
        TRY(say(job, STR("(")));
    }
    return say(job, STR("["));
}

static enum rc write_result(void *context, str text, bool first) {
    struct job *job = context;
    if (first)
        TRY(open_answer(job));
    return say(job, text);
}

static enum rc close_answer(struct job *job, const struct query_counters *counters) {
    bool empty = !job->opened;
    if (empty)
        TRY(open_answer(job));
    if (job->query.show_summary) {
        if (!empty)
            TRY(say(job, STR(",")));
        query_json_summary(&job->query, counters, &job->pending);
    }
    TRY(say(job, job->jsonp.n > 0 ? STR("])") : STR("]")));
    return hand_over(job);
}

/* Deletes exactly what the query covers, after it has been read. */
static enum rc delete_range(struct job *job, const struct query_limits *limits, struct err *err) {
    for (uint32_t i = 0; i < job->query.sub_count; i++) {
        struct series_vec series = {0};
        store_readers_enter(job->instance->store);
        enum rc rc = query_select(job->instance->store, &job->query.subs[i], limits, &series, err);
        uint64_t deleted = 0;
        if (rc == RC_OK)
            rc = store_delete(job->instance->store, series.p, (uint32_t)series.n,
                              job->query.start_ms, job->query.end_ms, &deleted, err);
        store_readers_leave(job->instance->store);
        series_vec_fini(&series);
        TRY(rc);
        report(REPORT_INFO, REPORT_QUERY, "deleted %llu points of %.*s",
               (unsigned long long)deleted, STR_ARG(job->query.subs[i].metric));
    }
    return RC_OK;
}

static void count_outcome(struct job *job, enum rc rc, const struct query_counters *counters) {
    struct instance_counters *c = &job->instance->counters;
    if (rc == RC_OK)
        instance_count(&c->query_success, 1);
    else if (rc == RC_INVALID || rc == RC_NOT_FOUND)
        instance_count(&c->query_invalid, 1);
    else
        instance_count(&c->query_exceptions, 1);
    instance_count(&c->query_points, counters->points_scanned);
    instance_count(&c->query_ns, (uint64_t)(clock_monotonic_ns() - job->started_ns));
}

static enum rc run_once(struct job *job, struct query_counters *counters, struct err *err) {
    const struct config *config = job->instance->config;
    uint64_t threads = config->number[CONFIG_QUERY_THREADS];
    struct query_limits limits = {
        .deadline_ns = job->deadline_ns,
        .points_max = config->number[CONFIG_LIMIT_POINTS],
        .bytes_max = config->number[CONFIG_LIMIT_BYTES] << 20,
        .threads = threads == 0 ? job->instance->processors : (uint32_t)threads,
        .budget = &job->memory,
        .skip_unknown_metrics = config_true(config, CONFIG_SKIP_METRICS),
        .skip_unresolved_tagvs = config_true(config, CONFIG_SKIP_TAGVS),
        .expansion_limit = (uint32_t)config->number[CONFIG_EXPANSION],
        .cancelled = is_cancelled,
        .context = job,
    };
    struct query_sink sink = {format_result, write_result, job, .joined = true};
    TRY(query_run(job->instance->store, &job->query, &limits, &sink, counters, err));
    TRY(close_answer(job, counters));
    return job->query.delete ? delete_range(job, &limits, err) : RC_OK;
}

static void relieve(void *context) {
    struct job *job = context;
    store_trim(job->instance->store);
}

/* Caches give way to a query that finds no memory. */
static enum rc run(struct job *job, struct query_counters *counters, struct err *err) {
    enum rc rc = run_once(job, counters, err);
    if (rc != RC_THROTTLE || job->opened)
        return rc;
    relieve(job);
    *counters = (struct query_counters){0};
    *err = (struct err){0};
    return run_once(job, counters, err);
}

static void make_answer(void *context, struct http_stream *stream) {
    struct job *job = context;
    job->stream = stream;
    struct query_counters counters = {0};
    struct err err = {0};
    enum rc rc = enter(job);
    if (rc == RC_OK)
        rc = run(job, &counters, &err);
    else
        err_set(&err, rc, "The query waited for its turn until its deadline passed");
    if (rc < 0 && err.message[0] == '\0')
        err_set(&err, rc, "%s", err_text(rc));
    if (rc < 0 && rc != RC_CANCELLED)
        report(REPORT_INFO, REPORT_QUERY, "query failed: %s", err.message);
    count_outcome(job, rc, &counters);
    http_stream_finish(stream, rc, &err); /* may wait for the reader, too */
    leave(job);
}

static enum rc parse(struct http_request *request, struct job *job, struct err *err) {
    struct query_parse_context context = {
        .now_ms = clock_wall_ms(&clock_system),
        .timezone = config_str(request->instance->config, CONFIG_TIMEZONE),
    };
    bool in_body = request->verb == HTTP_POST;
    if (in_body)
        return query_parse_post(request->body, &context, &job->arena, &job->query, err);
    uint32_t count = request->uri->parameter_count;
    struct query_parameter *parameters =
        ARENA_ARRAY(&job->arena, struct query_parameter, count + 1);
    if (parameters == NULL)
        return err_set(err, RC_THROTTLE, "The server is over its memory budget, retry later");
    for (uint32_t i = 0; i < count; i++) {
        parameters[i].name = request->uri->parameters[i].name;
        parameters[i].value = request->uri->parameters[i].value;
    }
    TRY(query_parse_get(parameters, count, &context, &job->arena, &job->query, err));
    if (request->verb == HTTP_DELETE)
        job->query.delete = true;
    return RC_OK;
}

static struct job *new_job(struct http_request *request) {
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    job->instance = request->instance;
    job->gate = request->query_gate;
    job->socket = request->socket;
    job->started_ns = clock_monotonic_ns();
    uint64_t timeout_ms = request->instance->config->number[CONFIG_QUERY_TIMEOUT];
    if (timeout_ms > 0)
        job->deadline_ns = job->started_ns + (int64_t)timeout_ms * 1000000;
    uint64_t memory = request->instance->config->number[CONFIG_QUERY_MEMORY];
    if (memory == 0)
        memory = (uint64_t)request->instance->budget.limit_bytes / 4;
    budget_init(&job->memory, memory, &request->instance->query_budget);
    arena_init(&job->arena, &job->memory);
    job->pending.budget = &job->memory;
    job->json.index = request->instance->index;
    job->json.arrays = http_request_flag(request, "arrays");
    str jsonp = http_request_parameter(request, "jsonp");
    if (jsonp.n > 0)
        job->jsonp = arena_str(&job->arena, jsonp);
    return job;
}

static void send_answer(struct http_request *request, struct http_stream *stream) {
    struct err err = {0};
    struct http_reply *reply = &request->reply;
    reply->status = 200;
    switch (http_stream_settle(stream, &err)) {
    case HTTP_STREAM_LONG:
        reply->stream = stream;
        return;
    case HTTP_STREAM_COMPLETE:
        http_stream_take(stream, &reply->body);
        reply->plain = true;
        break;
    case HTTP_STREAM_FAILED:
        http_reply_err(request, &err);
        request->reply_encoded = false;
        http_stream_free(stream);
        return;
    }
    request->reply_encoded = request->gzip_reply;
    http_stream_free(stream);
}

static void query(struct http_request *request) {
    if (request->verb == HTTP_POST && !http_need_body(request))
        return;
    struct job *job = new_job(request);
    if (job == NULL) {
        http_reply_error(request, 503, "The server is over its memory budget, retry later", "");
        return;
    }
    struct err err = {0};
    enum rc rc = parse(request, job, &err);
    bool may_delete =
        config_true(request->instance->config, CONFIG_ALLOW_DELETE) && request->instance->writable;
    if (rc == RC_OK && job->query.delete &&!may_delete) {
        rc = err_set(&err, RC_INVALID, "Bad request");
        err_details(&err, "Deleting data is not enabled (tsd.http.query.allow_delete=false)");
    }
    struct http_stream *stream;
    const struct http_stream_maker maker = {
        .make = make_answer,
        .pause = leave,
        .resume = enter,
        .relieve = relieve,
        .dispose = dispose,
        .context = job,
        .deadline_ns = job->deadline_ns,
        .budget = &request->instance->query_budget,
    };
    if (rc == RC_OK)
        rc = http_stream_start(&maker, request->gzip_reply, &stream, &err);
    if (rc < 0) {
        instance_count(&request->instance->counters.query_invalid, 1);
        http_reply_err(request, &err);
        dispose(job);
        return;
    }
    send_answer(request, stream);
}

void http_query_handle(struct http_request *request) {
    if (!http_allow(request, 1u << HTTP_GET | 1u << HTTP_POST | 1u << HTTP_DELETE))
        return;
    if (request->rest.n == 0)
        query(request);
    else if (str_eq(request->rest, STR("last")))
        http_last_handle(request);
    else
        http_reply_error(request, 404, "Endpoint not found", "");
}
