/*
 * The body of /api/put: one object or an array of objects; a pull parser over the whole body that
 * allocates nothing per point.
 *
 * Each call yields one data point: spans into the body for metric and tags so that a known series
 * costs no parsing of its tags, time and value already read. Any member order, escapes, numbers as
 * strings, unknown members of any shape (skipped, to LIMIT_JSON_DEPTH).
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "model/points.h"
#include "model/series_key.h"

#include <stdbool.h>
#include <stdint.h>

struct put_json_point {
    str raw;        /* the whole object's text, for details */
    str metric;     /* unescaped (in the body, or in the arena if it had escapes); n 0 if missing */
    str metric_raw; /* as it stands: a string with its quotes, or another scalar */
    str tags_raw;   /* the tags object's text with its braces; n 0 if missing or null */
    str value_text; /* number or string text as given, for details; n 0 if missing, null or "" */
    str timestamp_text;
    int64_t timestamp; /* as given: seconds or milliseconds, floats truncated; 0 if missing */
    int64_t time_ms;   /* in milliseconds; only if error is NULL */
    struct value value;
    bool tagged;       /* the tags object has members */
    const char *error; /* NULL, or the per-point error text: "Metric name was empty", "Invalid
                          timestamp", "Empty value", "Missing tags", "Unable to parse value to a
                          number", "value is NaN or Infinite: ...", "bad timestamp=...",
                          "Unexpected null datapoint encountered in set." (this order); a constant
                          or in the arena */
};

struct put_shape;

struct put_json {
    str body;
    size_t at;
    bool array;
    bool started;
    bool done;
    struct arena *arena; /* for unescaped strings; one request's */
    str tags_before;     /* the tags object last seen: the same bytes again need no look */
    struct put_shape *shape;
};

/* `shape` (may be NULL) is the caller's: how points were written so far, in this body or in earlier
   ones; put_json_next learns it for put_json_expected. */
void put_json_init(struct put_json *parser, str body, struct put_shape *shape,
                   struct arena *request_arena);

/* The next point: 1 with *point filled, 0 at the end of a well-formed body, RC_INVALID (status 400)
   with "Missing request content", "The JSON must start as an object or an array", "No datapoints
   found in content" or "Unable to parse the given JSON" (details: what and at which byte),
   RC_NOMEM. Points yielded before an error are good: the caller decides (OpenTSDB parses all before
   it stores any). After an error or the end it is not called again. Strict: RFC 8259, valid UTF-8,
   nothing but blanks behind. A member of the wrong shape (metric an object, timestamp "x", tags an
   array) fails the body, as it does for Jackson; of a member given twice the last counts. */
int put_json_next(struct put_json *parser, struct put_json_point *point, struct err *err) MUST_USE;

/* Takes the next point of an array if it is surely good and of the series whose metric_raw and
   tags_raw these texts are: true with its time and value, exactly as put_json_next would have told
   them. False: put_json_next says what comes. Cost: comparing the bytes; nothing is parsed but the
   numbers. */
bool put_json_expected(struct put_json *parser, str metric_raw, str tags_raw, int64_t *time_ms,
                       struct value *value) MUST_USE;

/* Takes tags_raw apart into key (not canonical, but no tag key twice: the last one counts;
   key->metric set from the point). Non-string scalars become their text, null has a NULL .p (which
   series_key_check reports). RC_INVALID with the per-point error text ("Too many tags: ...", beyond
   LIMIT_TAGS_MAX), RC_NOMEM. */
enum rc put_json_key(const struct put_json_point *point, struct arena *request_arena,
                     struct series_key *key, struct err *err) MUST_USE;
