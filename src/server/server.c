#include "server/server.h"

#include "medium/file_medium.h"
#include "medium/memory_medium.h"
#include "os/clock.h"
#include "os/machine.h"
#include "query/timezone.h"
#include "server/forward.h"
#include "server/front.h"
#include "server/http.h"
#include "server/instance.h"
#include "server/report.h"
#include "server/self.h"
#include "server/stats_text.h"
#include "server/telnet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEMORY_SHARE_PERCENT = 75, /* of what the machine allows; the rest is for what is not charged */
    RETENTION_RULES_MAX = 64,
    QUERIES_LEAVE = 8, /* one part in so many of the memory budget is out of reach for queries */
    CONNECTIONS_SHARE = 4, /* HTTP connections may take one part in so many of it */
    KEYS_SHARE = 8,        /* and the cache of keys, but not more than: */
    KEYS_BYTES_MAX = 256 << 20,
    MEMORY_BYTES_MIN = 48 << 20,
};

struct server {
    struct instance instance;
    struct telnet *telnet;
    struct http *http;
    struct front *front;
    struct self *self;
};

static void on_store_report(void *context, bool problem, const char *line) {
    report(problem ? REPORT_WARN : REPORT_INFO, REPORT_STORE, "%s", line);
}

/* ---- telnet's commands ---- */

static void command_stats(void *context, struct buf *out) {
    stats_text_lines(context, out);
}

static void command_version(void *context, struct buf *out) {
    stats_text_version(context, out);
}

static void command_shut_down(void *context) {
    struct instance *instance = context;
    if (instance->stop != NULL)
        instance->stop(instance->stop_context);
}

/* ---- the door ---- */

static void on_http(void *context, int connection, const struct sockaddr_storage *peer,
                    socklen_t peer_size) {
    struct server *server = context;
    http_adopt(server->http, connection, peer, peer_size);
}

static void on_telnet(void *context, int connection, const struct sockaddr_storage *peer) {
    struct server *server = context;
    telnet_adopt(server->telnet, connection, peer);
}

/* ---- the store ---- */

static size_t memory_limit(const struct config *config) {
    if (config->number[CONFIG_MEMORY_LIMIT] > 0)
        return config->number[CONFIG_MEMORY_LIMIT];
    uint64_t limit = machine_memory_limit() / 100 * MEMORY_SHARE_PERCENT;
    return limit < MEMORY_BYTES_MIN ? MEMORY_BYTES_MIN : limit;
}

/* "tmp.*:7d, *:365d" */
static enum rc parse_retention(const struct config *config, struct store_retention *rules,
                               uint32_t *count, struct err *err) {
    str left = config_str(config, CONFIG_RETENTION);
    *count = 0;
    while (left.n > 0) {
        size_t end = str_find(left, ',');
        str one = str_trim((str){left.p, end});
        left = str_from(left, end < left.n ? end + 1 : end);
        if (one.n == 0)
            continue;
        size_t colon = str_find(one, ':');
        uint64_t ms = 0;
        if (colon == one.n || colon == 0 || *count == RETENTION_RULES_MAX)
            return err_set(err, RC_INVALID,
                           "store.retention: expected pattern:duration, not \"%.*s\"",
                           STR_ARG(one));
        if (config_parse_duration(str_from(one, colon + 1), &ms, err) < 0) {
            err_context(err, "store.retention");
            return RC_INVALID;
        }
        if (ms == 0)
            return err_set(err, RC_INVALID, "store.retention: a duration must be more than zero");
        rules[(*count)++] = (struct store_retention){{one.p, colon}, (int64_t)ms};
    }
    return RC_OK;
}

static enum rc open_medium(struct instance *instance, struct err *err) {
    const struct config *config = instance->config;
    if (strcmp(config->text[CONFIG_STORE_MODE], "memory") == 0)
        return memory_medium_open(&instance->budget, &instance->medium, err);
    return file_medium_open(config->text[CONFIG_DATA_DIR], &instance->medium, err);
}

static enum rc open_store(struct instance *instance, struct err *err) {
    const struct config *config = instance->config;
    struct store_retention rules[RETENTION_RULES_MAX];
    struct store_options options;
    store_options_default(&options, (size_t)instance->budget.limit_bytes);
    TRY(parse_retention(config, rules, &options.retention_count, err));
    TRY(open_medium(instance, err));
    options.medium = instance->medium;
    options.clock = &clock_system;
    options.budget = &instance->budget;
    options.shards = (uint32_t)config->number[CONFIG_SHARDS];
    options.log.commit_interval_ms = (uint32_t)config->number[CONFIG_COMMIT_INTERVAL];
    options.log_bytes_max = config->number[CONFIG_LOG_BYTES];
    options.checkpoint_interval_s = (uint32_t)(config->number[CONFIG_CHECKPOINT] / 1000);
    options.window_ms = (int64_t)config->number[CONFIG_WINDOW];
    options.retention = rules;
    options.clock_patience_s = (uint32_t)(config->number[CONFIG_CLOCK_PATIENCE] / 1000);
    options.throttle_ms = (uint32_t)config->number[CONFIG_THROTTLE];
    options.background = true;
    options.report = on_store_report;
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        options.uid_width[kind] = (uint32_t)config->number[CONFIG_WIDTH_METRIC + kind];
        options.auto_create[kind] = config_true(config, CONFIG_AUTO_METRICS + kind);
    }
    return store_open(&options, &instance->store, err);
}

_Static_assert(CONFIG_WIDTH_TAGV == CONFIG_WIDTH_METRIC + 2 &&
                   CONFIG_AUTO_TAGVS == CONFIG_AUTO_METRICS + 2,
               "the keys of the kinds follow each other as the kinds do");

static enum rc prepare(struct instance *instance, struct config *config, struct err *err) {
    instance->config = config;
    instance->started_ms = clock_wall_ms(&clock_system);
    instance->processors = machine_processors();
    instance->rules.tags_max = (uint32_t)config->number[CONFIG_TAGS_MAX];
    instance->rules.special_chars = config_str(config, CONFIG_SPECIAL_CHARS);
    instance->writable = strcmp(config->text[CONFIG_MODE], "ro") != 0;
    instance->queryable = strcmp(config->text[CONFIG_MODE], "wo") != 0;
    machine_host_name(instance->host, sizeof(instance->host));
    atomic_init(&instance->state, INSTANCE_STARTING);
    size_t limit = memory_limit(config);
    budget_init(&instance->budget, limit, NULL);
    budget_init(&instance->query_budget, 0, &instance->budget);
    budget_leave(&instance->query_budget, limit / QUERIES_LEAVE);
    budget_init(&instance->connection_budget, limit / CONNECTIONS_SHARE, &instance->budget);
    if (timezone_find(config_str(config, CONFIG_TIMEZONE)) == NULL)
        return err_set(err, RC_INVALID, "tsd.core.timezone: there is no time zone \"%s\"",
                       config->text[CONFIG_TIMEZONE]);
    size_t share = limit / KEYS_SHARE;
    instance->keys = key_cache_new(share > 0 && share < KEYS_BYTES_MAX ? share : KEYS_BYTES_MAX,
                                   &instance->budget);
    return instance->keys == NULL ? err_set(err, RC_NOMEM, "out of memory") : RC_OK;
}

/* The door opens first: who asks while the store is recovered hears "starting" and not nothing, and
   a port that is taken is told before the store is touched. */
static enum rc open_door(struct server *server, struct err *err) {
    struct instance *instance = &server->instance;
    struct telnet_commands commands = {command_stats, command_version, command_shut_down, instance};
    struct front_handlers handlers = {on_http, on_telnet, server};
    uint64_t loops = instance->config->number[CONFIG_WORKERS];
    TRY(telnet_start(instance, &commands, loops == 0 ? instance->processors : (uint32_t)loops,
                     &server->telnet, err));
    TRY(http_start(instance, &server->http, err));
    return front_start(instance, &handlers, &server->front, err);
}

static void report_recovery(struct instance *instance, int64_t started_ns) {
    struct store_stats stats;
    store_stats(instance->store, &stats);
    report(REPORT_INFO, REPORT_STORE,
           "store open in %.3f s: %" PRIu64 " series, %" PRIu64 " segments, %" PRIu64
           " log records replayed%s",
           (double)(clock_monotonic_ns() - started_ns) / 1e9, index_series_count(instance->index),
           stats.segments, stats.replay.records,
           stats.replay.torn_tail_bytes > 0 ? " (an unfinished write at the end was cut off)" : "");
    if (stats.replay.damaged_records > 0)
        report(REPORT_ERROR, REPORT_STORE,
               "%" PRIu64 " damaged log records (%" PRIu64 " bytes) were skipped",
               stats.replay.damaged_records, stats.replay.damaged_bytes);
}

enum rc server_start(struct config *config, void (*stop)(void *context), void *context,
                     struct server **out, struct err *err) {
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    server->instance.stop = stop;
    server->instance.stop_context = context;
    int64_t started_ns = clock_monotonic_ns();
    struct instance *instance = &server->instance;
    enum rc rc = prepare(instance, config, err);
    if (rc == RC_OK)
        rc = open_door(server, err);
    if (rc == RC_OK)
        rc = open_store(instance, err);
    if (rc == RC_OK) {
        instance->index = store_index(instance->store);
        report_recovery(instance, started_ns);
        rc = forward_start(config, &instance->forward, err);
    }
    if (rc == RC_OK)
        rc = self_start(instance, &server->self, err);
    if (rc < 0) {
        struct err ignored;
        (void)server_stop(server, &ignored);
        return rc;
    }
    atomic_store(&instance->state, INSTANCE_READY);
    front_open(server->front);
    *out = server;
    return RC_OK;
}

unsigned server_port(const struct server *server) {
    return server->instance.port;
}

enum rc server_stop(struct server *server, struct err *err) {
    struct instance *instance = &server->instance;
    enum rc rc = RC_OK;
    if (instance_has_store(instance)) {
        atomic_store(&instance->state, INSTANCE_DRAINING);
        clock_sleep_ns((int64_t)instance->config->number[CONFIG_DRAIN_DELAY] * 1000000);
    }
    front_stop(server->front);
    telnet_stop(server->telnet);
    http_stop(server->http,
              instance->config == NULL ? 0 : (uint32_t)instance->config->number[CONFIG_DRAIN]);
    self_stop(server->self);
    forward_stop(instance->forward);
    key_cache_free(instance->keys);
    if (instance->store != NULL)
        rc = store_close(instance->store, err);
    medium_close(instance->medium);
    free(server);
    return rc;
}
