/*
 * TSBS-like data: the cpu-only use case of the Time Series Benchmark Suite, statistically equal,
 * not bit for bit. Ten metrics a host, each a random walk in 0 .. 100 with steps of N(0, 1),
 * written as truncated integers every ten seconds; ten tags a host, of which `tags` are written (8
 * fits OpenTSDB's default limit: service_version and service_environment are left out).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { TSBS_METRICS = 10, TSBS_TAGS = 10, TSBS_STEP_S = 10 };

#define TSBS_START_S INT64_C(1451606400) /* 2016-01-01T00:00:00Z */

struct tsbs;

struct tsbs *tsbs_new(uint32_t hosts, uint64_t seed);
void tsbs_free(struct tsbs *tsbs);

const char *tsbs_metric(uint32_t metric); /* "cpu.usage_user" */
const char *tsbs_tag_key(uint32_t tag);
const char *tsbs_tag_value(const struct tsbs *tsbs, uint32_t host, uint32_t tag);

/* The value now, and one step on for all hosts. */
int64_t tsbs_value(const struct tsbs *tsbs, uint32_t host, uint32_t metric);
void tsbs_tick(struct tsbs *tsbs);

/* Appends one point as a telnet line, or as a JSON object (without comma); returns the bytes
   written (room: 512). */
size_t tsbs_line(const struct tsbs *tsbs, uint32_t host, uint32_t metric, int64_t time_s,
                 uint32_t tags, char *out);
size_t tsbs_json(const struct tsbs *tsbs, uint32_t host, uint32_t metric, int64_t time_s,
                 uint32_t tags, char *out);
