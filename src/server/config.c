#include "server/config.h"

#include "base/buf.h"
#include "base/scaled.h"
#include "os/file.h"
#include "server/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 20, KEY_BYTES_MAX = 128, MEMORY_BYTES_MIN = 16 << 20 };

#define DAY_MS UINT64_C(86400000)
#define YEAR_MS (365 * DAY_MS)

static const struct {
    const char *name;
    enum config_type type;
    const char *fallback;
    const char *flag;
    const char *help;
} keys[CONFIG_KEYS] = {
#define X(identifier, key, type, fallback, flag, help)                                             \
    [CONFIG_##identifier] = {key, CONFIG_##type, fallback, flag, help},
    CONFIG_TABLE(X)
#undef X
};

/* Where OpenTSDB has keys that mean nothing here. */
static const char *const ignored_prefixes[] = {
    "tsd.storage.",     "tsd.http.",    "tsd.core.",    "tsd.network.", "tsd.search.",
    "tsd.rtpublisher.", "tsd.rpc.",     "tsd.startup.", "tsd.uid",      "tsd.timeseries",
    "tsd.query.",       "tsd.rollups.", "tsd.stats.",   "tsd.plugins.", "hbase.",
    "tsd.blacklist.",   "tsd.gnuplot",
};

const char *config_name(enum config_key key) {
    return keys[key].name;
}

const char *config_flag(enum config_key key) {
    return keys[key].flag;
}

const char *config_help(enum config_key key) {
    return keys[key].help;
}

const char *config_default(enum config_key key) {
    return keys[key].fallback;
}

enum config_type config_type_of(enum config_key key) {
    return keys[key].type;
}

enum config_key config_find_flag(str flag) {
    for (int key = 0; key < CONFIG_KEYS; key++)
        if (keys[key].flag != NULL && str_eq(flag, str_of(keys[key].flag)))
            return (enum config_key)key;
    return CONFIG_KEYS;
}

enum rc config_parse_duration(str text, uint64_t *ms, struct err *err) {
    if (scaled_parse_duration(text, ms))
        return RC_OK;
    return err_set(err, RC_INVALID, "\"%.*s\" is not a duration such as 500ms, 10s, 5m, 2h or 7d",
                   STR_ARG(text));
}

/* "64M" or plain bytes. */
static enum rc parse_bytes(str text, uint64_t *bytes, struct err *err) {
    static const struct scaled_unit units[] = {
        {"k", 1 << 10},           {"ki", 1 << 10},           {"kib", 1 << 10},
        {"m", 1 << 20},           {"mi", 1 << 20},           {"mib", 1 << 20},
        {"g", 1 << 30},           {"gi", 1 << 30},           {"gib", 1 << 30},
        {"t", UINT64_C(1) << 40}, {"ti", UINT64_C(1) << 40},
    };
    if (scaled_parse(text, units, COUNT_OF(units), bytes))
        return RC_OK;
    return err_set(err, RC_INVALID, "\"%.*s\" is not a size such as 65536, 64M or 2G",
                   STR_ARG(text));
}

static bool parse_truth(str text, uint64_t *out) {
    static const char *const yes[] = {"true", "1", "yes"};
    static const char *const no[] = {"false", "0", "no"};
    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        *out = str_eq_nocase(text, str_of(yes[i]));
        if (*out != 0 || str_eq_nocase(text, str_of(no[i])))
            return true;
    }
    return false;
}

static enum rc parse(enum config_key key, str value, uint64_t *number, struct err *err) {
    *number = 0;
    enum rc rc = RC_OK;
    str rest;
    switch (keys[key].type) {
    case CONFIG_TEXT:
    case CONFIG_ADDRESS:
        return RC_OK;
    case CONFIG_MILLISECONDS:
        rc = config_parse_duration(value, number, err);
        break;
    case CONFIG_BYTES:
        rc = parse_bytes(value, number, err);
        break;
    case CONFIG_NUMBER:
        if (!scaled_split(value, number, &rest) || rest.n > 0)
            rc = err_set(err, RC_INVALID, "\"%.*s\" is not a number", STR_ARG(value));
        break;
    case CONFIG_TRUTH:
        if (!parse_truth(value, number))
            rc = err_set(err, RC_INVALID, "\"%.*s\" is neither true nor false", STR_ARG(value));
        break;
    }
    if (rc < 0)
        err_context(err, "%s", keys[key].name);
    return rc;
}

static enum rc set_key(struct config *config, enum config_key key, str value, struct err *err) {
    uint64_t number;
    char expanded[ADDRESS_TEXT_MAX];
    if (keys[key].type == CONFIG_ADDRESS) {
        if (address_expand(value, expanded, err) < 0) {
            err_context(err, "%s", keys[key].name);
            return RC_INVALID;
        }
        value = str_of(expanded);
    }
    TRY(parse(key, value, &number, err));
    char *text = strndup(value.p, value.n);
    if (text == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    free(config->text[key]);
    config->text[key] = text;
    config->number[key] = number;
    return RC_OK;
}

enum rc config_init(struct config *config, struct err *err) {
    *config = (struct config){0};
    for (int key = 0; key < CONFIG_KEYS; key++)
        if (set_key(config, (enum config_key)key, str_of(keys[key].fallback), err) < 0) {
            config_fini(config);
            return err == NULL ? RC_NOMEM : err->rc;
        }
    return RC_OK;
}

void config_fini(struct config *config) {
    for (int key = 0; key < CONFIG_KEYS; key++)
        free(config->text[key]);
    buf_fini(&config->ignored);
    *config = (struct config){0};
}

static void remember_ignored(struct config *config, str name) {
    if (config->ignored.n > 0)
        buf_str(&config->ignored, STR(", "));
    buf_str(&config->ignored, name);
}

enum rc config_set(struct config *config, str name, str value, struct err *err) {
    for (int key = 0; key < CONFIG_KEYS; key++)
        if (str_eq(name, str_of(keys[key].name)))
            return set_key(config, (enum config_key)key, value, err);
    for (size_t i = 0; i < COUNT_OF(ignored_prefixes); i++)
        if (str_starts(name, str_of(ignored_prefixes[i]))) {
            remember_ignored(config, name);
            return RC_OK;
        }
    return err_set(err, RC_INVALID,
                   "unknown configuration key \"%.*s\" (`barograph help serve` lists all)",
                   STR_ARG(name));
}

static enum rc load_line(struct config *config, str line, struct err *err) {
    line = str_trim(line);
    if (line.n == 0 || line.p[0] == '#' || line.p[0] == '!')
        return RC_OK;
    size_t eq = str_find(line, '=');
    if (eq == line.n)
        return err_set(err, RC_INVALID, "expected key = value");
    str key = str_trim((str){line.p, eq});
    str value = str_trim(str_from(line, eq + 1));
    return config_set(config, key, value, err);
}

enum rc config_load(struct config *config, const char *path, struct err *err) {
    struct buf text = {0};
    enum rc rc = file_read_all(path, FILE_BYTES_MAX, &text, err);
    str left = buf_view(&text);
    for (int number = 1; rc == RC_OK && left.n > 0; number++) {
        size_t end = str_find(left, '\n');
        rc = load_line(config, (str){left.p, end}, err);
        if (rc < 0)
            err_context(err, "%s line %d", path, number);
        left = str_from(left, end < left.n ? end + 1 : end);
    }
    buf_fini(&text);
    return rc;
}

/* "tsd.network.port" -> "TSD_NETWORK_PORT". */
static void variable_name(const char *key, char out[KEY_BYTES_MAX]) {
    size_t n = 0;
    for (; key[n] != '\0' && n + 1 < KEY_BYTES_MAX; n++) {
        char c = key[n];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            c = '_';
        out[n] = c;
    }
    out[n] = '\0';
}

/* The key a variable stands for (its name after BAROGRAPH_): the key's own name in capitals, or its
   flag's. */
static enum config_key find_variable(str name) {
    for (int key = 0; key < CONFIG_KEYS; key++) {
        char expected[KEY_BYTES_MAX];
        variable_name(keys[key].name, expected);
        if (str_eq(name, str_of(expected)))
            return (enum config_key)key;
        if (keys[key].flag == NULL)
            continue;
        variable_name(keys[key].flag, expected);
        if (str_eq(name, str_of(expected)))
            return (enum config_key)key;
    }
    return CONFIG_KEYS;
}

static enum rc set_from_file(struct config *config, enum config_key key, str path,
                             struct err *err) {
    char *terminated = strndup(path.p, path.n);
    struct buf text = {0};
    enum rc rc = terminated == NULL ? err_set(err, RC_NOMEM, "out of memory")
                                    : file_read_all(terminated, FILE_BYTES_MAX, &text, err);
    if (rc == RC_OK)
        rc = set_key(config, key, str_trim(buf_view(&text)), err);
    buf_fini(&text);
    free(terminated);
    return rc;
}

/* Kubernetes tells every container of every service of its namespace: one called "barograph" gives
   variables such as BAROGRAPH_SERVICE_HOST, BAROGRAPH_SERVICE_PORT_TSDB,
   BAROGRAPH_PORT=tcp://10.0.0.1:4242 and BAROGRAPH_PORT_4242_TCP_ADDR, one called
   "barograph-memory" BAROGRAPH_MEMORY_SERVICE_HOST and so on. */
static bool is_service_link(str name, str value) {
    static const char *const words[] = {"SERVICE_HOST", "SERVICE_PORT", "PORT"};
    for (size_t at = 0; at < name.n; at++) {
        if (at > 0 && name.p[at - 1] != '_')
            continue;
        str rest = str_from(name, at);
        if (str_eq(rest, str_of(words[0])) || str_starts(rest, str_of(words[1])))
            return true;
        if (!str_starts(rest, str_of(words[2])))
            continue;
        rest = str_from(rest, strlen(words[2]));
        if (rest.n == 0 && (str_starts(value, STR("tcp://")) || str_starts(value, STR("udp://"))))
            return true;
        if (rest.n > 1 && rest.p[0] == '_' && rest.p[1] >= '0' && rest.p[1] <= '9')
            return true;
    }
    return false;
}

static enum rc load_variable(struct config *config, str name, str value, struct err *err) {
    if (is_service_link(name, value))
        return RC_OK;
    enum config_key key = find_variable(name);
    if (key < CONFIG_KEYS)
        return set_key(config, key, value, err);
    str suffix = STR("_FILE");
    if (name.n > suffix.n && str_eq(str_from(name, name.n - suffix.n), suffix)) {
        key = find_variable((str){name.p, name.n - suffix.n});
        if (key < CONFIG_KEYS)
            return set_from_file(config, key, value, err);
    }
    return err_set(err, RC_INVALID, "no such option (`barograph help serve` lists all)");
}

enum rc config_load_environment(struct config *config, const char *const *environment,
                                struct err *err) {
    str prefix = STR("BAROGRAPH_");
    for (const char *const *at = environment; *at != NULL; at++) {
        str entry = str_of(*at);
        if (!str_starts(entry, prefix))
            continue;
        size_t eq = str_find(entry, '=');
        if (eq == entry.n)
            continue;
        if (str_eq((str){entry.p, eq}, STR(CONFIG_FILE_VARIABLE)))
            continue;
        str name = {entry.p + prefix.n, eq - prefix.n};
        if (load_variable(config, name, str_from(entry, eq + 1), err) < 0) {
            err_context(err, "environment variable %.*s", (int)eq, entry.p);
            return err == NULL ? RC_INVALID : err->rc;
        }
    }
    return RC_OK;
}

static enum rc check_range(const struct config *config, enum config_key key, uint64_t low,
                           uint64_t high, struct err *err) {
    if (config->number[key] >= low && config->number[key] <= high)
        return RC_OK;
    return err_set(err, RC_INVALID, "%s: %s is not between %llu and %llu", keys[key].name,
                   config->text[key], (unsigned long long)low, (unsigned long long)high);
}

static enum rc check_choice(const struct config *config, enum config_key key,
                            const char *const *choices, struct err *err) {
    for (; *choices != NULL; choices++)
        if (strcmp(config->text[key], *choices) == 0)
            return RC_OK;
    return err_set(err, RC_INVALID, "%s: \"%s\" is not one of its values (%s)", keys[key].name,
                   config->text[key], keys[key].help);
}

enum rc config_check(const struct config *config, struct err *err) {
    TRY(check_range(config, CONFIG_PORT, 0, 65535, err));
    TRY(check_range(config, CONFIG_SHARDS, 1, 64, err));
    TRY(check_range(config, CONFIG_TAGS_MAX, 1, 32, err));
    TRY(check_range(config, CONFIG_WORKERS, 0, 64, err));
    TRY(check_range(config, CONFIG_QUERY_THREADS, 0, 64, err));
    TRY(check_range(config, CONFIG_CONNECTIONS, 0, 65536, err));
    TRY(check_range(config, CONFIG_BACKLOG, 1, 65535, err));
    TRY(check_range(config, CONFIG_BODY_MAX, 1, UINT32_MAX, err));
    TRY(check_range(config, CONFIG_SOCKET_TIMEOUT, 0, YEAR_MS / 1000, err));
    TRY(check_range(config, CONFIG_QUERY_TIMEOUT, 0, YEAR_MS, err));
    TRY(check_range(config, CONFIG_CHECKPOINT, 1000, YEAR_MS, err));
    TRY(check_range(config, CONFIG_SELF_INTERVAL, 0, YEAR_MS, err));
    TRY(check_range(config, CONFIG_THROTTLE, 0, DAY_MS, err));
    TRY(check_range(config, CONFIG_DRAIN, 0, DAY_MS, err));
    TRY(check_range(config, CONFIG_QUERIES, 0, 65536, err));
    TRY(check_range(config, CONFIG_EXPANSION, 0, UINT32_MAX, err));
    TRY(check_range(config, CONFIG_LIMIT_BYTES, 0, UINT32_MAX, err));
    if (config->number[CONFIG_MEMORY_LIMIT] != 0)
        TRY(check_range(config, CONFIG_MEMORY_LIMIT, MEMORY_BYTES_MIN, INT64_MAX, err));
    TRY(check_range(config, CONFIG_WINDOW, 60000, INT64_MAX, err));
    TRY(check_range(config, CONFIG_CLOCK_PATIENCE, 0, UINT64_C(365) * 86400000, err));
    TRY(check_range(config, CONFIG_COMMIT_INTERVAL, 1, 60000, err));
    TRY(check_range(config, CONFIG_WIDTH_METRIC, 1, 7, err));
    TRY(check_range(config, CONFIG_WIDTH_TAGK, 1, 7, err));
    TRY(check_range(config, CONFIG_WIDTH_TAGV, 1, 7, err));
    TRY(check_choice(config, CONFIG_STORE_MODE, (const char *const[]){"durable", "memory", NULL},
                     err));
    TRY(check_choice(config, CONFIG_MODE, (const char *const[]){"rw", "ro", "wo", NULL}, err));
    TRY(check_choice(config, CONFIG_FORMAT, (const char *const[]){"text", "json", NULL}, err));
    TRY(check_choice(config, CONFIG_LEVEL,
                     (const char *const[]){"debug", "info", "warn", "error", NULL}, err));
    struct address ignored;
    str forward = config_str(config, CONFIG_SELF_FORWARD);
    if (forward.n > 0 && address_parse(forward, 1, &ignored, err) < 0) {
        err_context(err, "%s", keys[CONFIG_SELF_FORWARD].name);
        return RC_INVALID;
    }
    str origins = config_str(config, CONFIG_CORS_DOMAINS);
    if (str_find(origins, '*') < origins.n && origins.n > 1)
        return err_set(err, RC_INVALID,
                       "tsd.http.request.cors_domains: \"*\" must stand alone, not in a list");
    return RC_OK;
}
