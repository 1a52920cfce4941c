/*
 * The telnet `put` line: a pure parser over bytes (OpenTSDB's protocol: words split on single
 * spaces, lines end in LF or CR LF).
 *
 *     put <metric> <timestamp> <value> <tagk=tagv> [<tagk=tagv> ...]
 *
 * Two steps, so that a known series costs no parsing of tags: put_line_parse splits the line and
 * reads time and value; only when the raw bytes (metric, tags) are not in the key cache,
 * put_line_key takes the tags apart.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "model/points.h"
#include "model/series_key.h"

#include <stdbool.h>
#include <stdint.h>

struct put_line {
    str metric;
    str tags; /* raw: everything after the value, may hold extra spaces */
    int64_t time_ms;
    struct value value;
};

/* Parses one line without its line end, beginning after "put " (that is, at the metric). RC_INVALID
   with the text that telnet replies after "put: " ("illegal argument: not enough arguments (need
   least 4, got 3)", "invalid value: Invalid character 'x' in 12x4", ...). Order of checks as
   OpenTSDB's: a bad value is only reported when the tags read well. Fills metric as soon as it is
   known. A line whose .p is NULL stands for the bare word "put" ("got 0"), an empty one for "put "
   ("got 1"). Allocates nothing. */
enum rc put_line_parse(str line, struct put_line *put, struct err *err) MUST_USE;

/* Takes the raw tags apart into key (not yet canonical); key->metric is set to put->metric.
   RC_INVALID with telnet's text ("illegal argument: invalid tag: hostweb01"). Conflicting
   duplicates are found by series_key_canonicalise, blank tags (tag_count 0) by series_key_check,
   whose texts need "illegal argument: " before them. More than LIMIT_TAGS_MAX different tags:
   "illegal argument: Too many tags: 40 maximum allowed: 32, tags: {the first 32}". */
enum rc put_line_key(const struct put_line *put, struct series_key *key, struct err *err) MUST_USE;

/* A timestamp's text to milliseconds, with the rules of writes: < 2^32 seconds, else milliseconds,
   a dotted form "1356998400.500" (dots are taken out, as OpenTSDB does). RC_INVALID with telnet's
   text; for one beyond LIMIT_TIME_MS_MAX its beginning, "illegal argument: bad timestamp=...". */
enum rc put_line_time(str text, int64_t *time_ms, struct err *err) MUST_USE;
