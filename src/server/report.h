/*
 * What the server says about itself: one line an event on standard output, as text or JSON, by
 * level. Lines of one kind are rate-limited so that a misbehaving client cannot flood the log:
 * after REPORT_BURST lines within ten seconds the rest are counted and the count is reported.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>

enum report_level { REPORT_DEBUG, REPORT_INFO, REPORT_WARN, REPORT_ERROR };
enum { REPORT_BURST = 20 };

/* Kinds of events that a client can cause at will share a limit of their own. */
enum report_kind { REPORT_SERVER, REPORT_STORE, REPORT_CLIENT, REPORT_QUERY, REPORT_KINDS };

/* Chooses level ("debug" .. "error") and format ("text", "json"). Before this: info, text. */
void report_configure(const char *level, const char *format);

/* Writes one line. Safe from any thread. */
void report(enum report_level level, enum report_kind kind, const char *format, ...)
    PRINTF_LIKE(3, 4);
