/*
 * A whole server: opens the store, listens, and stops in the right order.
 */
#pragma once

#include "base/err.h"
#include "server/config.h"

struct server;

/* Starts everything; when it returns the port answers. `config` is borrowed and outlives the
   server. `stop` is called (from any thread) when a client asks for the end (diediedie); may be
   NULL. */
enum rc server_start(struct config *config, void (*stop)(void *context), void *context,
                     struct server **out, struct err *err) MUST_USE;

/* Port listened on. */
unsigned server_port(const struct server *server);

/* Drains: stops accepting, finishes requests, commits, checkpoints, closes. Returns the outcome of
   the last commit. */
enum rc server_stop(struct server *server, struct err *err);
