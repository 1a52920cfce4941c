/*
 * One running server: what its parts share. Passed explicitly; there is no global.
 */
#pragma once

#include "base/budget.h"
#include "medium/medium.h"
#include "model/series_key.h"
#include "os/thread.h"
#include "server/config.h"
#include "store/key_cache.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What is counted, all since the start. X(identifier) */
#define INSTANCE_COUNTERS(X)                                                                       \
    X(connections_total)                                                                           \
    X(connections_rejected)                                                                        \
    X(connections_closed)                                                                          \
    X(rpc_telnet)                                                                                  \
    X(rpc_http)                                                                                    \
    X(rpc_put)                                                                                     \
    X(rpc_exceptions)                                                                              \
    X(errors_invalid_values)                                                                       \
    X(errors_illegal_arguments)                                                                    \
    X(errors_unknown_metrics)                                                                      \
    X(errors_storage)                                                                              \
    X(errors_replies_dropped)                                                                      \
    X(points_telnet)                                                                               \
    X(points_http)                                                                                 \
    X(query_success)                                                                               \
    X(query_invalid)                                                                               \
    X(query_exceptions)                                                                            \
    X(query_points)                                                                                \
    X(query_ns)

struct instance_counters {
#define X(identifier) _Atomic uint64_t identifier;
    INSTANCE_COUNTERS(X)
#undef X
};

/* Store and index are there in every state but the first, in which the door is open already. */
enum instance_state { INSTANCE_STARTING, INSTANCE_READY, INSTANCE_DRAINING };

struct instance {
    struct config *config;
    struct budget budget;            /* root: memory.limit */
    struct budget query_budget;      /* leaves a share of it to writers and requests */
    struct budget connection_budget; /* what HTTP connections may take, idle or not */
    struct medium *medium;
    struct store *store;
    struct index *index;
    struct key_cache *keys;  /* shared by all writers */
    struct forward *forward; /* NULL unless self.forward is set */
    struct series_key_rules rules;
    struct instance_counters counters;
    _Atomic enum instance_state state;
    _Atomic int64_t refusal_told_ns; /* when the log was last told that memory refuses points */
    char host[256];
    uint16_t port; /* as bound */
    int64_t started_ms;
    uint32_t processors;
    bool writable;               /* tsd.mode is not ro */
    bool queryable;              /* tsd.mode is not wo */
    void (*stop)(void *context); /* asks the program to end; may be NULL */
    void *stop_context;
};

static inline void instance_count(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t instance_read(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline bool instance_has_store(const struct instance *instance) {
    return atomic_load(&instance->state) != INSTANCE_STARTING;
}

static inline uint64_t instance_connections_open(const struct instance *instance) {
    return instance_read(&instance->counters.connections_total) -
           instance_read(&instance->counters.connections_closed);
}
