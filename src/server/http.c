#include "server/http.h"

#include "os/clock.h"
#include "os/net.h"
#include "server/http_body.h"
#include "server/http_request.h"
#include "server/report.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    CONNECTION_MEMORY_BYTES = 96 << 10, /* half of it is what one read can take */
    CONNECTION_THREAD_BYTES = 32 << 10, /* what its thread touches of its stack, and the like */
    IDLE_TIMEOUT_S = 300,               /* when tsd.core.socket.timeout is not set */
    STREAM_BLOCK_BYTES = 64 << 10,
    GZIP_FROM_BYTES = 1400, /* a reply that fits one packet is not worth compressing */
    DRAIN_STEP_MS = 10,
    REQUEST_BYTES = 1 << 20,     /* what an ordinary request may take while it is answered */
    DISCARD_BYTES_MAX = 1 << 30, /* a refused body longer than this is not even read */
};

struct http {
    struct instance *instance;
    struct MHD_Daemon *daemon;
    struct http_bodies *bodies;
    struct put_pool *put_pool;
    struct put_commit *put_commit;
    struct query_gate *query_gate;
    _Atomic bool stopping;
    _Atomic uint32_t active; /* requests between their first line and the end of their reply */
};

/* A connection: libmicrohttpd's socket_context. */
struct client {
    struct exchange *exchange; /* under way, or NULL */
};

/* One exchange, from the request line to the end of the reply: libmicrohttpd's con_cls. */
struct exchange {
    struct http *http;
    char *target; /* request target as sent */
    struct http_body body;
    bool started;
    struct http_stream *stream;
};

/* ---- replies ---- */

static const char *guess_type(const struct http_request *request) {
    const struct http_reply *reply = &request->reply;
    if (reply->content_type != NULL)
        return reply->content_type;
    char first = reply->body.n > 0 ? reply->body.p[0] : '\0';
    if (request->api || first == '{' || first == '[')
        return "application/json; charset=UTF-8";
    return first == '<' ? "text/html; charset=UTF-8" : "text/plain; charset=UTF-8";
}

static void wrap_jsonp(struct http_request *request) {
    str callback = http_request_parameter(request, "jsonp");
    struct buf *body = &request->reply.body;
    if (callback.n == 0 || request->reply.plain || body->n == 0 || request->reply.stream != NULL)
        return;
    struct buf wrapped = {.budget = body->budget};
    buf_str(&wrapped, callback);
    buf_char(&wrapped, '(');
    buf_str(&wrapped, buf_view(body));
    buf_char(&wrapped, ')');
    if (body->failed)
        wrapped.failed = true;
    buf_fini(body);
    *body = wrapped;
}

/* Compresses a whole reply; true if the body is gzip now. */
static bool gzip_body(struct buf *body) {
    z_stream z = {0};
    if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    struct buf out = {.budget = body->budget};
    size_t bound = deflateBound(&z, body->n);
    char *to = buf_reserve(&out, bound);
    bool done = false;
    if (to != NULL && body->n <= UINT32_MAX && bound <= UINT32_MAX) {
        z.next_in = (unsigned char *)body->p;
        z.avail_in = (uInt)body->n;
        z.next_out = (unsigned char *)to;
        z.avail_out = (uInt)bound;
        done = deflate(&z, Z_FINISH) == Z_STREAM_END;
        out.n = bound - z.avail_out;
    }
    deflateEnd(&z);
    if (!done) {
        buf_fini(&out);
        return false;
    }
    buf_fini(body);
    *body = out;
    return true;
}

static ssize_t read_stream(void *context, uint64_t position, char *bytes, size_t room) {
    ptrdiff_t n = http_stream_read(context, bytes, room);
    if (n > 0)
        return n;
    return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_stream(void *context) {
    http_stream_free(context);
}

static void free_body(void *context) {
    struct buf *body = context;
    buf_fini(body);
    free(body);
}

/* Takes the buffer; it stays charged until the last byte is sent, however long the client takes. */
static struct MHD_Response *respond_with(struct buf *body) {
    struct buf *kept = malloc(sizeof(*kept));
    if (kept == NULL)
        return NULL;
    *kept = *body;
    *body = (struct buf){0};
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(kept->n, kept->p, free_body, kept);
    if (response == NULL)
        free_body(kept);
    return response;
}

static struct MHD_Response *make_response(struct http_request *request, bool *gzipped) {
    struct http_reply *reply = &request->reply;
    if (reply->stream != NULL) {
        struct MHD_Response *response = MHD_create_response_from_callback(
            MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, read_stream, reply->stream, free_stream);
        if (response == NULL)
            http_stream_free(reply->stream);
        reply->stream = NULL;
        *gzipped = request->gzip_reply;
        return response;
    }
    if (!*gzipped && request->gzip_reply && reply->body.n >= GZIP_FROM_BYTES)
        *gzipped = gzip_body(&reply->body);
    return respond_with(&reply->body);
}

static bool origin_allowed(const struct config *config, str origin) {
    str list = config_str(config, CONFIG_CORS_DOMAINS);
    while (list.n > 0) {
        size_t end = str_find(list, ',');
        str one = str_trim((str){list.p, end});
        if (str_eq(one, STR("*")) || str_eq_nocase(one, origin))
            return true;
        list = str_from(list, end < list.n ? end + 1 : end);
    }
    return false;
}

/* Answers what cross-origin rules answer; true if the request ends here. */
static bool check_origin(struct http_request *request, const char **allowed) {
    const struct config *config = request->instance->config;
    const char *origin = request->header(request, "Origin");
    bool configured = config->text[CONFIG_CORS_DOMAINS][0] != '\0';
    *allowed = NULL;
    if (configured && origin != NULL && origin[0] != '\0') {
        if (!origin_allowed(config, str_of(origin))) {
            char details[300];
            snprintf(details, sizeof(details), "The domain [%.200s] is not permitted access",
                     origin);
            http_reply_error(request, 200, "CORS domain not allowed", details);
            return true;
        }
        *allowed = origin;
    }
    if (request->verb != HTTP_OPTIONS)
        return false;
    if (*allowed != NULL)
        http_reply_empty(request, 200);
    else
        http_reply_error(request, 405, "Method not allowed",
                         "The HTTP method [OPTIONS] is not permitted");
    return true;
}

static enum MHD_Result send_reply(struct http_request *request, const char *allowed_origin) {
    const char *type = guess_type(request);
    bool gzipped = request->reply_encoded;
    int status = request->reply.status;
    struct MHD_Response *response = make_response(request, &gzipped);
    buf_fini(&request->reply.body);
    if (response == NULL)
        return MHD_NO;
    if (status != 204)
        MHD_add_response_header(response, "Content-Type", type);
    if (gzipped)
        MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (allowed_origin != NULL) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", allowed_origin);
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                request->instance->config->text[CONFIG_CORS_HEADERS]);
    }
    if (status == 503)
        MHD_add_response_header(response, "Retry-After", "5");
    /* Clients that keep their connection must find another server before this one is gone. */
    if (atomic_load(&request->instance->state) == INSTANCE_DRAINING)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(request->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- requests ---- */

static const char *request_header(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static const char *header_of(const struct http_request *request, const char *name) {
    return request_header(request->connection, name);
}

static int socket_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return fd == NULL ? -1 : fd->connect_fd;
}

static enum http_verb verb_of(const char *method) {
    static const struct {
        const char *name;
        enum http_verb verb;
    } verbs[] = {
        {"GET", HTTP_GET}, {"HEAD", HTTP_GET},      {"POST", HTTP_POST},
        {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
    };
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (strcmp(method, verbs[i].name) == 0)
            return verbs[i].verb;
    return HTTP_OTHER;
}

/* "q=0" and the like, among the parameters of a coding. */
static bool is_refused(str parameters) {
    while (parameters.n > 0) {
        size_t end = str_find(parameters, ';');
        str one = str_trim((str){parameters.p, end});
        parameters = str_from(parameters, end < parameters.n ? end + 1 : end);
        if (one.n < 3 || (one.p[0] | 0x20) != 'q' || one.p[1] != '=')
            continue;
        for (size_t i = 2; i < one.n; i++)
            if (one.p[i] != '0' && one.p[i] != '.')
                return false;
        return true;
    }
    return false;
}

/* Whether Accept-Encoding asks for gzip: "deflate, gzip;q=0.5" does, "gzip; q=0" does not. */
static bool takes_gzip(const char *accept) {
    str left = str_of(accept == NULL ? "" : accept);
    while (left.n > 0) {
        size_t end = str_find(left, ',');
        str one = {left.p, end};
        left = str_from(left, end < left.n ? end + 1 : end);
        size_t name = str_find(one, ';');
        str coding = str_trim((str){one.p, name});
        if (str_eq_nocase(coding, STR("gzip")) || str_eq_nocase(coding, STR("x-gzip")))
            return !is_refused(str_from(one, name < one.n ? name + 1 : name));
    }
    return false;
}

static void refused(struct http_request *request, int status) {
    if (status == 413)
        http_reply_error(request, 413, "Request body is too large",
                         "The limit is http.body_bytes_max");
    else
        http_reply_error(request, 503, "The server is over its memory budget, retry later", NULL);
}

/* In place of a reply that there is no memory for. */
static void reply_no_memory(struct http_request *request) {
    http_reply_error(request, 503, "The server is over its memory budget, retry later", NULL);
}

/* Errors below /api are JSON even if the request is never routed. */
static bool is_below_api(str path) {
    while (path.n > 0 && path.p[0] == '/')
        path = str_from(path, 1);
    return str_eq_nocase((str){path.p, str_find(path, '/')}, STR("api"));
}

static void prepare_and_route(struct exchange *exchange, struct http_request *request,
                              const char **allowed_origin) {
    struct err err = {0};
    struct http_uri uri;
    enum rc rc = http_uri_parse(str_of(exchange->target), request->arena, &uri, &err);
    request->api = is_below_api(uri.path);
    if (rc < 0) {
        http_reply_err(request, &err);
        return;
    }
    request->uri = &uri;
    if (exchange->body.refuse_status != 0) {
        refused(request, exchange->body.refuse_status);
    } else if (!check_origin(request, allowed_origin)) {
        if (http_body_decode(&exchange->body, request->header(request, "Content-Encoding"), &err) <
            0) {
            http_reply_err(request, &err);
        } else {
            request->body = buf_view(&exchange->body.bytes);
            http_route(request);
        }
    }
    if (request->reply.body.failed)
        reply_no_memory(request);
    wrap_jsonp(request);
    if (request->reply.body.failed)
        reply_no_memory(request);
    request->uri = NULL;
}

static enum MHD_Result handle(struct exchange *exchange, struct MHD_Connection *connection,
                              const char *method) {
    struct http *http = exchange->http;
    struct arena arena;
    if (budget_left(&http->instance->budget) < REQUEST_BYTES)
        http_bodies_make_way(http->bodies);
    arena_init(&arena, &http->instance->budget);
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char peer[64] = "?";
    if (address != NULL && address->client_addr != NULL) {
        struct sockaddr_storage storage = {0};
        size_t size = address->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                  : sizeof(struct sockaddr_in);
        memcpy(&storage, address->client_addr, size);
        net_peer_name(&storage, peer, sizeof(peer));
    }
    struct http_request request = {
        .instance = http->instance,
        .put_pool = http->put_pool,
        .put_commit = http->put_commit,
        .query_gate = http->query_gate,
        .arena = &arena,
        .socket = socket_of(connection),
        .peer = peer,
        .method = method,
        .verb = verb_of(method),
        .header = header_of,
        .connection = connection,
        .reply.body.budget = &http->instance->budget,
    };
    request.gzip_reply = takes_gzip(header_of(&request, "Accept-Encoding"));
    instance_count(&http->instance->counters.rpc_http, 1);
    const char *allowed_origin = NULL;
    prepare_and_route(exchange, &request, &allowed_origin);
    enum MHD_Result result = send_reply(&request, allowed_origin);
    arena_fini(&arena);
    http_body_fini(&exchange->body);
    return result;
}

/* Decides before the body arrives, from its declared length. True if the answer cannot wait for the
   body. */
static bool admit_body(struct exchange *exchange, struct MHD_Connection *connection) {
    const char *length = request_header(connection, "Content-Length");
    /* In chunks it ends where they end. */
    if (length == NULL || request_header(connection, "Transfer-Encoding") != NULL)
        length = "0";
    unsigned long long n = strtoull(length, NULL, 10);
    http_body_expect(&exchange->body, socket_of(connection), n);
    return exchange->body.refuse_status == 413 &&
           (n > DISCARD_BYTES_MAX || request_header(connection, "Expect") != NULL);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state) {
    struct exchange *exchange = *state;
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->started) {
        exchange->started = true;
        /* A body that is refused is read and thrown away: a client that is still sending would not
           see the answer. */
        return admit_body(exchange, connection) ? handle(exchange, connection, method) : MHD_YES;
    }
    if (*upload_size > 0) {
        http_body_take(&exchange->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    return handle(exchange, connection, method);
}

static struct client *client_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static void finish(struct client *client) {
    struct exchange *exchange = client->exchange;
    client->exchange = NULL;
    atomic_fetch_sub(&exchange->http->active, 1);
    http_body_fini(&exchange->body);
    free(exchange->target);
    free(exchange);
}

static void *on_uri(void *context, const char *target, struct MHD_Connection *connection) {
    struct http *http = context;
    struct client *client = client_of(connection);
    if (client == NULL)
        return NULL;
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL || (exchange->target = strdup(target)) == NULL) {
        free(exchange);
        return NULL;
    }
    exchange->http = http;
    http_body_init(&exchange->body, http->bodies);
    atomic_fetch_add(&http->active, 1);
    client->exchange = exchange;
    return exchange;
}

/* libmicrohttpd does not call this for every request: what it refuses itself, after the request
   line, ends without. Then the end of the connection is the end of the exchange. */
static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    if (*state != NULL)
        finish(client_of(connection));
    *state = NULL;
}

enum { CONNECTION_CHARGE_BYTES = CONNECTION_MEMORY_BYTES + CONNECTION_THREAD_BYTES };

static void forget_connection(struct instance *instance) {
    budget_release(&instance->connection_budget, CONNECTION_CHARGE_BYTES);
    instance_count(&instance->counters.connections_closed, 1);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code) {
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *state = calloc(1, sizeof(struct client));
        return;
    }
    struct client *client = *state;
    if (client != NULL && client->exchange != NULL)
        finish(client);
    free(client);
    forget_connection(http->instance);
}

static void on_log(void *context, const char *format, va_list args) {
    char line[512];
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    report(REPORT_DEBUG, REPORT_CLIENT, "http: %s", line);
}

static enum rc sync_store(void *context, uint64_t commit, struct err *err) {
    const struct instance *instance = context;
    return store_commit_wait(instance->store, commit, 0, err);
}

enum rc http_start(struct instance *instance, struct http **out, struct err *err) {
    const struct config *config = instance->config;
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    http->instance = instance;
    uint64_t queries = config->number[CONFIG_QUERIES];
    http->bodies = http_bodies_new(instance);
    http->put_pool = put_pool_new(instance);
    http->put_commit = put_commit_new(sync_store, instance);
    http->query_gate = query_gate_new(queries == 0 ? 2 * instance->processors : (uint32_t)queries);
    uint64_t timeout_s = config->number[CONFIG_SOCKET_TIMEOUT];
    if (http->bodies != NULL && http->put_pool != NULL && http->put_commit != NULL &&
        http->query_gate != NULL)
        http->daemon = MHD_start_daemon(
            MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC | MHD_USE_ERROR_LOG,
            0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, on_log, http,
            MHD_OPTION_URI_LOG_CALLBACK, on_uri, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
            http, MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)(timeout_s == 0 ? IDLE_TIMEOUT_S : timeout_s),
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
            MHD_OPTION_CONNECTION_LIMIT, 65536u, MHD_OPTION_THREAD_STACK_SIZE,
            (size_t)THREAD_STACK_BYTES, MHD_OPTION_END);
    if (http->daemon == NULL) {
        http_stop(http, 0);
        return err_set(err, RC_NOMEM, "cannot start the HTTP server");
    }
    *out = http;
    return RC_OK;
}

/* Answers without a thread or memory of its own: why there is no room for the connection, or, to a
   probe, what it asks: a server with many clients is neither dead nor unready. What was sent
   already is read, or closing would cut the answer off. */
static void turn_away(struct http *http, int connection) {
    char sent[16 << 10];
    size_t n = 0;
    (void)net_read(connection, sent, sizeof(sent), &n);
    str request = {sent, n};
    bool ready = atomic_load(&http->instance->state) == INSTANCE_READY;
    const char *status = "503 Service Unavailable";
    const char *type = "text/plain; charset=UTF-8";
    const char *body = ready ? "ready\n" : "not ready\n";
    if (str_starts(request, STR("GET /health "))) {
        status = "200 OK";
        body = "alive\n";
    } else if (str_starts(request, STR("GET /ready "))) {
        status = ready ? "200 OK" : status;
    } else {
        type = "application/json; charset=UTF-8";
        body = "{\"error\":{\"code\":503,\"message\":\"Too many connections for the memory, retry "
               "later\"}}";
    }
    char answer[512];
    int length = snprintf(answer, sizeof(answer),
                          "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                          "Retry-After: 5\r\nConnection: close\r\n\r\n%s",
                          status, type, strlen(body), body);
    (void)net_write(connection, answer, (size_t)length, &n);
}

void http_adopt(struct http *http, int connection, const struct sockaddr_storage *peer,
                socklen_t peer_size) {
    struct instance *instance = http->instance;
    if (atomic_load(&http->stopping)) {
        net_close(connection);
        instance_count(&instance->counters.connections_closed, 1);
        return;
    }
    if (!budget_charge(&instance->connection_budget, CONNECTION_CHARGE_BYTES)) {
        instance_count(&instance->counters.connections_rejected, 1);
        report(REPORT_WARN, REPORT_CLIENT, "HTTP connection refused: no memory for more than %zu",
               budget_used(&instance->connection_budget) / CONNECTION_CHARGE_BYTES);
        turn_away(http, connection);
        net_close(connection);
        instance_count(&instance->counters.connections_closed, 1);
        return;
    }
    if (MHD_add_connection(http->daemon, connection, (const struct sockaddr *)peer, peer_size) !=
        MHD_YES) {
        report(REPORT_WARN, REPORT_CLIENT, "an HTTP connection could not be served");
        forget_connection(instance);
    }
}

void http_stop(struct http *http, uint32_t drain_ms) {
    if (http == NULL)
        return;
    atomic_store(&http->stopping, true);
    for (uint32_t waited = 0; waited < drain_ms && atomic_load(&http->active) > 0;
         waited += DRAIN_STEP_MS)
        clock_sleep_ns(DRAIN_STEP_MS * INT64_C(1000000));
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    http_bodies_free(http->bodies);
    put_pool_free(http->put_pool);
    put_commit_free(http->put_commit);
    query_gate_free(http->query_gate);
    free(http);
}
