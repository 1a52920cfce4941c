/*
 * Executing telnet lines: what one block of bytes does, apart from sockets.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "server/instance.h"
#include "server/put_writer.h"
#include "server/telnet.h"

#include <stdbool.h>
#include <stddef.h>

enum { TELNET_REPLY_BYTES_MAX = 64 << 10 };

struct telnet_session {
    struct instance *instance;
    const struct telnet_commands *commands;
    struct put_writer *writer;
    struct buf *replies; /* max set to TELNET_REPLY_BYTES_MAX: more is dropped, whole lines only */
    const char *peer;
    bool leaving; /* `exit` was seen, or the connection must be closed */
};

/* Executes all complete lines of `bytes` and returns how many bytes they took. Puts are stored as
   one batch before any other command runs and before it returns. */
size_t telnet_line_run(struct telnet_session *session, str bytes);
