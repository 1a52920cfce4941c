#include "server/front.h"

#include "base/check.h"
#include "os/clock.h"
#include "os/net.h"
#include "server/report.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

enum {
    ACCEPTS_A_TURN = 64,
    SILENCE_LOOK_MS = 1000,   /* how often it is looked for callers that stay silent */
    EXHAUSTED_PAUSE_MS = 200, /* out of descriptors: try again after this */
    LIMIT_WHEN_UNLIMITED = 65536,
};

/* A connection that has not said its first byte. */
struct caller {
    struct front *front;
    struct caller *next, *previous;
    uv_poll_t poll;
    int fd;
    bool held; /* speaks telnet and waits for front_open */
    int64_t since_ns;
    struct sockaddr_storage peer;
    socklen_t peer_size;
};

struct front {
    struct instance *instance;
    struct front_handlers handlers;
    struct thread thread;
    uv_loop_t uv;
    uv_async_t stop;
    uv_async_t open;
    _Atomic bool is_open;
    uv_poll_t accept_poll;
    uv_timer_t pause;
    uv_timer_t silence;
    int listener;
    struct caller *callers;
};

static void on_listener(uv_poll_t *poll, int status, int events);

static bool is_http(unsigned char first) {
    return first >= 'A' && first <= 'Z';
}

/* The descriptor is handed on only now that libuv has let go of it. */
static void on_caller_closed(uv_handle_t *handle) {
    struct caller *caller = handle->data;
    struct front *front = caller->front;
    unsigned char first;
    if (caller->fd >= 0 && net_peek(caller->fd, &first) == NET_OK) {
        if (is_http(first))
            front->handlers.http(front->handlers.context, caller->fd, &caller->peer,
                                 caller->peer_size);
        else
            front->handlers.telnet(front->handlers.context, caller->fd, &caller->peer);
    } else {
        net_close(caller->fd);
        instance_count(&front->instance->counters.connections_closed, 1);
    }
    free(caller);
}

static void close_caller(struct caller *caller) {
    if (caller->previous != NULL)
        caller->previous->next = caller->next;
    else
        caller->front->callers = caller->next;
    if (caller->next != NULL)
        caller->next->previous = caller->previous;
    uv_poll_stop(&caller->poll);
    uv_close((uv_handle_t *)&caller->poll, on_caller_closed);
}

/* HTTP has a status for "not yet"; telnet has none, so its bytes wait in the socket. */
static void on_first_byte(uv_poll_t *poll, int status, int events) {
    struct caller *caller = poll->data;
    unsigned char first = 0;
    enum net_outcome outcome = status == 0 ? net_peek(caller->fd, &first) : NET_CLOSED;
    if (outcome == NET_AGAIN)
        return;
    if (outcome == NET_OK && !is_http(first) && !atomic_load(&caller->front->is_open)) {
        caller->held = true;
        uv_poll_stop(&caller->poll);
        return;
    }
    close_caller(caller);
}

static void on_open(uv_async_t *open) {
    struct front *front = open->data;
    for (struct caller *at = front->callers, *next; at != NULL; at = next) {
        next = at->next;
        if (at->held)
            close_caller(at);
    }
}

/* tsd.core.socket.timeout is also for those who never say a word. */
static void on_silence_look(uv_timer_t *timer) {
    struct front *front = timer->data;
    int64_t limit_ns = (int64_t)front->instance->config->number[CONFIG_SOCKET_TIMEOUT] * 1000000000;
    int64_t now = clock_monotonic_ns();
    for (struct caller *at = front->callers, *next; at != NULL; at = next) {
        next = at->next;
        if (!at->held && now - at->since_ns > limit_ns)
            close_caller(at);
    }
}

static void admit(struct front *front, int fd, const struct sockaddr_storage *peer,
                  socklen_t peer_size) {
    struct instance *instance = front->instance;
    const struct config *config = instance->config;
    uint64_t limit = config->number[CONFIG_CONNECTIONS];
    if (limit == 0)
        limit = LIMIT_WHEN_UNLIMITED;
    struct caller *caller = NULL;
    if (instance_connections_open(instance) < limit)
        caller = calloc(1, sizeof(*caller));
    if (caller == NULL || uv_poll_init(&front->uv, &caller->poll, fd) != 0) {
        instance_count(&instance->counters.connections_rejected, 1);
        report(REPORT_WARN, REPORT_CLIENT, "connection refused: %llu are open",
               (unsigned long long)instance_connections_open(instance));
        net_close(fd);
        free(caller);
        return;
    }
    instance_count(&instance->counters.connections_total, 1);
    net_tune(fd, config_true(config, CONFIG_NO_DELAY), config_true(config, CONFIG_KEEP_ALIVE));
    caller->front = front;
    caller->fd = fd;
    caller->since_ns = clock_monotonic_ns();
    caller->peer = *peer;
    caller->peer_size = peer_size;
    caller->poll.data = caller;
    caller->next = front->callers;
    if (front->callers != NULL)
        front->callers->previous = caller;
    front->callers = caller;
    uv_poll_start(&caller->poll, UV_READABLE | UV_DISCONNECT, on_first_byte);
}

static void on_pause_over(uv_timer_t *timer) {
    struct front *front = timer->data;
    uv_poll_start(&front->accept_poll, UV_READABLE, on_listener);
}

static void on_listener(uv_poll_t *poll, int status, int events) {
    struct front *front = poll->data;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd;
        struct sockaddr_storage peer;
        socklen_t peer_size;
        bool exhausted;
        if (net_accept(front->listener, &fd, &peer, &peer_size, &exhausted) != NET_OK) {
            if (exhausted) {
                report(REPORT_ERROR, REPORT_CLIENT,
                       "cannot accept connections: out of file descriptors (raise the limit, "
                       "`ulimit -n`)");
                uv_poll_stop(&front->accept_poll);
                uv_timer_start(&front->pause, on_pause_over, EXHAUSTED_PAUSE_MS, 0);
            }
            return;
        }
        admit(front, fd, &peer, peer_size);
    }
}

static void on_stop(uv_async_t *stop) {
    struct front *front = stop->data;
    uv_poll_stop(&front->accept_poll);
    uv_close((uv_handle_t *)&front->accept_poll, NULL);
    uv_close((uv_handle_t *)&front->pause, NULL);
    uv_close((uv_handle_t *)&front->silence, NULL);
    uv_close((uv_handle_t *)&front->stop, NULL);
    uv_close((uv_handle_t *)&front->open, NULL);
    for (struct caller *at = front->callers, *next; at != NULL; at = next) {
        next = at->next;
        close_caller(at);
    }
}

static void *run(void *context) {
    struct front *front = context;
    uv_run(&front->uv, UV_RUN_DEFAULT);
    return NULL;
}

enum rc front_start(struct instance *instance, const struct front_handlers *handlers,
                    struct front **out, struct err *err) {
    const struct config *config = instance->config;
    struct front *front = calloc(1, sizeof(*front));
    if (front == NULL || uv_loop_init(&front->uv) != 0) {
        free(front);
        return err_set(err, RC_NOMEM, "out of memory");
    }
    front->instance = instance;
    front->handlers = *handlers;
    enum rc rc = net_listen(config->text[CONFIG_BIND], (uint16_t)config->number[CONFIG_PORT],
                            (int)config->number[CONFIG_BACKLOG], &front->listener, err);
    if (rc < 0)
        goto close_loop;
    instance->port = net_port(front->listener);
    CHECK(uv_async_init(&front->uv, &front->stop, on_stop) == 0);
    CHECK(uv_async_init(&front->uv, &front->open, on_open) == 0);
    CHECK(uv_timer_init(&front->uv, &front->pause) == 0);
    CHECK(uv_timer_init(&front->uv, &front->silence) == 0);
    CHECK(uv_poll_init(&front->uv, &front->accept_poll, front->listener) == 0);
    front->stop.data = front;
    front->open.data = front;
    front->pause.data = front;
    front->silence.data = front;
    front->accept_poll.data = front;
    uv_poll_start(&front->accept_poll, UV_READABLE, on_listener);
    if (config->number[CONFIG_SOCKET_TIMEOUT] > 0)
        uv_timer_start(&front->silence, on_silence_look, SILENCE_LOOK_MS, SILENCE_LOOK_MS);
    rc = thread_start(&front->thread, "front", run, front, err);
    if (rc < 0)
        goto close_handles;
    *out = front;
    return RC_OK;

close_handles:
    on_stop(&front->stop);
    uv_run(&front->uv, UV_RUN_DEFAULT);
    net_close(front->listener);
close_loop:
    uv_loop_close(&front->uv);
    free(front);
    return rc;
}

void front_open(struct front *front) {
    atomic_store(&front->is_open, true);
    uv_async_send(&front->open);
}

void front_stop(struct front *front) {
    if (front == NULL)
        return;
    uv_async_send(&front->stop);
    thread_join(&front->thread);
    CHECK(uv_loop_close(&front->uv) == 0);
    net_close(front->listener);
    free(front);
}
