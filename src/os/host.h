/*
 * What the host is doing, from /proc: cumulative counters and levels, one callback a number.
 */
#pragma once

#include <stdint.h>

/* `metric` such as "cpu.user_seconds"; at most one tag ("interface", "eth0"), else NULL. */
typedef void host_each(void *context, const char *metric, const char *tag_key,
                       const char *tag_value, double value);

/* CPU times, load, memory, disks and network interfaces of the machine (or of the container as far
   as /proc shows it). What cannot be read is left out. */
void host_read(host_each *each, void *context);
