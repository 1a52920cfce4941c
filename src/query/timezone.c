#include "query/timezone.h"

#include "base/attr.h"
#include "base/buf.h"
#include "os/file.h"
#include "os/thread.h"
#include "query/timezone_rule.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    DAY_MS = 86400000,
    OFFSET_S_MAX = 26 * 3600, /* RFC 8536 wants offsets within -25 h .. 26 h */
    ZONE_FILE_BYTES_MAX = 1 << 20,
    ZONE_NAME_BYTES_MAX = 64
};

/* Instants beyond this (about 30,000 years) are treated as the limit, so that no sum overflows. */
#define TIME_MS_MAX INT64_C(1000000000000000)

struct timezone {
    uint32_t transition_count;
    int64_t *transition_s;     /* ascending */
    int32_t *offset_s;         /* from transition_s[i] on */
    int32_t first_s;           /* before the first transition */
    bool has_rule;             /* else the last offset stays */
    struct timezone_rule rule; /* from the last transition on */
};

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

static int64_t clamp(int64_t value, int64_t limit) {
    return value < -limit ? -limit : value > limit ? limit : value;
}

/* ---- civil dates ---- */

/* Days from 1970-01-01 to the first of March of a year. Years that begin in March end with the leap
   day, so a date's place in its year does not depend on the kind of year. */
static int64_t days_to_march(int64_t year) {
    return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) - 719468;
}

/* Days from March 1 to the first of the month `months` after March: 31, 30, 31, 30, 31 repeated. */
static int64_t days_to_month(int64_t months) {
    return (months * 153 + 2) / 5;
}

void timezone_civil(int64_t local_ms, struct civil *civil) {
    int64_t days = floor_div(clamp(local_ms, 2 * TIME_MS_MAX), DAY_MS);
    civil->ms_of_day = clamp(local_ms, 2 * TIME_MS_MAX) - days * DAY_MS;
    civil->weekday = (int)(((days + 4) % 7 + 7) % 7);
    /* 146097 days are 400 years; the estimate is off by at most one. */
    int64_t year = floor_div((days + 719468) * 400, 146097);
    while (days_to_march(year) > days)
        year--;
    while (days_to_march(year + 1) <= days)
        year++;
    int64_t day = days - days_to_march(year);
    int64_t month = (day * 5 + 2) / 153;
    civil->day = (int)(day - days_to_month(month) + 1);
    civil->month = (int)(month < 10 ? month + 3 : month - 9);
    civil->year = month < 10 ? year : year + 1;
}

int64_t timezone_local_ms(int64_t year, int64_t month, int64_t day, int64_t ms_of_day) {
    int64_t months = clamp(year, 100000) * 12 + clamp(month, 100000) - 3;
    int64_t march_year = floor_div(months, 12);
    int64_t days = days_to_march(march_year) + days_to_month(months - march_year * 12);
    return (days + clamp(day, 100000000) - 1) * DAY_MS + clamp(ms_of_day, TIME_MS_MAX);
}

/* ---- offsets ---- */

int64_t timezone_offset_ms(const struct timezone *zone, int64_t time_ms) {
    if (zone == NULL)
        return 0;
    int64_t time_s = floor_div(clamp(time_ms, TIME_MS_MAX), 1000);
    uint32_t low = 0, high = zone->transition_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (zone->transition_s[middle] <= time_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->transition_count && zone->has_rule)
        return timezone_rule_offset_s(&zone->rule, time_s) * 1000;
    return (low == 0 ? zone->first_s : zone->offset_s[low - 1]) * INT64_C(1000);
}

/* The instants a local time may mean, earlier and later; one instant twice outside overlaps. */
static void instants_of_local(const struct timezone *zone, int64_t local_ms, int64_t *earlier,
                              int64_t *later) {
    /* A day to either side is beyond any transition that could matter here. */
    int64_t before_ms = timezone_offset_ms(zone, local_ms - DAY_MS);
    int64_t after_ms = timezone_offset_ms(zone, local_ms + DAY_MS);
    int64_t with_before = local_ms - before_ms;
    int64_t with_after = local_ms - after_ms;
    bool before_holds = timezone_offset_ms(zone, with_before) == before_ms;
    bool after_holds = timezone_offset_ms(zone, with_after) == after_ms;
    /* In a gap neither holds, and the offset from before moves the time on by the gap. */
    *earlier = before_holds || !after_holds ? with_before : with_after;
    *later = after_holds ? with_after : with_before;
}

int64_t timezone_from_local_ms(const struct timezone *zone, int64_t local_ms) {
    int64_t earlier, later;
    instants_of_local(zone, clamp(local_ms, TIME_MS_MAX), &earlier, &later);
    return earlier;
}

int64_t timezone_from_local_late_ms(const struct timezone *zone, int64_t local_ms) {
    int64_t earlier, later;
    instants_of_local(zone, clamp(local_ms, TIME_MS_MAX), &earlier, &later);
    return later;
}

/* ---- zone files ---- */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* The six counts of a header, in the order of the file. */
struct counts {
    uint32_t utc, standard, leap, time, type, character;
};

static uint64_t big_endian(const uint8_t *at, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | at[i];
    return value;
}

static const uint8_t *take(struct reader *reader, uint64_t n) {
    if ((uint64_t)(reader->end - reader->at) < n)
        return NULL;
    const uint8_t *at = reader->at;
    reader->at += n;
    return at;
}

static bool take_header(struct reader *reader, uint8_t *version, struct counts *counts) {
    const uint8_t *at = take(reader, 44);
    if (at == NULL || memcmp(at, "TZif", 4) != 0)
        return false;
    *version = at[4];
    uint32_t *const fields[] = {&counts->utc,  &counts->standard, &counts->leap,
                                &counts->time, &counts->type,     &counts->character};
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        *fields[i] = (uint32_t)big_endian(at + 20 + 4 * i, 4);
    return true;
}

static uint64_t body_size(const struct counts *counts, unsigned time_bytes) {
    return (uint64_t)counts->time * (time_bytes + 1) + (uint64_t)counts->type * 6 +
           counts->character + (uint64_t)counts->leap * (time_bytes + 4) + counts->standard +
           counts->utc;
}

static struct timezone *allocate(uint32_t transitions) {
    struct timezone *zone = calloc(1, sizeof(*zone) + transitions * (sizeof(int64_t) + 4ul));
    if (zone == NULL)
        return NULL;
    zone->transition_count = transitions;
    zone->transition_s = (int64_t *)(void *)(zone + 1);
    zone->offset_s = (int32_t *)(void *)(zone->transition_s + transitions);
    return zone;
}

static bool offset_of_type(const uint8_t *types, const struct counts *counts, uint8_t type,
                           int32_t *offset_s) {
    if (type >= counts->type)
        return false;
    *offset_s = (int32_t)big_endian(types + 6 * (size_t)type, 4);
    return *offset_s > -OFFSET_S_MAX && *offset_s < OFFSET_S_MAX;
}

static bool fill(struct timezone *zone, const uint8_t *body, const struct counts *counts,
                 unsigned time_bytes) {
    const uint8_t *indexes = body + (size_t)counts->time * time_bytes;
    const uint8_t *types = indexes + counts->time;
    if (!offset_of_type(types, counts, 0, &zone->first_s))
        return false;
    for (uint32_t i = 0; i < counts->time; i++) {
        uint64_t bits = big_endian(body + (size_t)i * time_bytes, time_bytes);
        zone->transition_s[i] = time_bytes == 4 ? (int32_t)bits : (int64_t)bits;
        if (i > 0 && zone->transition_s[i] <= zone->transition_s[i - 1])
            return false;
        if (!offset_of_type(types, counts, indexes[i], &zone->offset_s[i]))
            return false;
    }
    return true;
}

/* The rule stands between two newlines; an empty one is allowed. */
static bool take_rule(struct reader *reader, struct timezone *zone) {
    str text = {(const char *)reader->at, (size_t)(reader->end - reader->at)};
    if (text.n < 2 || text.p[0] != '\n')
        return false;
    text = str_from(text, 1);
    size_t n = str_find(text, '\n');
    if (n == text.n)
        return false;
    text.n = n;
    zone->has_rule = n > 0;
    return n == 0 || timezone_rule_parse(text, &zone->rule);
}

struct timezone *timezone_parse(const uint8_t *bytes, size_t n) {
    struct reader reader = {bytes, bytes + n};
    struct counts counts;
    uint8_t version;
    unsigned time_bytes = 4;
    if (!take_header(&reader, &version, &counts))
        return NULL;
    if (version >= '2') {
        /* The first body repeats what fits 32 bits, for old readers. */
        time_bytes = 8;
        if (take(&reader, body_size(&counts, 4)) == NULL ||
            !take_header(&reader, &version, &counts))
            return NULL;
    }
    const uint8_t *body = take(&reader, body_size(&counts, time_bytes));
    /* Zones that count leap seconds do not tell POSIX time. */
    if (body == NULL || counts.type == 0 || counts.leap != 0)
        return NULL;
    struct timezone *zone = allocate(counts.time);
    if (zone == NULL)
        return NULL;
    if (!fill(zone, body, &counts, time_bytes) || (time_bytes == 8 && !take_rule(&reader, zone))) {
        timezone_free(zone);
        return NULL;
    }
    return zone;
}

void timezone_free(struct timezone *zone) {
    free(zone);
}

/* ---- zones by name ---- */

struct known_zone {
    struct known_zone *next;
    const struct timezone *zone;
    size_t name_n;
    char name[ZONE_NAME_BYTES_MAX];
};

/* Zones are never removed: their number is bounded by the files of the system. */
static struct {
    struct mutex lock;
    struct known_zone *zones;
} known = {{PTHREAD_MUTEX_INITIALIZER}, NULL};

static const struct timezone utc;

/* Names of zones that need no file, so that UTC works where none are installed. */
static bool is_utc(str name) {
    static const char *const names[] = {"UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "Zulu", "UCT"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

/* Java's short names for zones, which the zone files do not have. */
static str full_name(str name) {
    static const char *const names[][2] = {
        {"ACT", "Australia/Darwin"},
        {"AET", "Australia/Sydney"},
        {"AGT", "America/Argentina/Buenos_Aires"},
        {"ART", "Africa/Cairo"},
        {"AST", "America/Anchorage"},
        {"BET", "America/Sao_Paulo"},
        {"BST", "Asia/Dhaka"},
        {"CAT", "Africa/Harare"},
        {"CNT", "America/St_Johns"},
        {"CST", "America/Chicago"},
        {"CTT", "Asia/Shanghai"},
        {"EAT", "Africa/Addis_Ababa"},
        {"ECT", "Europe/Paris"},
        {"IET", "America/Indiana/Indianapolis"},
        {"IST", "Asia/Kolkata"},
        {"JST", "Asia/Tokyo"},
        {"MIT", "Pacific/Apia"},
        {"NET", "Asia/Yerevan"},
        {"NST", "Pacific/Auckland"},
        {"PLT", "Asia/Karachi"},
        {"PNT", "America/Phoenix"},
        {"PRT", "America/Puerto_Rico"},
        {"PST", "America/Los_Angeles"},
        {"SST", "Pacific/Guadalcanal"},
        {"VST", "Asia/Ho_Chi_Minh"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (str_eq(name, str_of(names[i][0])))
            return str_of(names[i][1]);
    return name;
}

/* Letters, digits, '_', '+', '-' and inner single slashes: no name leads out of the folder. */
static bool is_zone_name(str name) {
    if (name.n == 0 || name.n >= ZONE_NAME_BYTES_MAX)
        return false;
    char before = '/';
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '+' || c == '-';
        if (!plain && (c != '/' || before == '/'))
            return false;
        before = c;
    }
    return before != '/';
}

static struct timezone *load(str name) {
    const char *folder = getenv("TZDIR");
    char path[FILE_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%.*s",
                     folder == NULL || folder[0] == '\0' ? "/usr/share/zoneinfo" : folder,
                     STR_ARG(name));
    if (n < 0 || (size_t)n >= sizeof(path))
        return NULL;
    struct buf bytes = {0};
    struct timezone *zone = NULL;
    if (file_read_all(path, ZONE_FILE_BYTES_MAX, &bytes, NULL) == RC_OK)
        zone = timezone_parse((const uint8_t *)bytes.p, bytes.n);
    buf_fini(&bytes);
    return zone;
}

static const struct timezone *load_and_keep(str name) {
    struct known_zone *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->zone = load(name);
    if (entry->zone == NULL) {
        free(entry);
        return NULL;
    }
    memcpy(entry->name, name.p, name.n);
    entry->name_n = name.n;
    entry->next = known.zones;
    known.zones = entry;
    return entry->zone;
}

const struct timezone *timezone_find(str name) {
    if (is_utc(name))
        return &utc;
    name = full_name(name);
    if (!is_zone_name(name))
        return NULL;
    const struct timezone *zone = NULL;
    mutex_lock(&known.lock);
    for (struct known_zone *entry = known.zones; entry != NULL; entry = entry->next)
        if (str_eq(name, (str){entry->name, entry->name_n}))
            zone = entry->zone;
    if (zone == NULL)
        zone = load_and_keep(name);
    mutex_unlock(&known.lock);
    return zone;
}
