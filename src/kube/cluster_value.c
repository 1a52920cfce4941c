#include "kube/cluster_value.h"

#include "base/attr.h"
#include "base/scaled.h"

#include <stdbool.h>

enum {
    NAME_MAX_BYTES = 52, /* a StatefulSet adds "-" and a hash to it, in a label of 63 */
    LABEL_MAX_BYTES = 63,
    SUBDOMAIN_MAX_BYTES = 253,
    TAG_MAX_BYTES = 128,
    CPU_MIN_MILLI = 10,
    PORT_MIN = 1024,
    GRACE_MAX_SECONDS = 3600
};

#define STORAGE_MIN_BYTES (UINT64_C(512) << 20)
#define MEMORY_MIN_BYTES (UINT64_C(64) << 20)

/* ---- names ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

/* DNS-1123 label. */
static bool is_dns_label(str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!is_lower(text.p[i]) && !is_digit(text.p[i]) && text.p[i] != '-')
            return false;
    return text.n > 0 && text.n <= LABEL_MAX_BYTES && text.p[0] != '-' && text.p[text.n - 1] != '-';
}

/* DNS-1123 subdomain: labels with dots between them. */
static bool is_subdomain(str text) {
    if (text.n > SUBDOMAIN_MAX_BYTES)
        return false;
    for (;;) {
        size_t dot = str_find(text, '.');
        if (!is_dns_label((str){text.p, dot}))
            return false;
        if (dot == text.n)
            return true;
        text = str_from(text, dot + 1);
    }
}

static const char *check_name(str text, uint64_t *number) {
    if (text.n > NAME_MAX_BYTES)
        return "is too long";
    return is_dns_label(text) && is_lower(text.p[0]) ? NULL : "is no name of an object";
}

static const char *check_namespace(str text, uint64_t *number) {
    if (!is_dns_label(text))
        return "is no name of a namespace";
    if (str_eq(text, STR("default")) || str_starts(text, STR("kube-")))
        return "belongs to the cluster, and the manifests would change how secure its Pods must be";
    return NULL;
}

static const char *check_subdomain(str text, uint64_t *number) {
    return is_subdomain(text) ? NULL : "is no name of an object";
}

static const char *check_host(str text, uint64_t *number) {
    str host = str_starts(text, STR("*.")) ? str_from(text, 2) : text;
    if (!is_subdomain(host))
        return "is no host name";
    bool digits = true;
    for (size_t i = host.n; digits && i > 0 && host.p[i - 1] != '.'; i--)
        digits = is_digit(host.p[i - 1]);
    return digits ? "is an address, and an Ingress needs a name" : NULL;
}

/* ---- references of images ---- */

/* a-z 0-9 with single . _ or -- between: what registries call a path component. */
static bool is_path_component(str text) {
    for (size_t i = 0; i < text.n; i++)
        if (!is_lower(text.p[i]) && !is_digit(text.p[i]) &&
            (str_find(STR("._-"), text.p[i]) == 3 || i == 0 || i + 1 == text.n))
            return false;
    return text.n > 0;
}

/* A host with an optional port: only the first component, and only if it looks like one. */
static bool is_registry(str text) {
    size_t colon = str_find(text, ':');
    for (size_t i = colon + 1; i < text.n; i++)
        if (!is_digit(text.p[i]))
            return false;
    str host = {text.p, colon};
    bool looks = colon < text.n || str_find(host, '.') < host.n || str_eq(host, STR("localhost"));
    return looks && colon + 1 != text.n && is_subdomain(host);
}

static bool is_repository(str text) {
    for (bool first = true;; first = false) {
        size_t slash = str_find(text, '/');
        str part = {text.p, slash};
        bool last = slash == text.n;
        if (!is_path_component(part) && !(first && !last && is_registry(part)))
            return false;
        if (last)
            return true;
        text = str_from(text, slash + 1);
    }
}

static bool is_tag(str text) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool word = is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return text.n > 0 && text.n <= TAG_MAX_BYTES;
}

static bool is_digest(str text) {
    str prefix = STR("sha256:");
    if (!str_starts(text, prefix) || text.n != prefix.n + 64)
        return false;
    for (size_t i = prefix.n; i < text.n; i++)
        if (!is_digit(text.p[i]) && !(text.p[i] >= 'a' && text.p[i] <= 'f'))
            return false;
    return true;
}

static const char *check_image(str text, uint64_t *number) {
    size_t at = str_find(text, '@');
    if (at < text.n && !is_digest(str_from(text, at + 1)))
        return "has a digest that is not sha256: and 64 hexadecimal digits";
    str name = {text.p, at};
    size_t slash = name.n;
    while (slash > 0 && name.p[slash - 1] != '/')
        slash--;
    size_t colon = slash + str_find(str_from(name, slash), ':');
    if (!is_repository((str){name.p, colon}))
        return "is no reference of an image";
    if (colon == name.n)
        return at < text.n ? NULL : "has no tag, so nobody knows what will run";
    str tag = str_from(name, colon + 1);
    if (!is_tag(tag))
        return "has a tag that is none";
    if (str_eq(tag, STR("latest")) && at == text.n)
        return "is another image every time, so nobody knows what will run";
    return NULL;
}

/* ---- numbers ---- */

static bool parse_number(str text, uint64_t max, uint64_t *number) {
    str rest;
    return scaled_split(text, number, &rest) && rest.n == 0 && *number <= max;
}

static bool find_unit(str name, const struct scaled_unit *units, size_t count, uint64_t *factor) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_of(units[i].name))) {
            *factor = units[i].factor;
            return true;
        }
    return false;
}

/* A Kubernetes quantity, in thousandths: digits with an optional fraction, and a suffix. Exponents
   and signs, which nobody writes for these, are not taken. */
static bool parse_quantity(str text, uint64_t *milli) {
    static const struct scaled_unit units[] = {
        {"m", 1},
        {"", 1000},
        {"k", UINT64_C(1000000)},
        {"M", UINT64_C(1000000000)},
        {"G", UINT64_C(1000000000000)},
        {"T", UINT64_C(1000000000000000)},
        {"Ki", UINT64_C(1000) << 10},
        {"Mi", UINT64_C(1000) << 20},
        {"Gi", UINT64_C(1000) << 30},
        {"Ti", UINT64_C(1000) << 40},
    };
    size_t digits = 0, fraction = 0, at = 0;
    uint64_t mantissa = 0, factor;
    bool dot = false;
    for (; at < text.n && (is_digit(text.p[at]) || (text.p[at] == '.' && !dot)); at++) {
        if (text.p[at] == '.') {
            dot = true;
            continue;
        }
        mantissa = mantissa * 10 + (uint64_t)(text.p[at] - '0');
        fraction += dot;
        if (++digits > 15)
            return false;
    }
    if (digits == 0 || !find_unit(str_from(text, at), units, COUNT_OF(units), &factor))
        return false;
    unsigned __int128 value = (unsigned __int128)mantissa * factor;
    for (; fraction > 0; fraction--)
        value /= 10;
    *milli = (uint64_t)value;
    return value <= INT64_MAX;
}

static const char *check_bytes(str text, uint64_t least, uint64_t *bytes) {
    uint64_t milli;
    if (!parse_quantity(text, &milli))
        return "is no quantity such as 512Mi or 20Gi";
    *bytes = milli / 1000;
    return *bytes < least ? "is too small to work" : NULL;
}

static const char *check_storage(str text, uint64_t *number) {
    if (str_eq(text, STR("none")))
        return NULL;
    return check_bytes(text, STORAGE_MIN_BYTES, number);
}

static const char *check_memory(str text, uint64_t *number) {
    return check_bytes(text, MEMORY_MIN_BYTES, number);
}

static const char *check_cpu(str text, uint64_t *number) {
    if (!parse_quantity(text, number))
        return "is no number of processors";
    if (*number > 1000000)
        return "is more than a machine has";
    return *number < CPU_MIN_MILLI ? "is too small to work" : NULL;
}

static const char *check_replicas(str text, uint64_t *number) {
    if (!parse_number(text, 1000000, number))
        return "is no number";
    return *number > 1 ? "is more than one, and a store is on one machine today: several Pods "
                         "would be several databases"
                       : NULL;
}

static const char *check_port(str text, uint64_t *number) {
    if (!parse_number(text, 65535, number))
        return "is no port";
    return *number < PORT_MIN ? "is a port that only root may open" : NULL;
}

/* ---- words ---- */

static const char *check_service_type(str text, uint64_t *number) {
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer"};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_eq(text, str_of(types[i])))
            return NULL;
    return "is no type of a Service that fits";
}

static const char *check_truth(str text, uint64_t *number) {
    *number = str_eq(text, STR("true"));
    return *number || str_eq(text, STR("false")) ? NULL : "is neither true nor false";
}

/* ---- durations ---- */

/* In milliseconds: a duration of the server's configuration, but the unit is required and in lower
   case, and there are at most UINT32_MAX of it. */
static bool parse_duration(str text, uint64_t *ms) {
    uint64_t number;
    str unit;
    if (!scaled_split(text, &number, &unit) || number > UINT32_MAX || unit.n == 0)
        return false;
    for (size_t i = 0; i < unit.n; i++)
        if (!is_lower(unit.p[i]))
            return false;
    return scaled_parse_duration(text, ms);
}

static const char *check_grace(str text, uint64_t *number) {
    uint64_t ms;
    if (!parse_duration(text, &ms))
        return "is no duration with its unit";
    *number = ms / 1000;
    if (ms % 1000 != 0)
        return "is not a whole number of seconds";
    return *number > GRACE_MAX_SECONDS ? "is too long" : NULL;
}

/* "30d", or "pattern:duration, ..." */
static const char *check_retention(str text, uint64_t *number) {
    uint64_t ms = 0;
    if (str_find(text, ':') == text.n && str_find(text, ',') == text.n)
        return parse_duration(text, &ms) && ms > 0 ? NULL : "is no duration with its unit";
    while (text.n > 0) {
        size_t end = str_find(text, ',');
        str rule = str_trim((str){text.p, end});
        size_t colon = str_find(rule, ':');
        if (colon == 0 || colon == rule.n)
            return "is no list of pattern:duration";
        if (!parse_duration(str_from(rule, colon + 1), &ms) || ms == 0)
            return "has a duration that is none, or has no unit";
        text = str_from(text, end < text.n ? end + 1 : end);
    }
    return NULL;
}

/* ---- the table ---- */

const char *cluster_value_check(enum cluster_value_kind kind, str text, uint64_t *number) {
    static const char *(*const checks[])(str text, uint64_t * number) = {
        [CLUSTER_VALUE_NAME] = check_name,       [CLUSTER_VALUE_NAMESPACE] = check_namespace,
        [CLUSTER_VALUE_IMAGE] = check_image,     [CLUSTER_VALUE_REPLICAS] = check_replicas,
        [CLUSTER_VALUE_STORAGE] = check_storage, [CLUSTER_VALUE_SUBDOMAIN] = check_subdomain,
        [CLUSTER_VALUE_MEMORY] = check_memory,   [CLUSTER_VALUE_CPU] = check_cpu,
        [CLUSTER_VALUE_PORT] = check_port,       [CLUSTER_VALUE_SERVICE_TYPE] = check_service_type,
        [CLUSTER_VALUE_HOST] = check_host,       [CLUSTER_VALUE_TRUTH] = check_truth,
        [CLUSTER_VALUE_GRACE] = check_grace,     [CLUSTER_VALUE_RETENTION] = check_retention,
    };
    _Static_assert(COUNT_OF(checks) == CLUSTER_VALUE_KIND_COUNT, "every kind has its check");
    *number = 0;
    return checks[kind](text, number);
}
