/*
 * The telnet side of the port: event loops that own connections.
 *
 * Lines are executed as they arrive; replies are queued per connection up to a bound and sent when
 * the socket takes them. A client that never reads loses replies, nothing else. Errors in lines
 * never close the connection; a line longer than LIMIT_PUT_LINE_BYTES does, and one that has not
 * ended when all that connections keep is a sixteenth of the memory limit.
 */
#pragma once

#include "base/err.h"
#include "server/instance.h"

#include <sys/socket.h>

struct telnet;

/* What commands other than put need from the rest of the server. */
struct telnet_commands {
    void (*stats)(void *context, struct buf *out);   /* the lines of `stats` */
    void (*version)(void *context, struct buf *out); /* the two lines of `version` */
    void (*shut_down)(void *context);                /* diediedie */
    void *context;
};

/* Starts `loops` threads. */
enum rc telnet_start(struct instance *instance, const struct telnet_commands *commands,
                     uint32_t loops, struct telnet **out, struct err *err) MUST_USE;

/* Hands over an accepted, non-blocking connection. Safe from any thread; never blocks. */
void telnet_adopt(struct telnet *telnet, int connection, const struct sockaddr_storage *peer);

/* Executes what has arrived, closes all connections and stops the threads. NULL is harmless. */
void telnet_stop(struct telnet *telnet);
