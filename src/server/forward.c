#include "server/forward.h"

#include "base/buf.h"
#include "os/clock.h"
#include "os/net.h"
#include "os/thread.h"
#include "server/address.h"
#include "server/report.h"

#include <stdlib.h>
#include <string.h>

enum { PORT = 4242, TIMEOUT_MS = 2000 };

static const int64_t NS_PER_S = 1000000000;

struct forward {
    struct address address;
    struct thread thread;

    struct mutex lock; /* guards the next six */
    struct condition changed;
    struct buf pending;
    bool complete; /* a batch waits to be sent */
    bool stopping;
    struct forward_status status;

    /* The thread's own. */
    struct buf sending;
    int socket; /* -1: none */
    struct sockaddr_storage peer;
    int64_t resolved_ns;
    bool told; /* of the failure that lasts */
};

/* ---- the connection ---- */

static void note_connection(struct forward *forward, bool connected) {
    mutex_lock(&forward->lock);
    forward->status.connected = connected;
    if (connected)
        net_peer_name(&forward->peer, forward->status.peer, sizeof(forward->status.peer));
    mutex_unlock(&forward->lock);
}

static void disconnect(struct forward *forward) {
    net_close(forward->socket);
    forward->socket = -1;
    note_connection(forward, false);
}

/* A name that cannot be resolved now does not end a connection that works. */
static bool has_moved(const struct forward *forward) {
    struct net_addresses found;
    return net_resolve(forward->address.host, forward->address.port, &found, NULL) == RC_OK &&
           !net_addresses_have(&found, &forward->peer);
}

static enum rc connect_anew(struct forward *forward, struct err *err) {
    const struct address *address = &forward->address;
    struct net_addresses found;
    forward->resolved_ns = clock_monotonic_ns();
    TRY(net_resolve(address->host, address->port, &found, err));
    TRY(net_connect_any(&found, address->host, TIMEOUT_MS, &forward->socket, &forward->peer, err));
    net_tune(forward->socket, true, true);
    note_connection(forward, true);
    report(REPORT_INFO, REPORT_SERVER, "self.forward: connected to %s (%s)", address->host,
           forward->status.peer);
    forward->told = false;
    return RC_OK;
}

static enum rc need_connection(struct forward *forward, struct err *err) {
    if (forward->socket >= 0 && net_hung_up(forward->socket))
        disconnect(forward);
    bool due = clock_monotonic_ns() - forward->resolved_ns > FORWARD_RESOLVE_S * NS_PER_S;
    if (forward->socket >= 0 && due) {
        forward->resolved_ns = clock_monotonic_ns();
        if (has_moved(forward))
            disconnect(forward);
    }
    return forward->socket >= 0 ? RC_OK : connect_anew(forward, err);
}

/* The other side says something only about lines it refuses: its error counters tell the same. */
static void read_replies(struct forward *forward) {
    char bytes[4096];
    size_t got;
    net_set_blocking(forward->socket, false);
    while (net_read(forward->socket, bytes, sizeof(bytes), &got) == NET_OK)
        continue;
    net_set_blocking(forward->socket, true);
}

static enum rc send_all(struct forward *forward, struct err *err) {
    str left = buf_view(&forward->sending);
    while (left.n > 0) {
        size_t written;
        if (net_write(forward->socket, left.p, left.n, &written) != NET_OK)
            return err_set(err, RC_IO, "%s stopped taking lines", forward->status.peer);
        left = str_from(left, written);
    }
    read_replies(forward);
    return RC_OK;
}

/* ---- the thread ---- */

static uint64_t count_lines(str text) {
    uint64_t lines = 0;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    return lines;
}

/* Sends what waits; keeps it for the next time if that fails. */
static void deliver(struct forward *forward) {
    struct err err = {0};
    enum rc rc = need_connection(forward, &err);
    if (rc == RC_OK)
        rc = send_all(forward, &err);
    if (rc == RC_OK) {
        mutex_lock(&forward->lock);
        forward->status.lines_sent += count_lines(buf_view(&forward->sending));
        mutex_unlock(&forward->lock);
        buf_reset(&forward->sending);
        return;
    }
    if (forward->socket >= 0)
        disconnect(forward);
    if (!forward->told)
        report(REPORT_WARN, REPORT_SERVER, "self.forward: %s; trying again with every record",
               err.message);
    forward->told = true;
}

/* Moves what is complete to `sending`, as far as there is room. With the lock held. */
static void take_pending(struct forward *forward) {
    forward->complete = false;
    if (forward->sending.n + forward->pending.n <= FORWARD_BYTES_MAX) {
        buf_str(&forward->sending, buf_view(&forward->pending));
        if (!forward->sending.failed) {
            buf_reset(&forward->pending);
            return;
        }
        buf_fini(&forward->sending);
    }
    forward->status.lines_dropped += count_lines(buf_view(&forward->pending));
    buf_reset(&forward->pending);
}

static void *run(void *context) {
    struct forward *forward = context;
    mutex_lock(&forward->lock);
    for (;;) {
        while (!forward->complete && !forward->stopping)
            condition_wait(&forward->changed, &forward->lock);
        bool last = forward->stopping;
        take_pending(forward);
        mutex_unlock(&forward->lock);
        if (forward->sending.n > 0 && (!last || forward->socket >= 0))
            deliver(forward);
        if (last)
            return NULL;
        mutex_lock(&forward->lock);
    }
}

enum rc forward_start(const struct config *config, struct forward **out, struct err *err) {
    *out = NULL;
    str text = config_str(config, CONFIG_SELF_FORWARD);
    if (text.n == 0)
        return RC_OK;
    struct forward *forward = calloc(1, sizeof(*forward));
    if (forward == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    forward->socket = -1;
    mutex_init(&forward->lock);
    condition_init(&forward->changed);
    enum rc rc = address_parse(text, PORT, &forward->address, err);
    if (rc == RC_OK)
        rc = thread_start(&forward->thread, "forward", run, forward, err);
    if (rc < 0) {
        condition_fini(&forward->changed);
        mutex_fini(&forward->lock);
        free(forward);
        return rc;
    }
    *out = forward;
    return RC_OK;
}

void forward_stop(struct forward *forward) {
    if (forward == NULL)
        return;
    mutex_lock(&forward->lock);
    forward->stopping = true;
    condition_signal(&forward->changed);
    mutex_unlock(&forward->lock);
    thread_join(&forward->thread);
    net_close(forward->socket);
    buf_fini(&forward->pending);
    buf_fini(&forward->sending);
    condition_fini(&forward->changed);
    mutex_fini(&forward->lock);
    free(forward);
}

void forward_add(struct forward *forward, str line) {
    mutex_lock(&forward->lock);
    if (forward->pending.n + line.n < FORWARD_BYTES_MAX) {
        buf_str(&forward->pending, line);
        buf_char(&forward->pending, '\n');
    } else {
        forward->status.lines_dropped++;
    }
    mutex_unlock(&forward->lock);
}

void forward_flush(struct forward *forward) {
    mutex_lock(&forward->lock);
    forward->complete = true;
    condition_signal(&forward->changed);
    mutex_unlock(&forward->lock);
}

void forward_status(struct forward *forward, struct forward_status *status) {
    mutex_lock(&forward->lock);
    *status = forward->status;
    mutex_unlock(&forward->lock);
}
