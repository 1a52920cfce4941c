/*
 * Sockets: the few operations the server needs. All sockets are non-blocking and close-on-exec
 * unless said otherwise.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What a host name stands for at the moment, in the resolver's order of preference. */
enum { NET_ADDRESSES_MAX = 16 };
struct net_addresses {
    uint32_t count;
    struct sockaddr_storage at[NET_ADDRESSES_MAX];
};

/* Asks the resolver (files and DNS), each time anew; may take seconds. RC_NOT_FOUND with a text if
   the name stands for nothing. */
enum rc net_resolve(const char *host, uint16_t port, struct net_addresses *found,
                    struct err *err) MUST_USE;

/* True if `address` (family, address and port) is among them. */
bool net_addresses_have(const struct net_addresses *addresses,
                        const struct sockaddr_storage *address);

/* Listens on address (IPv4, IPv6, or a host name) and port (0: any free one). The texts say what to
   do when the port is taken or may not be bound. */
enum rc net_listen(const char *address, uint16_t port, int backlog, int *listener,
                   struct err *err) MUST_USE;

/* Port a listener is bound to. */
uint16_t net_port(int listener);

enum net_outcome { NET_OK = 0, NET_AGAIN, NET_CLOSED };

/* Accepts one connection; NET_AGAIN if none is waiting (or the process is out of descriptors:
 *exhausted). `peer` gets its address. */
enum net_outcome net_accept(int listener, int *connection, struct sockaddr_storage *peer,
                            socklen_t *peer_size, bool *exhausted);

/* Looks at the first byte that waits without taking it. */
enum net_outcome net_peek(int connection, unsigned char *byte);

enum net_outcome net_read(int connection, void *bytes, size_t room, size_t *got);
enum net_outcome net_write(int connection, const void *bytes, size_t n, size_t *written);

/* True if the peer has closed its side or the connection has failed. */
bool net_hung_up(int connection);

/* Sets blocking mode. */
void net_set_blocking(int connection, bool blocking);

/* Sends small writes at once, and notices dead peers. */
void net_tune(int connection, bool no_delay, bool keep_alive);

/* From now on the connection is ready to be read when `n` bytes wait (as far as the system's buffer
   goes), or its end. At first that is 1. */
void net_gather(int connection, size_t n);

/* "address:port" of a peer, terminated. */
void net_peer_name(const struct sockaddr_storage *peer, char *name, size_t size);

/* Closes; -1 is harmless. */
void net_close(int socket);

/* Connects to the first of the host's addresses that accepts (blocking socket, with a timeout for
   each try and each operation). `host` is for the error's text. */
enum rc net_connect_any(const struct net_addresses *addresses, const char *host,
                        uint32_t timeout_ms, int *connection, struct sockaddr_storage *peer,
                        struct err *err) MUST_USE;

/* Both in one, for the health check and tools. */
enum rc net_connect(const char *host, uint16_t port, uint32_t timeout_ms, int *connection,
                    struct err *err) MUST_USE;
