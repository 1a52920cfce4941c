/*
 * The HTTP side of the port, on libmicrohttpd: one thread a connection, so that endpoints are plain
 * blocking code (a put waits for its commit, a query streams).
 */
#pragma once

#include "base/err.h"
#include "server/instance.h"
#include "server/put_writer.h"

#include <sys/socket.h>

struct http;

enum rc http_start(struct instance *instance, struct http **out, struct err *err) MUST_USE;

/* Hands over an accepted connection whose first byte waits. */
void http_adopt(struct http *http, int connection, const struct sockaddr_storage *peer,
                socklen_t peer_size);

/* Lets requests under way finish (at most `drain_ms`), then closes everything. NULL is harmless. */
void http_stop(struct http *http, uint32_t drain_ms);
