#include "server/stats.h"

#include "os/machine.h"
#include "server/forward.h"

#include <stdio.h>

struct walk {
    void (*each)(void *context, const struct stat *stat);
    void *context;
};

static void tagged(const struct walk *walk, const char *metric, const char *key, const char *value,
                   double number, bool counter) {
    struct stat stat = {metric, key, value, number, counter};
    walk->each(walk->context, &stat);
}

static void counter(const struct walk *walk, const char *metric, const char *type,
                    const _Atomic uint64_t *value) {
    tagged(walk, metric, type == NULL ? NULL : "type", type, (double)instance_read(value), true);
}

static void level(const struct walk *walk, const char *metric, const char *type, double value) {
    tagged(walk, metric, type == NULL ? NULL : "type", type, value, false);
}

static void connections(const struct walk *walk, const struct instance *instance) {
    const struct instance_counters *c = &instance->counters;
    level(walk, "connectionmgr.connections", "open", (double)instance_connections_open(instance));
    counter(walk, "connectionmgr.connections", "total", &c->connections_total);
    counter(walk, "connectionmgr.connections", "rejected", &c->connections_rejected);
    counter(walk, "rpc.received", "telnet", &c->rpc_telnet);
    counter(walk, "rpc.received", "http", &c->rpc_http);
    counter(walk, "rpc.received", "put", &c->rpc_put);
    counter(walk, "rpc.exceptions", NULL, &c->rpc_exceptions);
    counter(walk, "rpc.errors", "hbase_errors", &c->errors_storage);
    counter(walk, "rpc.errors", "invalid_values", &c->errors_invalid_values);
    counter(walk, "rpc.errors", "illegal_arguments", &c->errors_illegal_arguments);
    counter(walk, "rpc.errors", "unknown_metrics", &c->errors_unknown_metrics);
    counter(walk, "rpc.errors", "socket_writes_blocked", &c->errors_replies_dropped);
    counter(walk, "http.query.success", NULL, &c->query_success);
    counter(walk, "http.query.invalid_requests", NULL, &c->query_invalid);
    counter(walk, "http.query.exceptions", NULL, &c->query_exceptions);
    counter(walk, "http.query.points", NULL, &c->query_points);
    tagged(walk, "http.query.seconds", NULL, NULL, (double)instance_read(&c->query_ns) / 1e9, true);
}

static void names(const struct walk *walk, const struct instance *instance) {
    static const char *const kinds[INDEX_KINDS] = {"metrics", "tagk", "tagv"};
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        tagged(walk, "uid.ids-used", "kind", kinds[kind],
               (double)index_name_count(instance->index, (enum index_kind)kind), false);
    level(walk, "series", NULL, (double)index_series_count(instance->index));
    struct index_memory memory;
    index_memory(instance->index, &memory);
    level(walk, "index.bytes", "names", (double)memory.names_bytes);
    level(walk, "index.bytes", "series", (double)memory.series_bytes);
    level(walk, "index.bytes", "sets", (double)memory.sets_bytes);
}

static void storage(const struct walk *walk, struct instance *instance) {
    struct store_stats s;
    store_stats(instance->store, &s);
    tagged(walk, "datapoints.added", "type", "all", (double)s.points_appended, true);
    tagged(walk, "datapoints.rejected", NULL, NULL, (double)s.points_rejected, true);
    tagged(walk, "datapoints.deleted", NULL, NULL, (double)s.deleted_points, true);
    level(walk, "store.head_bytes", NULL, (double)s.head_bytes);
    level(walk, "store.segments", NULL, (double)s.segments);
    level(walk, "store.segment_bytes", NULL, (double)s.segment_bytes);
    tagged(walk, "store.checkpoints", NULL, NULL, (double)s.checkpoints, true);
    tagged(walk, "store.compactions", NULL, NULL, (double)s.compactions, true);
    tagged(walk, "store.damaged_blocks", NULL, NULL, (double)s.damaged_blocks, true);
    tagged(walk, "log.bytes", NULL, NULL, (double)s.log.end, true);
    level(walk, "log.bytes_kept", NULL, (double)(s.log.end - s.log.start));
    tagged(walk, "log.commits", NULL, NULL, (double)s.log.commits, true);
    tagged(walk, "log.commit_seconds", NULL, NULL, (double)s.log.commit_ns_total / 1e9, true);
    tagged(walk, "log.failures", NULL, NULL, (double)s.log.failures, true);
    level(walk, "log.failing", NULL, s.log.failing);
    uint64_t free_bytes, used_bytes;
    if (medium_space(instance->medium, &free_bytes, &used_bytes, NULL) == RC_OK &&
        free_bytes != UINT64_MAX) {
        level(walk, "medium.bytes", "free", (double)free_bytes);
        level(walk, "medium.bytes", "used", (double)used_bytes);
    }
}

/* Where the configured addresses lead at the moment: 1 while there is a listener or a connection.
 */
static void addresses(const struct walk *walk, const struct instance *instance) {
    char bound[300];
    snprintf(bound, sizeof(bound), "%s:%u", instance->config->text[CONFIG_BIND], instance->port);
    tagged(walk, "address.tsd_network_bind", "address", bound, 1, false);
    if (instance->forward == NULL)
        return;
    struct forward_status status;
    forward_status(instance->forward, &status);
    if (status.peer[0] != '\0')
        tagged(walk, "address.self_forward", "address", status.peer, status.connected, false);
    tagged(walk, "forward.lines", "type", "sent", (double)status.lines_sent, true);
    tagged(walk, "forward.lines", "type", "dropped", (double)status.lines_dropped, true);
}

static void process(const struct walk *walk, const struct instance *instance) {
    level(walk, "memory.bytes", "charged", (double)budget_used(&instance->budget));
    level(walk, "memory.bytes", "limit", (double)instance->budget.limit_bytes);
    level(walk, "memory.bytes", "resident", (double)machine_resident_bytes());
    tagged(walk, "process.cpu_seconds", NULL, NULL, (double)clock_process_cpu_ns() / 1e9, true);
    level(walk, "process.threads", NULL, machine_threads());
    level(walk, "process.open_files", NULL, machine_open_files());
    level(walk, "process.uptime_seconds", NULL,
          (double)(clock_wall_ms(&clock_system) - instance->started_ms) / 1e3);
}

void stats_each(struct instance *instance, void (*each)(void *context, const struct stat *stat),
                void *context) {
    struct walk walk = {each, context};
    connections(&walk, instance);
    names(&walk, instance);
    storage(&walk, instance);
    addresses(&walk, instance);
    process(&walk, instance);
}
