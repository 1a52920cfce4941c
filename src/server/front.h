/*
 * The door: one port for HTTP and telnet. Accepts, waits for the first byte of a connection without
 * taking it (`A`-`Z` is HTTP, anything else telnet; decided once), and hands the socket on. A
 * connection that never sends anything costs one small structure and no thread; one that is closed
 * before its first byte is nothing worth reporting.
 */
#pragma once

#include "base/err.h"
#include "server/instance.h"

#include <sys/socket.h>

struct front;

/* Who takes a connection over; it owns the descriptor from then on. Called on the front's thread.
 */
struct front_handlers {
    void (*http)(void *context, int connection, const struct sockaddr_storage *peer,
                 socklen_t peer_size);
    void (*telnet)(void *context, int connection, const struct sockaddr_storage *peer);
    void *context;
};

/* Listens and starts the thread. Sets instance->port. Telnet connections wait at the door until
   front_open. */
enum rc front_start(struct instance *instance, const struct front_handlers *handlers,
                    struct front **out, struct err *err) MUST_USE;

/* Lets telnet in: the store is there. */
void front_open(struct front *front);

/* Stops listening, closes connections that have not spoken, stops the thread. NULL is harmless. */
void front_stop(struct front *front);
