/*
 * The gate of queries: at most `limit` run at a time, the others wait their turn.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct query_gate;

struct query_gate *query_gate_new(uint32_t limit); /* NULL: out of memory */
void query_gate_free(struct query_gate *gate);     /* NULL is harmless */

/* False if `deadline_ns` (clock_monotonic_ns; 0: none) passed before there was room. */
bool query_gate_enter(struct query_gate *gate, int64_t deadline_ns) MUST_USE;
void query_gate_leave(struct query_gate *gate);
