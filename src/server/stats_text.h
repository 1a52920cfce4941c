/*
 * Statistics and version as the lines telnet shows.
 */
#pragma once

#include "base/buf.h"
#include "server/instance.h"

#define STATS_TEXT_VERSION "2.4.1" /* OpenTSDB's version that clients may look at */

/* Whether a statistic is written as an integer. */
bool stats_text_is_whole(double value);

/* Its value as text. */
void stats_text_value(double value, struct buf *out);

/* "tsd.rpc.received 1365966001 42 type=put host=h", one line each. */
void stats_text_lines(struct instance *instance, struct buf *out);

/* The two lines of `version`. */
void stats_text_version(const struct instance *instance, struct buf *out);

/* Makes a host name, device or address fit for a tag value: other characters become '_'. */
void stats_text_sanitise(char *name);
