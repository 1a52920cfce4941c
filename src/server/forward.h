/*
 * Sends the server's own statistics to another Barograph or OpenTSDB as well (self.forward), so
 * that one place watches many servers.
 *
 * Lines are telnet puts, kept in memory up to FORWARD_BYTES_MAX while the other side is away; what
 * comes after that is dropped and counted. The name is resolved anew at every connection, and every
 * FORWARD_RESOLVE_S while one lasts: when it stands for other addresses, the connection moves.
 * Telnet has no receipts, so lines under way when a connection breaks are sent again; the receiver
 * stores them once.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "server/config.h"

#include <stdbool.h>
#include <stdint.h>

enum { FORWARD_BYTES_MAX = 1 << 20, FORWARD_RESOLVE_S = 30 };

struct forward;

/* Starts the sender's thread; *out is NULL when self.forward is empty. */
enum rc forward_start(const struct config *config, struct forward **out, struct err *err) MUST_USE;
void forward_stop(struct forward *forward); /* NULL is harmless */

/* Adds one line (without its end). Never waits. */
void forward_add(struct forward *forward, str line);

/* Wakes the sender: a batch is complete. */
void forward_flush(struct forward *forward);

struct forward_status {
    uint64_t lines_sent;
    uint64_t lines_dropped;
    bool connected;
    char peer[64]; /* "address:port" it is or was last connected to; "" before */
};
void forward_status(struct forward *forward, struct forward_status *status);
