/*
 * Configuration: one table of keys, read from a file, the environment and the command line.
 *
 * Later sources win: defaults, configuration file, environment, command line. Every key can be
 * given in a file         tsd.network.port = 4242        (properties: # comments, key = value) in
 * the environment BAROGRAPH_TSD_NETWORK_PORT    (upper case, other characters become _), and
 *                     BAROGRAPH_TSD_NETWORK_PORT_FILE names a file that holds the value
 *   as an option      --set tsd.network.port=4242, or its own flag (--port 4242)
 * OpenTSDB's keys keep their names and their meaning; keys of OpenTSDB that have none here (HBase,
 * ZooKeeper, plugins) are accepted and ignored, so that an existing opentsdb.conf works as it is.
 * They are listed at the start, because a misspelt key may look like one.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address is a text in which ${NAME} is replaced (server/address.h). */
enum config_type {
    CONFIG_NUMBER,
    CONFIG_BYTES,
    CONFIG_MILLISECONDS,
    CONFIG_TRUTH,
    CONFIG_TEXT,
    CONFIG_ADDRESS
};

/* X(identifier, key, type, default, flag or NULL, help) */
#define CONFIG_TABLE(X)                                                                            \
    X(PORT, "tsd.network.port", NUMBER, "4242", "port", "TCP port for HTTP and telnet")            \
    X(BIND, "tsd.network.bind", ADDRESS, "0.0.0.0", "bind",                                        \
      "address to listen on; ${NAME} stands for an environment variable")                          \
    X(BACKLOG, "tsd.network.backlog", NUMBER, "3072", NULL, "connections waiting to be accepted")  \
    X(NO_DELAY, "tsd.network.tcp_no_delay", TRUTH, "true", NULL, "send small replies at once")     \
    X(KEEP_ALIVE, "tsd.network.keep_alive", TRUTH, "true", NULL, "notice dead peers")              \
    X(WORKERS, "tsd.network.worker_threads", NUMBER, "0", NULL,                                    \
      "threads that serve telnet (0: one a processor)")                                            \
    X(DATA_DIR, "store.data_dir", TEXT, "data", "data-dir", "directory of the embedded store")     \
    X(STORE_MODE, "store.mode", TEXT, "durable", NULL,                                             \
      "durable (log and segments in store.data_dir) or memory (nothing on disk)")                  \
    X(SHARDS, "store.shards", NUMBER, "4", NULL, "shards of a new store; fixed once created")      \
    X(WINDOW, "store.window", MILLISECONDS, "1d", NULL, "time window of a fresh segment")          \
    X(CHECKPOINT, "store.checkpoint_interval", MILLISECONDS, "10m", NULL,                          \
      "heads become segments at least this often")                                                 \
    X(RETENTION, "store.retention", TEXT, "", NULL,                                                \
      "pattern:duration, ...: how long points of metrics are kept, first match counts "            \
      "(\"tmp.*:7d,*:365d\"); empty: for ever")                                                    \
    X(CLOCK_PATIENCE, "store.clock_patience", MILLISECONDS, "1h", NULL,                            \
      "after a start or a jump of the clock store.retention only hides points for so long before " \
      "it removes them")                                                                           \
    X(MEMORY_LIMIT, "memory.limit", BYTES, "0", NULL,                                              \
      "memory budget (0: from the control group or the machine)")                                  \
    X(COMMIT_INTERVAL, "log.commit_interval", MILLISECONDS, "50ms", NULL,                          \
      "how long a telnet put may stay volatile")                                                   \
    X(LOG_BYTES, "log.bytes_max", BYTES, "96M", NULL, "a longer log starts a checkpoint")          \
    X(THROTTLE, "store.throttle", MILLISECONDS, "5s", NULL,                                        \
      "how long a writer is slowed down for memory before it is refused")                          \
    X(LEVEL, "log.level", TEXT, "info", NULL, "what is reported: debug, info, warn, error")        \
    X(FORMAT, "log.format", TEXT, "text", NULL, "how it is reported: text or json")                \
    X(AUTO_METRICS, "tsd.core.auto_create_metrics", TRUTH, "true", "auto-metric",                  \
      "create metrics on first use")                                                               \
    X(AUTO_TAGKS, "tsd.core.auto_create_tagks", TRUTH, "true", NULL, "create tag keys")            \
    X(AUTO_TAGVS, "tsd.core.auto_create_tagvs", TRUTH, "true", NULL, "create tag values")          \
    X(TAGS_MAX, "tsd.storage.max_tags", NUMBER, "8", NULL, "tags a series may have (up to 32)")    \
    X(SPECIAL_CHARS, "tsd.core.tag.allow_specialchars", TEXT, "", NULL,                            \
      "further characters allowed in names")                                                       \
    X(WIDTH_METRIC, "tsd.storage.uid.width.metric", NUMBER, "3", NULL, "bytes of metric UIDs")     \
    X(WIDTH_TAGK, "tsd.storage.uid.width.tagk", NUMBER, "3", NULL, "bytes of tag key UIDs")        \
    X(WIDTH_TAGV, "tsd.storage.uid.width.tagv", NUMBER, "3", NULL, "bytes of tag value UIDs")      \
    X(MODE, "tsd.mode", TEXT, "rw", NULL, "rw, ro (no writes) or wo (no queries)")                 \
    X(ENABLE_API, "tsd.core.enable_api", TRUTH, "true", NULL, "serve /api")                        \
    X(ENABLE_UI, "tsd.core.enable_ui", TRUTH, "true", NULL, "serve the other pages")               \
    X(TIMEZONE, "tsd.core.timezone", TEXT, "UTC", NULL, "zone of dates without one")               \
    X(CONNECTIONS, "tsd.core.connections.limit", NUMBER, "4096", NULL,                             \
      "connections at the same time (0: 65536)")                                                   \
    X(SOCKET_TIMEOUT, "tsd.core.socket.timeout", NUMBER, "0", NULL,                                \
      "seconds after which an idle connection is closed (0: 300 for HTTP, never for telnet)")      \
    X(BODY_MAX, "http.body_bytes_max", BYTES, "64M", NULL,                                         \
      "longest request body, also after decompression; more is 413")                               \
    X(CORS_DOMAINS, "tsd.http.request.cors_domains", TEXT, "", NULL, "origins allowed, or *")      \
    X(CORS_HEADERS, "tsd.http.request.cors_headers", TEXT,                                         \
      "Authorization, Content-Type, Accept, Origin, User-Agent, DNT, Cache-Control, "              \
      "X-Mx-ReqToken, "                                                                            \
      "Keep-Alive, X-Requested-With, If-Modified-Since",                                           \
      NULL, "headers allowed across origins")                                                      \
    X(ALLOW_DELETE, "tsd.http.query.allow_delete", TRUTH, "false", NULL,                           \
      "allow deletes by /api/query")                                                               \
    X(QUERY_TIMEOUT, "tsd.query.timeout", NUMBER, "120000", NULL,                                  \
      "milliseconds a query may take (0: no limit)")                                               \
    X(SKIP_METRICS, "tsd.query.skip_unknown_metrics", TRUTH, "false", NULL,                        \
      "leave out sub queries of unknown metrics instead of failing")                               \
    X(SKIP_TAGVS, "tsd.query.skip_unresolved_tagvs", TRUTH, "false", NULL,                         \
      "ignore unknown tag values in literal filters")                                              \
    X(EXPANSION, "tsd.query.filter.expansion_limit", NUMBER, "4096", NULL,                         \
      "literals of one filter that are looked up one by one")                                      \
    X(LIMIT_BYTES, "tsd.query.limits.bytes.default", NUMBER, "0", NULL,                            \
      "MiB a query may read from storage (0: no limit)")                                           \
    X(LIMIT_POINTS, "tsd.query.limits.data_points.default", NUMBER, "0", NULL,                     \
      "points a query may read (0: no limit)")                                                     \
    X(QUERY_THREADS, "query.threads", NUMBER, "0", NULL,                                           \
      "threads of one query (0: one a processor)")                                                 \
    X(QUERY_MEMORY, "query.memory_max", BYTES, "0", NULL,                                          \
      "memory one query may use (0: a quarter of memory.limit)")                                   \
    X(QUERIES, "query.concurrent_max", NUMBER, "0", NULL,                                          \
      "queries that run at the same time, others wait (0: two a processor)")                       \
    X(RETURN_ERRORS, "tsd.rpc.telnet.return_errors", TRUTH, "true", NULL,                          \
      "answer telnet puts that could not be stored")                                               \
    X(NO_DIEDIEDIE, "tsd.no_diediedie", TRUTH, "true", NULL,                                       \
      "refuse the diediedie command (it stops the server)")                                        \
    X(STATS_PORT, "tsd.core.stats_with_port", TRUTH, "false", NULL,                                \
      "tag statistics with the port")                                                              \
    X(SELF_INTERVAL, "self.interval", MILLISECONDS, "10s", NULL,                                   \
      "how often the server records itself and its host (0: never)")                               \
    X(SELF_FORWARD, "self.forward", ADDRESS, "", NULL,                                             \
      "host[:port] of another Barograph or OpenTSDB that is sent the same statistics by telnet; "  \
      "${NAME} stands for an environment variable, as in ${METRICS_SERVICE_HOST}")                 \
    X(DRAIN_DELAY, "server.drain_delay", MILLISECONDS, "0", NULL,                                  \
      "how long the server goes on as usual after SIGTERM, but not ready, until those who route "  \
      "to it have noticed")                                                                        \
    X(DRAIN, "server.drain", MILLISECONDS, "10s", NULL, "how long requests under way may then take")

enum config_key {
#define X(identifier, key, type, fallback, flag, help) CONFIG_##identifier,
    CONFIG_TABLE(X)
#undef X
        CONFIG_KEYS
};

struct config {
    char *text[CONFIG_KEYS];      /* effective text, owned */
    uint64_t number[CONFIG_KEYS]; /* parsed: number, bytes, milliseconds, 0 or 1 */
    struct buf ignored;           /* names of keys that were ignored, ", " between them */
};

/* Sets all defaults. */
enum rc config_init(struct config *config, struct err *err) MUST_USE;
void config_fini(struct config *config);

/* Sets one key; unknown keys that OpenTSDB has are ignored, others are RC_INVALID, as are values
   that do not fit the key. */
enum rc config_set(struct config *config, str key, str value, struct err *err) MUST_USE;

/* Reads a properties file. Errors name the file and line. */
enum rc config_load(struct config *config, const char *path, struct err *err) MUST_USE;

/* The variable that stands for --config; the caller passes its value to config_load. */
#define CONFIG_FILE_VARIABLE "BAROGRAPH_CONFIG"

/* Reads all other BAROGRAPH_... variables of `environment` ("NAME=value", NULL at the end). Unknown
   ones are errors: a misspelt limit must not be silently without effect. */
enum rc config_load_environment(struct config *config, const char *const *environment,
                                struct err *err) MUST_USE;

/* Checks what spans keys (modes, ranges, CORS "*" alone). */
enum rc config_check(const struct config *config, struct err *err) MUST_USE;

const char *config_name(enum config_key key);
const char *config_flag(enum config_key key); /* or NULL */
const char *config_help(enum config_key key);
const char *config_default(enum config_key key);
enum config_type config_type_of(enum config_key key);

/* The key of a command-line flag ("port"), or CONFIG_KEYS. */
enum config_key config_find_flag(str flag);

static inline str config_str(const struct config *config, enum config_key key) {
    return str_of(config->text[key]);
}

static inline bool config_true(const struct config *config, enum config_key key) {
    return config->number[key] != 0;
}

/* "500ms", "10s", "5m", "2h", "7d", "1w" or plain milliseconds. */
enum rc config_parse_duration(str text, uint64_t *ms, struct err *err) MUST_USE;
