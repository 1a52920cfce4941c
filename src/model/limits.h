/*
 * Named maxima of the data model. Configurable limits have their defaults here and can only be
 * configured up to the maximum.
 */
#pragma once

enum {
    LIMIT_TAGS_MAX = 32,            /* tags of one series, whatever the configuration says */
    LIMIT_TAGS_DEFAULT = 8,         /* tsd.storage.max_tags */
    LIMIT_NAME_BYTES_MAX = 4096,    /* metric, tag key, tag value: bytes of UTF-8 */
    LIMIT_VECTOR_POINTS = 1024,     /* points of one full vector */
    LIMIT_TAIL_POINTS = 32,         /* points of a head's raw tail */
    LIMIT_BATCH_POINTS = 16384,     /* points of one append */
    LIMIT_PUT_LINE_BYTES = 1 << 20, /* telnet: longest line */
    LIMIT_JSON_DEPTH = 64,          /* put and query bodies */
};

/* Times a point may have: milliseconds since 1970 UTC, 1 .. 9999999999999 (year 2286). */
#define LIMIT_TIME_MS_MAX INT64_C(9999999999999)
