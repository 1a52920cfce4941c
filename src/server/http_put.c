/*
 * /api/put. The whole body is parsed before anything is stored, as OpenTSDB does: a body that is
 * not JSON stores nothing, a point that is rejected does not keep the others from being stored. The
 * reply waits for the commit. Points that the store could not take (memory, disk) are answered with
 * 503: clients drop a batch on 400 and send it again on 503.
 */
#include "server/http_request.h"

#include "server/report.h"
#include "wire/json_out.h"
#include "wire/number.h"
#include "wire/put_json.h"

#include <stdio.h>
#include <string.h>

enum { ERRORS_BYTES_MAX = 16 << 20, LOSS_BYTES = 160, REASON_BYTES = 256 };

struct put {
    struct http_request *request;
    struct put_writer *writer;
    bool summary, details, sync;
    uint32_t sync_timeout_ms;
    bool timeout_given;
    uint64_t failed;           /* rejected by themselves */
    char reason[REASON_BYTES]; /* why the first of them was */
    uint64_t stored;
    uint64_t lost; /* good, but the store could not take them */
    uint64_t timeouts;
    struct err store_err;
    struct buf errors; /* the elements of "errors", as many as memory allows */
    bool errors_full;
    struct json_out json;
};

struct split {
    const struct put_json_point *point;
    struct arena *arena;
};

static enum rc split_point(void *context, struct series_key *key, struct err *err) {
    struct split *split = context;
    return put_json_key(split->point, split->arena, key, err);
}

static void put_error(struct put *put, const struct put_json_point *point, const char *text) {
    struct json_out *json = &put->json;
    json_out_object(json);
    json_out_key(json, STR("datapoint"));
    if (str_eq(str_trim(point->raw), STR("null"))) {
        json_out_null(json);
    } else {
        json_out_object(json);
        if (point->metric.p != NULL) {
            json_out_key(json, STR("metric"));
            json_out_string(json, point->metric);
        }
        json_out_key(json, STR("timestamp"));
        json_out_int(json, point->timestamp);
        if (point->value_text.p != NULL) {
            json_out_key(json, STR("value"));
            json_out_string(json, point->value_text);
        }
        if (point->tags_raw.n > 0) {
            json_out_key(json, STR("tags"));
            json_out_raw(json, point->tags_raw);
        }
        json_out_object_end(json);
    }
    json_out_key(json, STR("error"));
    json_out_string(json, str_of(text));
    json_out_object_end(json);
}

/* The counts are always right; the list ends where memory does. Without a point: for all that the
   store did not take, which are no longer at hand. */
static void add_error(struct put *put, const struct put_json_point *point, const char *text) {
    static const struct put_json_point none = {.raw = {"null", 4}};
    if (put->reason[0] == '\0')
        snprintf(put->reason, sizeof(put->reason), "%s", text);
    if (!put->details || put->errors_full)
        return;
    size_t before = put->errors.n;
    put_error(put, point == NULL ? &none : point, text);
    put->errors_full = put->errors.failed || put->errors.n > ERRORS_BYTES_MAX;
    if (put->errors.failed)
        put->errors.n = before;
}

static void count_rejection(struct put *put, enum rc rc) {
    struct instance_counters *counters = &put->request->instance->counters;
    put->failed++;
    if (rc == RC_NOT_FOUND)
        instance_count(&counters->errors_unknown_metrics, 1);
    else if (rc == RC_THROTTLE)
        instance_count(&counters->errors_storage, 1);
    else
        instance_count(&counters->errors_illegal_arguments, 1);
}

static void take_point(struct put *put, const struct put_json_point *point) {
    if (point->error != NULL) {
        put->failed++;
        instance_count(&put->request->instance->counters.errors_invalid_values, 1);
        add_error(put, point, point->error);
        return;
    }
    struct split split = {point, put->request->arena};
    struct err err = {0};
    enum rc rc = put_writer_add(put->writer, point->metric_raw, point->tags_raw, split_point,
                                &split, point->time_ms, point->value, &err);
    if (LIKELY(rc == RC_OK))
        return;
    if (rc == RC_THROTTLE && put_writer_is_full(put->writer)) {
        put->lost++;
        put->store_err = err;
        return;
    }
    count_rejection(put, rc);
    add_error(put, point, rc == RC_NOT_FOUND ? "Unknown metric" : err.message);
}

/* The next request may have the writer before this one's commit is done. */
static void give_writer_back(struct put *put) {
    put_pool_give(put->request->put_pool, put->writer);
    put->writer = NULL;
}

static void report_loss(const struct put *put) {
    report(REPORT_WARN, REPORT_CLIENT, "%s /api/put: %llu points not stored: %s",
           put->request->peer, (unsigned long long)put->lost, put->store_err.message);
}

/* Waits for the commit of what was stored, together with other puts if it may take its time. */
static void wait_for_commit(struct put *put, uint64_t commit) {
    if (put->stored == 0)
        return;
    struct err err = {0};
    enum rc rc =
        put->sync && put->timeout_given
            ? store_commit_wait(put->request->instance->store, commit, put->sync_timeout_ms, &err)
            : put_commit_wait(put->request->put_commit, commit, &err);
    if (rc == RC_OK)
        return;
    if (rc == RC_TIMEOUT) {
        put->timeouts = put->stored;
    } else {
        put->lost += put->stored;
        put->store_err = err;
        report_loss(put);
    }
    put->stored = 0;
}

static int status_of(const struct put *put) {
    if (put->lost > 0)
        return 503;
    return put->failed > 0 || put->timeouts > 0 ? 400 : put->summary || put->details ? 200 : 204;
}

/* Clients that do not read answers are sent to the log by the answer itself. */
static void report_rejections(const struct put *put) {
    if (put->failed > 0)
        report(REPORT_INFO, REPORT_CLIENT, "%s /api/put: %llu points rejected, the first: %s",
               put->request->peer, (unsigned long long)put->failed, put->reason);
}

static void describe_loss(const struct put *put, char *text, size_t size) {
    snprintf(text, size, "%s: %llu data points were not stored",
             put->store_err.rc == RC_THROTTLE ? "Please throttle" : "Storage exception",
             (unsigned long long)put->lost);
}

/* Why points were lost, as any other answer with a status like that has it. */
static void write_loss(const struct put *put, struct json_out *json) {
    char message[LOSS_BYTES];
    describe_loss(put, message, sizeof(message));
    json_out_key(json, STR("error"));
    json_out_object(json);
    json_out_key(json, STR("code"));
    json_out_int(json, 503);
    json_out_key(json, STR("message"));
    json_out_string(json, str_of(message));
    json_out_key(json, STR("details"));
    json_out_string(json, str_of(put->store_err.message));
    json_out_object_end(json);
}

static void reply_counts(struct put *put, int status) {
    struct http_reply *reply = &put->request->reply;
    struct json_out json = {.out = &reply->body};
    reply->status = status;
    if (put->lost > 0) {
        char message[LOSS_BYTES + sizeof(put->store_err.message)];
        describe_loss(put, message, LOSS_BYTES);
        size_t n = strlen(message);
        snprintf(message + n, sizeof(message) - n, ": %s", put->store_err.message);
        add_error(put, NULL, message);
    }
    json_out_object(&json);
    json_out_key(&json, STR("success"));
    json_out_int(&json, (int64_t)put->stored);
    json_out_key(&json, STR("failed"));
    json_out_int(&json, (int64_t)(put->failed + put->lost));
    if (put->timeout_given) {
        json_out_key(&json, STR("timeouts"));
        json_out_int(&json, (int64_t)put->timeouts);
    }
    if (put->details) {
        json_out_key(&json, STR("errors"));
        json_out_array(&json);
        if (put->errors.n > 0)
            json_out_raw(&json, buf_view(&put->errors));
        json_out_array_end(&json);
    }
    if (put->lost > 0)
        write_loss(put, &json);
    json_out_object_end(&json);
}

static void reply(struct put *put) {
    int status = status_of(put);
    if (status == 204) {
        http_reply_empty(put->request, 204);
    } else if (put->summary || put->details) {
        reply_counts(put, status);
    } else if (put->lost > 0) {
        char message[LOSS_BYTES];
        describe_loss(put, message, sizeof(message));
        http_reply_error(put->request, 503, message, put->store_err.message);
    } else if (put->timeouts > 0) {
        char message[160];
        snprintf(message, sizeof(message),
                 "The put call has timedout with %llu successful writes, %llu failed writes "
                 "and %llu timed out writes.",
                 (unsigned long long)put->stored, (unsigned long long)put->failed,
                 (unsigned long long)put->timeouts);
        http_reply_error(put->request, 400, message, "");
    } else {
        http_reply_error(put->request, 400, "One or more data points had errors",
                         "Please see the TSD logs or append \"details\" to the put request");
    }
}

/* Takes the points whose series come in the same order as the last time, as they do mostly. */
static void take_expected_points(struct put_writer *writer, struct put_json *parser) {
    str metric, tags;
    int64_t time_ms;
    struct value value;
    while (put_writer_expected(writer, &metric, &tags) &&
           put_json_expected(parser, metric, tags, &time_ms, &value))
        put_writer_add_expected(writer, time_ms, value);
}

/* Parses the body into the writer; false with the reply in place if it is not a put. */
static bool parse_body(struct put *put) {
    struct put_json parser;
    put_json_init(&parser, put->request->body, put_writer_shape(put->writer), put->request->arena);
    struct put_json_point point;
    struct err err = {0};
    int more;
    while ((more = put_json_next(&parser, &point, &err)) == 1) {
        take_point(put, &point);
        take_expected_points(put->writer, &parser);
    }
    if (more == 0)
        return true;
    http_reply_err(put->request, &err);
    return false;
}

static void store(struct put *put) {
    uint64_t pending = put_writer_pending(put->writer);
    uint64_t commit;
    if (put_writer_flush(put->writer, &put->stored, &commit, &put->store_err) < 0)
        put->lost += pending - put->stored;
    if (put->lost > 0)
        report_loss(put);
    give_writer_back(put);
    wait_for_commit(put, commit);
    struct instance_counters *counters = &put->request->instance->counters;
    instance_count(&counters->points_http, put->stored);
    instance_count(&counters->rpc_put, pending + put->failed);
    if (put->lost > 0)
        instance_count(&counters->errors_storage, put->lost);
}

static bool read_flags(struct put *put) {
    struct http_request *request = put->request;
    put->summary = http_request_flag(request, "summary");
    put->details = http_request_flag(request, "details");
    put->sync = http_request_flag(request, "sync");
    str timeout = http_request_parameter(request, "sync_timeout");
    if (timeout.p == NULL)
        return true;
    int64_t ms;
    char bad;
    if (number_parse_int(timeout, &ms, &bad) != NUMBER_OK || ms < 0 || ms > UINT32_MAX) {
        http_reply_error(request, 400, "Unable to parse 'sync_timeout' as milliseconds", "");
        return false;
    }
    put->timeout_given = ms > 0 && put->sync;
    put->sync_timeout_ms = (uint32_t)ms;
    return true;
}

void http_put_handle(struct http_request *request) {
    struct put put = {.request = request};
    if (!http_allow(request, 1u << HTTP_POST) || !read_flags(&put))
        return;
    put.writer = put_pool_take(request->put_pool);
    if (put.writer == NULL) {
        http_reply_error(request, 503, "The server is over its memory budget, retry later", "");
        return;
    }
    put.errors.budget = &request->instance->query_budget;
    put.json.out = &put.errors;
    put_writer_begin(put.writer);
    if (parse_body(&put)) {
        report_rejections(&put);
        store(&put);
        reply(&put);
    } else {
        put_writer_abandon(put.writer);
        give_writer_back(&put);
    }
    buf_fini(&put.errors);
}
