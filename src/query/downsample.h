/*
 * Downsampling: specifications and bucket arithmetic.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "query/aggregator.h"
#include "query/timezone.h"

#include <stdbool.h>
#include <stdint.h>

enum fill { FILL_NONE, FILL_NAN, FILL_NULL, FILL_ZERO, FILL_SCALAR };

struct downsample {
    bool all;            /* "0all": one bucket for the whole range */
    int64_t interval_ms; /* n * unit; calendar ones by their nominal length */
    int64_t count;       /* the n of "1dc" */
    char unit;           /* 'i' for ms, else s m h d w n y */
    bool calendar;       /* "c" suffix or useCalendar */
    enum aggregator function;
    enum fill fill;
    const struct timezone *timezone; /* NULL: UTC; for calendar buckets */
};

/* Parses "1m-avg", "1dc-sum-nan", "0all-max-zero". RC_INVALID with OpenTSDB's texts. */
enum rc downsample_parse(str text, struct downsample *downsample, struct err *err) MUST_USE;

/* Start of the bucket that holds `time_ms` (not for `all`). */
int64_t downsample_bucket(const struct downsample *downsample, int64_t time_ms);

/* Start of the bucket after the one that starts at `bucket_ms`. */
int64_t downsample_next(const struct downsample *downsample, int64_t bucket_ms);
