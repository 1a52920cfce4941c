#include "kube/cluster.h"

#include "kube/cluster_value.h"
#include "model/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    VARIABLE_BYTES_MAX = 160,
    GRACE_OVER_DRAIN_SECONDS = 5,
    LOGS_ON_VOLUME = 4 /* the log, the one a checkpoint keeps, and segments made of both */
};

static const struct {
    const char *name;
    enum cluster_value_kind kind;
    const char *fallback;
    const char *allowed;
    const char *help;
} keys[CLUSTER_KEYS] = {
#define X(identifier, name, kind, fallback, allowed, help)                                         \
    [CLUSTER_##identifier] = {name, CLUSTER_VALUE_##kind, fallback, allowed, help},
    CLUSTER_TABLE(X)
#undef X
};

/* Keys of the server that the manifests set themselves. */
static const struct {
    const char *key;
    const char *instead;
} owned[] = {
    {"tsd.network.port", "use the label " LABELS_PREFIX "port"},
    {"tsd.network.bind", "a Pod listens on all its addresses; leave it out"},
    {"store.data_dir", "the volume is mounted at /data; leave it out"},
    {"store.mode", "use the label " LABELS_PREFIX "storage (none is memory only)"},
    {"store.retention", "use the label " LABELS_PREFIX "retention"},
    {"memory.limit", "use the label " LABELS_PREFIX "memory, which the server reads"},
};

struct reading {
    struct cluster *cluster;
    const struct cluster_options *options;
    struct arena *arena;
    struct problems *problems;
    const struct label *given[CLUSTER_KEYS]; /* NULL: the default counts */
    bool wrong[CLUSTER_KEYS];
};

const char *cluster_name(enum cluster_key key) {
    return keys[key].name;
}

const char *cluster_default(enum cluster_key key) {
    return keys[key].fallback;
}

const char *cluster_allowed(enum cluster_key key) {
    return keys[key].allowed;
}

const char *cluster_help(enum cluster_key key) {
    return keys[key].help;
}

bool cluster_in_memory(const struct cluster *cluster) {
    return str_eq(cluster->text[CLUSTER_STORAGE], STR("none"));
}

bool cluster_calls_out(const struct cluster *cluster) {
    for (size_t i = 0; i < cluster->setting_count; i++)
        if (str_eq(cluster->settings[i].variable, STR("BAROGRAPH_SELF_FORWARD")))
            return cluster->settings[i].value.n > 0;
    return false;
}

/* ---- single labels ---- */

static bool is_plain_text(str text) {
    uint32_t code_point;
    for (size_t i = 0; i < text.n;) {
        size_t n = utf8_decode(text.p + i, text.n - i, &code_point);
        if (n == 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0) ||
            code_point == 0x2028 || code_point == 0x2029 || code_point == 0xfeff ||
            (code_point & 0xfffe) == 0xfffe)
            return false;
        i += n;
    }
    return true;
}

static void set_value(struct reading *reading, enum cluster_key key, const struct label *label) {
    reading->given[key] = label;
    uint64_t *number = &reading->cluster->number[key];
    const char *wrong = cluster_value_check(keys[key].kind, label->value, number);
    reading->wrong[key] = wrong != NULL;
    reading->cluster->text[key] = label->value;
    if (wrong != NULL)
        problems_add(reading->problems, label->line, label->name, "\"%.*s\" %s; allowed: %s",
                     STR_ARG(label->value), wrong, keys[key].allowed);
}

static void refuse_unknown(struct reading *reading, const struct label *label) {
    struct buf names = {0};
    for (int key = 0; key < CLUSTER_KEYS; key++)
        buf_printf(&names, "%s, ", keys[key].name);
    problems_add(reading->problems, label->line, label->name,
                 "no such label; allowed below " LABELS_PREFIX ": %.*s" CLUSTER_CONFIG_PREFIX
                 "<key of the server>",
                 STR_ARG(buf_view(&names)));
    buf_fini(&names);
}

/* "tsd.network.port" -> "BAROGRAPH_TSD_NETWORK_PORT". */
static str variable_of(struct arena *arena, str key) {
    char out[VARIABLE_BYTES_MAX] = "BAROGRAPH_";
    size_t n = strlen(out);
    for (size_t i = 0; i < key.n && n < sizeof(out); i++) {
        char c = key.p[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            c = '_';
        out[n++] = c;
    }
    return arena_str(arena, (str){out, n});
}

static enum rc add_setting(struct reading *reading, str key, str value) {
    struct cluster *cluster = reading->cluster;
    str variable = variable_of(reading->arena, key);
    if (variable.p == NULL)
        return RC_NOMEM;
    cluster->settings[cluster->setting_count++] = (struct cluster_setting){variable, value};
    return RC_OK;
}

static enum rc set_server_key(struct reading *reading, const struct label *label, str key) {
    const struct cluster_server *server = reading->options->server;
    for (size_t i = 0; i < COUNT_OF(owned); i++)
        if (str_eq(key, str_of(owned[i].key))) {
            problems_add(reading->problems, label->line, label->name,
                         "contradicts the manifests, which set it: %s", owned[i].instead);
            return RC_OK;
        }
    if (!is_plain_text(label->value)) {
        problems_add(reading->problems, label->line, label->name,
                     "the value must be text in UTF-8 without control characters");
        return RC_OK;
    }
    struct err err = {0};
    enum rc rc = server->set(server->context, key, label->value, &err);
    if (rc == RC_NOMEM)
        return rc;
    if (rc == RC_OK)
        return add_setting(reading, key, label->value);
    str text = str_of(err.message);
    if (str_starts(text, key) && str_starts(str_from(text, key.n), STR(": ")))
        text = str_from(text, key.n + 2);
    problems_add(reading->problems, label->line, label->name, "%.*s", STR_ARG(text));
    return RC_OK;
}

static enum rc read_label(struct reading *reading, const struct label *label) {
    str prefix = STR(LABELS_PREFIX);
    if (label->unreadable != NULL) {
        problems_add(reading->problems, label->line, label->name, "its value cannot be known: %s",
                     label->unreadable);
        return RC_OK;
    }
    if (str_starts(label->name, prefix)) {
        str name = str_from(label->name, prefix.n);
        if (str_starts(name, STR(CLUSTER_CONFIG_PREFIX)))
            return set_server_key(reading, label,
                                  str_from(name, sizeof(CLUSTER_CONFIG_PREFIX) - 1));
        for (int key = 0; key < CLUSTER_KEYS; key++)
            if (str_eq(name, str_of(keys[key].name))) {
                set_value(reading, (enum cluster_key)key, label);
                return RC_OK;
            }
    }
    refuse_unknown(reading, label);
    return RC_OK;
}

/* ---- what comes from elsewhere ---- */

static void set_defaults(struct reading *reading) {
    struct cluster *cluster = reading->cluster;
    for (int key = 0; key < CLUSTER_KEYS; key++) {
        cluster->text[key] = str_of(keys[key].fallback);
        cluster->number[key] = 0;
        if (cluster->text[key].n > 0)
            (void)cluster_value_check(keys[key].kind, cluster->text[key], &cluster->number[key]);
    }
}

static void choose_image(struct reading *reading) {
    const struct cluster_options *options = reading->options;
    str *image = &reading->cluster->text[CLUSTER_IMAGE];
    uint64_t number;
    if (options->image.n > 0) {
        *image = options->image;
    } else if (reading->given[CLUSTER_IMAGE] == NULL && options->image_saved_as.n > 0) {
        *image = options->image_saved_as;
        const char *wrong = cluster_value_check(CLUSTER_VALUE_IMAGE, *image, &number);
        if (wrong != NULL)
            problems_add(reading->problems, 0, STR(LABELS_PREFIX "image"),
                         "the image was saved as \"%.*s\", which %s; give this label or --image; "
                         "allowed: %s",
                         STR_ARG(*image), wrong, keys[CLUSTER_IMAGE].allowed);
    } else if (reading->given[CLUSTER_IMAGE] == NULL) {
        *image = options->image_fallback;
    }
}

static enum rc add_retention(struct reading *reading) {
    str text = reading->cluster->text[CLUSTER_RETENTION];
    if (text.n == 0)
        return RC_OK;
    if (str_find(text, ':') == text.n) {
        struct buf all = {0};
        buf_printf(&all, "*:%.*s", STR_ARG(text));
        text = arena_str(reading->arena, buf_view(&all));
        buf_fini(&all);
    }
    return text.p == NULL ? RC_NOMEM : add_setting(reading, STR("store.retention"), text);
}

/* What suits a cluster better than the server's own default, unless a label says otherwise. */
static const struct preference {
    const char *key;
    const char *value;
    const char *variable;
} preferences[] = {
    {"log.format", "json", "BAROGRAPH_LOG_FORMAT"},
};

static bool is_set(const struct cluster *cluster, const char *variable) {
    for (size_t i = 0; i < cluster->setting_count; i++)
        if (str_eq(cluster->settings[i].variable, str_of(variable)))
            return true;
    return false;
}

static enum rc add_preferences(struct reading *reading) {
    const struct cluster_server *server = reading->options->server;
    for (size_t i = 0; i < COUNT_OF(preferences); i++) {
        const struct preference *p = &preferences[i];
        if (is_set(reading->cluster, p->variable))
            continue;
        TRY(server->set(server->context, str_of(p->key), str_of(p->value), NULL));
        TRY(add_setting(reading, str_of(p->key), str_of(p->value)));
    }
    return RC_OK;
}

/* ---- contradictions ---- */

/* Adds a contradiction of `key` as given. */
#define CONTRADICT(reading, key, ...)                                                              \
    problems_add((reading)->problems, (reading)->given[key]->line, (reading)->given[key]->name,    \
                 __VA_ARGS__)

static void check_storage(struct reading *reading) {
    const struct cluster *cluster = reading->cluster;
    const struct cluster_server *server = reading->options->server;
    uint64_t log = server->number(server->context, "log.bytes_max");
    if (reading->given[CLUSTER_STORAGE_CLASS] != NULL && cluster_in_memory(cluster))
        CONTRADICT(reading, CLUSTER_STORAGE_CLASS,
                   "contradicts " LABELS_PREFIX "storage, which is none: there is no volume");
    if (!cluster_in_memory(cluster) && !reading->wrong[CLUSTER_STORAGE] &&
        cluster->number[CLUSTER_STORAGE] / LOGS_ON_VOLUME < log)
        problems_add(
            reading->problems,
            reading->given[CLUSTER_STORAGE] == NULL ? 0 : reading->given[CLUSTER_STORAGE]->line,
            STR(LABELS_PREFIX "storage"),
            "\"%.*s\" is too small for log.bytes_max; allowed: %d times that or more",
            STR_ARG(cluster->text[CLUSTER_STORAGE]), LOGS_ON_VOLUME);
}

static void check_ingress(struct reading *reading) {
    static const enum cluster_key dependent[] = {CLUSTER_INGRESS_CLASS, CLUSTER_INGRESS_TLS};
    for (size_t i = 0; i < COUNT_OF(dependent); i++)
        if (reading->given[dependent[i]] != NULL && reading->given[CLUSTER_INGRESS_HOST] == NULL)
            CONTRADICT(reading, dependent[i],
                       "contradicts that there is no " LABELS_PREFIX "ingress-host");
}

static void check_resources(struct reading *reading) {
    const struct cluster *cluster = reading->cluster;
    const struct cluster_server *server = reading->options->server;
    static const char *const parts[] = {"query.memory_max", "http.body_bytes_max"};
    if (reading->given[CLUSTER_CPU_LIMIT] != NULL && !reading->wrong[CLUSTER_CPU_LIMIT] &&
        !reading->wrong[CLUSTER_CPU] &&
        cluster->number[CLUSTER_CPU_LIMIT] < cluster->number[CLUSTER_CPU])
        CONTRADICT(reading, CLUSTER_CPU_LIMIT,
                   "\"%.*s\" contradicts " LABELS_PREFIX "cpu, of which \"%.*s\" is requested; "
                   "allowed: as much or more",
                   STR_ARG(cluster->text[CLUSTER_CPU_LIMIT]), STR_ARG(cluster->text[CLUSTER_CPU]));
    for (size_t i = 0; i < COUNT_OF(parts) && !reading->wrong[CLUSTER_MEMORY]; i++)
        if (server->number(server->context, parts[i]) > cluster->number[CLUSTER_MEMORY])
            problems_add(
                reading->problems,
                reading->given[CLUSTER_MEMORY] == NULL ? 0 : reading->given[CLUSTER_MEMORY]->line,
                STR(LABELS_PREFIX "memory"),
                "\"%.*s\" contradicts %s, which is larger; allowed: that or more",
                STR_ARG(cluster->text[CLUSTER_MEMORY]), parts[i]);
}

static void check_grace(struct reading *reading) {
    const struct cluster_server *server = reading->options->server;
    uint64_t drain_ms = server->number(server->context, "server.drain_delay") +
                        server->number(server->context, "server.drain");
    uint64_t least = drain_ms / 1000 + (drain_ms % 1000 > 0) + GRACE_OVER_DRAIN_SECONDS;
    const struct label *label = reading->given[CLUSTER_TERMINATION_GRACE];
    if (!reading->wrong[CLUSTER_TERMINATION_GRACE] &&
        reading->cluster->number[CLUSTER_TERMINATION_GRACE] < least)
        problems_add(reading->problems, label == NULL ? 0 : label->line,
                     STR(LABELS_PREFIX "termination-grace"),
                     "\"%.*s\" contradicts server.drain_delay and server.drain: the Pod would be "
                     "killed before it has stopped; allowed: %llus or more",
                     STR_ARG(reading->cluster->text[CLUSTER_TERMINATION_GRACE]),
                     (unsigned long long)least);
}

#undef CONTRADICT

static int compare_settings(const void *a, const void *b) {
    return str_cmp(((const struct cluster_setting *)a)->variable,
                   ((const struct cluster_setting *)b)->variable);
}

static void refuse_nothing(struct problems *problems) {
    problems_add(problems, 0, STR(""),
                 "no label describes a cluster. If the defaults are what you "
                 "want, one is enough: LABEL " LABELS_PREFIX "name=\"barograph\". "
                 "`barograph help kube` lists all");
}

enum rc cluster_read(const struct labels *labels, const struct cluster_options *options,
                     struct arena *arena, struct cluster *cluster, struct problems *problems) {
    struct reading reading = {
        .cluster = cluster, .options = options, .arena = arena, .problems = problems};
    *cluster = (struct cluster){0};
    cluster->settings =
        ARENA_ARRAY(arena, struct cluster_setting, labels->n + 1 + COUNT_OF(preferences));
    if (cluster->settings == NULL)
        return RC_NOMEM;
    set_defaults(&reading);
    if (labels->n == 0 && problems->count == 0)
        refuse_nothing(problems);
    for (size_t i = 0; i < labels->n; i++)
        TRY(read_label(&reading, &labels->p[i]));
    choose_image(&reading);
    TRY(add_retention(&reading));
    TRY(add_preferences(&reading));
    check_storage(&reading);
    check_ingress(&reading);
    check_resources(&reading);
    check_grace(&reading);
    qsort(cluster->settings, cluster->setting_count, sizeof(cluster->settings[0]),
          compare_settings);
    return RC_OK;
}
