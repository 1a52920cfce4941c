/*
 * Time zones and dates: offsets from the system's zone files (TZif, RFC 8536), civil arithmetic,
 * and the forms of time OpenTSDB's queries take. Zones are loaded once and kept for the process.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct timezone;

/* The zone with this name ("America/Denver", "UTC"), or NULL if it is unknown. Loads the zone file
   on first use (through os/file.h, below /usr/share/zoneinfo or $TZDIR); safe from any thread. */
const struct timezone *timezone_find(str name);

/* Parses the bytes of a zone file (for timezone_find, tests and the fuzzer); NULL if malformed. */
struct timezone *timezone_parse(const uint8_t *bytes, size_t n);
void timezone_free(struct timezone *zone);

/* Offset from UTC in milliseconds at an instant. NULL is UTC. */
int64_t timezone_offset_ms(const struct timezone *zone, int64_t time_ms);

/* The instant of a local civil time given as milliseconds since 1970 as if it were UTC. In a gap
   the time moves on by the gap's length; in an overlap the earlier instant is taken, so that a day
   starts with the first of two midnights. */
int64_t timezone_from_local_ms(const struct timezone *zone, int64_t local_ms);

/* As timezone_from_local_ms, but the later instant of an overlap: how Java reads a date. */
int64_t timezone_from_local_late_ms(const struct timezone *zone, int64_t local_ms);

struct civil {
    int64_t year;
    int month;   /* 1 .. 12 */
    int day;     /* 1 .. 31 */
    int weekday; /* 0 Sunday .. 6 */
    int64_t ms_of_day;
};

/* Civil date of "local" milliseconds, and back. Out-of-range months and days roll over. */
void timezone_civil(int64_t local_ms, struct civil *civil);
int64_t timezone_local_ms(int64_t year, int64_t month, int64_t day, int64_t ms_of_day);

/* A time of a query: "1h-ago", "now", unix seconds or milliseconds, "1364410924.250", "12ms",
   "2012/01/31-12:00:00". *given_ms (may be NULL) tells whether it was given in milliseconds.
   RC_INVALID with OpenTSDB's texts. */
enum rc timezone_parse_time(str text, const struct timezone *zone, int64_t now_ms, int64_t *time_ms,
                            bool *given_ms, struct err *err) MUST_USE;

/* A duration: "500ms", "1h", "7d"; milliseconds. RC_INVALID with OpenTSDB's texts. */
enum rc timezone_parse_duration(str text, int64_t *duration_ms, struct err *err) MUST_USE;
