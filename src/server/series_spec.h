/*
 * "metric{key=value,...}" as look-ups and last-point queries take it.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "model/limits.h"

#include <stdint.h>

struct series_spec_tag {
    str key;   /* n 0: any key */
    str value; /* n 0: any value */
};

struct series_spec {
    str metric; /* n 0 or "*": any metric */
    uint32_t tag_count;
    struct series_spec_tag tags[LIMIT_TAGS_MAX];
};

/* One side of a tag, or a metric: "*" becomes empty, which means any. */
str series_spec_part(str s);

/* Strings point into `text`. "*" on either side becomes empty. RC_INVALID with OpenTSDB's texts. */
enum rc series_spec_parse(str text, struct series_spec *spec, struct err *err) MUST_USE;
