#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static enum rc resolve(const char *address, uint16_t port, int flags, struct addrinfo **found,
                       struct err *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    int e = getaddrinfo(address, service, &hints, found);
    if (e != 0)
        return err_set(err, RC_NOT_FOUND, "cannot resolve address \"%s\": %s", address,
                       e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
    return RC_OK;
}

enum rc net_listen(const char *address, uint16_t port, int backlog, int *listener,
                   struct err *err) {
    struct addrinfo *found;
    TRY(resolve(address, port, AI_PASSIVE, &found, err));
    int s = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s < 0) {
        err_set(err, RC_IO, "cannot make a socket: %s", strerror(errno));
        goto free_found;
    }
    int on = 1;
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(s, found->ai_addr, found->ai_addrlen) != 0 || listen(s, backlog) != 0) {
        int e = errno;
        err_set(err, RC_IO, "cannot listen on %s port %u: %s%s", address, port, strerror(e),
                e == EADDRINUSE ? " (is another server running there? choose another with --port)"
                : e == EACCES   ? " (ports below 1024 need a privilege; choose a higher one)"
                                : "");
        goto close_socket;
    }
    freeaddrinfo(found);
    *listener = s;
    return RC_OK;

close_socket:
    close(s);
free_found:
    freeaddrinfo(found);
    return RC_IO;
}

uint16_t net_port(int listener) {
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        return 0;
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

enum net_outcome net_accept(int listener, int *connection, struct sockaddr_storage *peer,
                            socklen_t *peer_size, bool *exhausted) {
    *peer_size = sizeof(*peer);
    *exhausted = false;
    int s = accept4(listener, (struct sockaddr *)peer, peer_size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s < 0) {
        *exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        return NET_AGAIN;
    }
    *connection = s;
    return NET_OK;
}

static enum net_outcome outcome_of(ssize_t n) {
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return NET_AGAIN;
    return NET_CLOSED;
}

enum net_outcome net_peek(int connection, unsigned char *byte) {
    ssize_t n = recv(connection, byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 1 ? NET_OK : outcome_of(n);
}

enum net_outcome net_read(int connection, void *bytes, size_t room, size_t *got) {
    ssize_t n = recv(connection, bytes, room, 0);
    *got = n > 0 ? (size_t)n : 0;
    return n > 0 ? NET_OK : outcome_of(n);
}

enum net_outcome net_write(int connection, const void *bytes, size_t n, size_t *written) {
    ssize_t sent = send(connection, bytes, n, MSG_NOSIGNAL);
    *written = sent > 0 ? (size_t)sent : 0;
    return sent >= 0 ? NET_OK : outcome_of(sent);
}

bool net_hung_up(int connection) {
    struct pollfd poll_one = {.fd = connection, .events = POLLRDHUP};
    return poll(&poll_one, 1, 0) == 1 &&
           (poll_one.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void net_set_blocking(int connection, bool blocking) {
    int flags = fcntl(connection, F_GETFL);
    if (flags >= 0)
        (void)fcntl(connection, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

void net_tune(int connection, bool no_delay, bool keep_alive) {
    int delay = no_delay, alive = keep_alive;
    (void)setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &delay, sizeof(delay));
    (void)setsockopt(connection, SOL_SOCKET, SO_KEEPALIVE, &alive, sizeof(alive));
}

void net_gather(int connection, size_t n) {
    int least = n < INT_MAX ? (int)n : INT_MAX;
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof(least));
}

void net_peer_name(const struct sockaddr_storage *peer, char *name, size_t size) {
    char address[INET6_ADDRSTRLEN] = "?";
    uint16_t port = 0;
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
        inet_ntop(AF_INET, &v4->sin_addr, address, sizeof(address));
        port = ntohs(v4->sin_port);
    } else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;
        inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof(address));
        port = ntohs(v6->sin6_port);
    }
    snprintf(name, size, "%s:%u", address, port);
}

void net_close(int socket) {
    if (socket >= 0)
        close(socket);
}

enum rc net_resolve(const char *host, uint16_t port, struct net_addresses *found, struct err *err) {
    struct addrinfo *list;
    *found = (struct net_addresses){0};
    enum rc rc = resolve(host, port, 0, &list, err);
    if (rc < 0)
        return rc;
    for (const struct addrinfo *at = list; at != NULL && found->count < NET_ADDRESSES_MAX;
         at = at->ai_next)
        memcpy(&found->at[found->count++], at->ai_addr, at->ai_addrlen);
    freeaddrinfo(list);
    return RC_OK;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family)
        return false;
    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)a;
        const struct sockaddr_in *y = (const struct sockaddr_in *)b;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)b;
    return x->sin6_port == y->sin6_port &&
           memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
}

bool net_addresses_have(const struct net_addresses *addresses,
                        const struct sockaddr_storage *address) {
    for (uint32_t i = 0; i < addresses->count; i++)
        if (same_address(&addresses->at[i], address))
            return true;
    return false;
}

static int connect_one(const struct sockaddr_storage *address, uint32_t timeout_ms) {
    socklen_t size =
        address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int s = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return -1;
    struct timeval timeout = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    (void)setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(s, (const struct sockaddr *)address, size) == 0)
        return s;
    /* A connect that ran into its timeout says EINPROGRESS, which helps nobody. */
    int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
    close(s);
    errno = error;
    return -1;
}

enum rc net_connect_any(const struct net_addresses *addresses, const char *host,
                        uint32_t timeout_ms, int *connection, struct sockaddr_storage *peer,
                        struct err *err) {
    int error = EADDRNOTAVAIL;
    for (uint32_t i = 0; i < addresses->count; i++) {
        *connection = connect_one(&addresses->at[i], timeout_ms);
        *peer = addresses->at[i];
        if (*connection >= 0)
            return RC_OK;
        error = errno;
    }
    char tried[64] = "";
    if (addresses->count > 0)
        net_peer_name(peer, tried, sizeof(tried));
    return err_set(err, RC_IO, "cannot connect to %s (%s): %s", host, tried, strerror(error));
}

enum rc net_connect(const char *host, uint16_t port, uint32_t timeout_ms, int *connection,
                    struct err *err) {
    struct net_addresses addresses;
    struct sockaddr_storage peer;
    TRY(net_resolve(host, port, &addresses, err));
    return net_connect_any(&addresses, host, timeout_ms, connection, &peer, err);
}
