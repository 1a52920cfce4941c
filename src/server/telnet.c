#include "server/telnet.h"

#include "base/check.h"
#include "os/net.h"
#include "server/report.h"
#include "server/telnet_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum {
    READ_BYTES = 256 << 10,
    READS_A_TURN = 4,        /* then the loop's other connections have their turn */
    DRAIN_READS_MAX = 256,   /* at the end, what a connection may still deliver */
    BUFFERS_SMALL = 8 << 10, /* what a connection may keep over the budget, too */
    BUFFERS_SHARE = 16       /* all connections keep so much of the memory limit */
};

struct connection {
    struct loop *loop;
    struct connection *next, *previous;
    uv_poll_t poll;
    int fd;
    int events;         /* what is polled for now */
    struct buf partial; /* bytes of a line that has not ended */
    struct buf replies;
    size_t replies_sent;
    size_t charged; /* for both buffers */
    int64_t active_ns;
    bool leaving; /* close once the replies are out */
    char peer[64];
};

struct adopted {
    int fd;
    struct sockaddr_storage peer;
};

VEC_DECLARE(adopted_vec, struct adopted)

struct loop {
    struct telnet *telnet;
    struct thread thread;
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t idle_timer;
    struct mutex lock; /* guards adopted and stopping */
    struct adopted_vec adopted;
    bool stopping;
    struct put_writer *writer;
    struct connection *connections;
    char *bytes; /* READ_BYTES: shared by the loop's connections */
};

struct telnet {
    struct instance *instance;
    struct budget kept; /* by the connections: who begins lines must not starve who ends them */
    struct telnet_commands commands;
    uint32_t loop_count;
    _Atomic uint32_t next_loop;
    struct loop *loops;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void free_connection(uv_handle_t *handle) {
    struct connection *connection = handle->data;
    net_close(connection->fd);
    buf_fini(&connection->partial);
    buf_fini(&connection->replies);
    budget_release(&connection->loop->telnet->kept, connection->charged);
    instance_count(&connection->loop->telnet->instance->counters.connections_closed, 1);
    free(connection);
}

static void close_connection(struct connection *connection) {
    if (uv_is_closing((uv_handle_t *)&connection->poll))
        return;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        connection->loop->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    uv_poll_stop(&connection->poll);
    uv_close((uv_handle_t *)&connection->poll, free_connection);
}

/* Polls for writing only while replies wait. */
static void watch(struct connection *connection) {
    int events = (connection->leaving ? 0 : UV_READABLE) |
                 (connection->replies.n > connection->replies_sent ? UV_WRITABLE : 0);
    if (events == 0) {
        close_connection(connection);
        return;
    }
    if (events == connection->events)
        return;
    connection->events = events;
    uv_poll_start(&connection->poll, events, on_poll);
}

/* False if the connection is gone. */
static bool send_replies(struct connection *connection) {
    struct buf *replies = &connection->replies;
    while (replies->n > connection->replies_sent) {
        size_t written;
        enum net_outcome outcome = net_write(connection->fd, replies->p + connection->replies_sent,
                                             replies->n - connection->replies_sent, &written);
        if (outcome == NET_CLOSED)
            return false;
        if (outcome == NET_AGAIN)
            break;
        connection->replies_sent += written;
    }
    size_t left = replies->n - connection->replies_sent;
    if (connection->replies_sent > 0) {
        memmove(replies->p, replies->p + connection->replies_sent, left);
        replies->n = left;
        connection->replies_sent = 0;
    }
    if (replies->n == 0 && replies->capacity > 4096)
        buf_fini(replies);
    return true;
}

static void execute(struct connection *connection, str bytes, size_t *taken) {
    struct loop *loop = connection->loop;
    struct telnet_session session = {
        .instance = loop->telnet->instance,
        .commands = &loop->telnet->commands,
        .writer = loop->writer,
        .replies = &connection->replies,
        .peer = connection->peer,
    };
    *taken = telnet_line_run(&session, bytes);
    connection->leaving = session.leaving;
}

static void refuse_long_line(struct connection *connection) {
    report(REPORT_WARN, REPORT_CLIENT, "%s sent a line of more than %d bytes", connection->peer,
           LIMIT_PUT_LINE_BYTES);
    buf_printf(&connection->replies, "error: line too long (the limit is %d bytes)\n",
               LIMIT_PUT_LINE_BYTES);
    connection->leaving = true;
}

static size_t buffered(const struct connection *connection) {
    return connection->partial.capacity + connection->replies.capacity;
}

static bool charge(struct connection *connection) {
    struct budget *budget = &connection->loop->telnet->kept;
    size_t want = buffered(connection);
    if (want <= connection->charged) {
        budget_release(budget, connection->charged - want);
    } else if (want <= BUFFERS_SMALL) {
        budget_force(budget, want - connection->charged);
    } else if (!budget_charge(budget, want - connection->charged)) {
        return false;
    }
    connection->charged = want;
    return true;
}

/* Charges what the connection keeps. Over budget a client that does not read loses its replies, one
   that does not end a long line is sent away. */
static void account(struct connection *connection) {
    if (charge(connection))
        return;
    buf_fini(&connection->replies);
    connection->replies_sent = 0;
    if (charge(connection))
        return;
    buf_fini(&connection->partial);
    report(REPORT_WARN, REPORT_CLIENT, "%s is sent away: no memory for the line it began",
           connection->peer);
    buf_printf(&connection->replies,
               "put: Please throttle writes: too many unfinished lines, retry later\n");
    connection->leaving = true;
    (void)charge(connection);
}

/* Executes the lines of `n` bytes just read into the loop's buffer, after what was left over. */
static void consume(struct connection *connection, size_t n) {
    struct buf *partial = &connection->partial;
    str bytes = {connection->loop->bytes, n};
    size_t taken;
    if (partial->n > 0) {
        /* Only the first line needs the bytes kept from before. */
        size_t end = str_find(bytes, '\n');
        size_t head = end < bytes.n ? end + 1 : bytes.n;
        buf_add(partial, bytes.p, head);
        bytes = str_from(bytes, head);
        if (end < head) {
            execute(connection, buf_view(partial), &taken);
            buf_reset(partial);
        }
    }
    if (!connection->leaving && bytes.n > 0) {
        execute(connection, bytes, &taken);
        if (!connection->leaving)
            buf_add(partial, bytes.p + taken, bytes.n - taken);
    }
    if (!connection->leaving && (partial->n > LIMIT_PUT_LINE_BYTES || partial->failed))
        refuse_long_line(connection);
    if (partial->n == 0 && partial->capacity > 4096)
        buf_fini(partial);
    account(connection);
}

static void receive(struct connection *connection, int reads) {
    while (reads-- > 0 && !connection->leaving) {
        size_t got;
        enum net_outcome outcome =
            net_read(connection->fd, connection->loop->bytes, READ_BYTES, &got);
        if (outcome == NET_AGAIN)
            return;
        /* A client may close its side and still wait for the replies to what it sent. */
        if (outcome == NET_CLOSED) {
            connection->leaving = true;
            return;
        }
        connection->active_ns = clock_monotonic_ns();
        consume(connection, got);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events) {
    struct connection *connection = poll->data;
    bool alive = status == 0;
    if (alive && (events & UV_READABLE) != 0)
        receive(connection, READS_A_TURN);
    if (alive && send_replies(connection)) {
        account(connection);
        watch(connection);
    } else {
        close_connection(connection);
    }
}

static void start_connection(struct loop *loop, const struct adopted *adopted) {
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL || uv_poll_init(&loop->uv, &connection->poll, adopted->fd) != 0) {
        free(connection);
        net_close(adopted->fd);
        instance_count(&loop->telnet->instance->counters.connections_closed, 1);
        return;
    }
    connection->loop = loop;
    connection->fd = adopted->fd;
    connection->poll.data = connection;
    connection->active_ns = clock_monotonic_ns();
    net_peer_name(&adopted->peer, connection->peer, sizeof(connection->peer));
    connection->next = loop->connections;
    if (loop->connections != NULL)
        loop->connections->previous = connection;
    loop->connections = connection;
    watch(connection);
}

static void begin_stop(struct loop *loop) {
    for (struct connection *at = loop->connections, *next; at != NULL; at = next) {
        next = at->next;
        receive(at, DRAIN_READS_MAX);
        (void)send_replies(at);
        close_connection(at);
    }
    if (!uv_is_closing((uv_handle_t *)&loop->wake)) {
        uv_close((uv_handle_t *)&loop->wake, NULL);
        uv_close((uv_handle_t *)&loop->idle_timer, NULL);
    }
}

static void on_wake(uv_async_t *wake) {
    struct loop *loop = wake->data;
    mutex_lock(&loop->lock);
    struct adopted_vec adopted = loop->adopted;
    loop->adopted = (struct adopted_vec){0};
    bool stopping = loop->stopping;
    mutex_unlock(&loop->lock);
    for (size_t i = 0; i < adopted.n; i++)
        start_connection(loop, &adopted.p[i]);
    adopted_vec_fini(&adopted);
    if (stopping)
        begin_stop(loop);
}

static void on_idle_timer(uv_timer_t *timer) {
    struct loop *loop = timer->data;
    int64_t limit_ns =
        (int64_t)loop->telnet->instance->config->number[CONFIG_SOCKET_TIMEOUT] * 1000000000;
    if (limit_ns == 0)
        return;
    int64_t now = clock_monotonic_ns();
    for (struct connection *at = loop->connections, *next; at != NULL; at = next) {
        next = at->next;
        if (now - at->active_ns > limit_ns)
            close_connection(at);
    }
}

static void *run_loop(void *context) {
    struct loop *loop = context;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

static enum rc start_loop(struct telnet *telnet, struct loop *loop, struct err *err) {
    loop->telnet = telnet;
    loop->writer = put_writer_new(telnet->instance, PUT_TELNET);
    loop->bytes = malloc(READ_BYTES);
    if (loop->writer == NULL || loop->bytes == NULL || uv_loop_init(&loop->uv) != 0)
        goto free_parts;
    mutex_init(&loop->lock);
    CHECK(uv_async_init(&loop->uv, &loop->wake, on_wake) == 0);
    CHECK(uv_timer_init(&loop->uv, &loop->idle_timer) == 0);
    loop->wake.data = loop;
    loop->idle_timer.data = loop;
    uv_timer_start(&loop->idle_timer, on_idle_timer, 1000, 1000);
    if (thread_start(&loop->thread, "telnet", run_loop, loop, err) == RC_OK)
        return RC_OK;
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->idle_timer, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    uv_loop_close(&loop->uv);
    mutex_fini(&loop->lock);

free_parts:
    put_writer_free(loop->writer);
    free(loop->bytes);
    return err_set(err, RC_NOMEM, "cannot start a telnet loop: out of memory or threads");
}

static void stop_loop(struct loop *loop) {
    mutex_lock(&loop->lock);
    loop->stopping = true;
    mutex_unlock(&loop->lock);
    uv_async_send(&loop->wake);
    thread_join(&loop->thread);
    CHECK(uv_loop_close(&loop->uv) == 0);
    for (size_t i = 0; i < loop->adopted.n; i++)
        net_close(loop->adopted.p[i].fd);
    adopted_vec_fini(&loop->adopted);
    mutex_fini(&loop->lock);
    put_writer_free(loop->writer);
    free(loop->bytes);
}

enum rc telnet_start(struct instance *instance, const struct telnet_commands *commands,
                     uint32_t loops, struct telnet **out, struct err *err) {
    struct telnet *telnet = calloc(1, sizeof(*telnet));
    if (telnet == NULL || (telnet->loops = calloc(loops, sizeof(*telnet->loops))) == NULL) {
        free(telnet);
        return err_set(err, RC_NOMEM, "out of memory");
    }
    telnet->instance = instance;
    telnet->commands = *commands;
    budget_init(&telnet->kept, (size_t)instance->budget.limit_bytes / BUFFERS_SHARE,
                &instance->budget);
    for (; telnet->loop_count < loops; telnet->loop_count++)
        if (start_loop(telnet, &telnet->loops[telnet->loop_count], err) < 0) {
            telnet_stop(telnet);
            return RC_NOMEM;
        }
    *out = telnet;
    return RC_OK;
}

void telnet_adopt(struct telnet *telnet, int fd, const struct sockaddr_storage *peer) {
    uint32_t turn = atomic_fetch_add(&telnet->next_loop, 1);
    struct loop *loop = &telnet->loops[turn % telnet->loop_count];
    mutex_lock(&loop->lock);
    bool queued = !loop->stopping &&
                  adopted_vec_push(&loop->adopted, (struct adopted){.fd = fd, .peer = *peer});
    mutex_unlock(&loop->lock);
    if (queued) {
        uv_async_send(&loop->wake);
    } else {
        net_close(fd);
        instance_count(&telnet->instance->counters.connections_closed, 1);
    }
}

void telnet_stop(struct telnet *telnet) {
    if (telnet == NULL)
        return;
    for (uint32_t i = 0; i < telnet->loop_count; i++)
        stop_loop(&telnet->loops[i]);
    free(telnet->loops);
    free(telnet);
}
