#include "tsbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct host {
    char values[TSBS_TAGS][24];
    double state[TSBS_METRICS];
};

struct tsbs {
    uint32_t hosts;
    uint64_t random;
    struct host host[];
};

static const char *const metrics[TSBS_METRICS] = {
    "cpu.usage_user",   "cpu.usage_system",    "cpu.usage_idle",    "cpu.usage_nice",
    "cpu.usage_iowait", "cpu.usage_irq",       "cpu.usage_softirq", "cpu.usage_steal",
    "cpu.usage_guest",  "cpu.usage_guest_nice"};
static const char *const keys[TSBS_TAGS] = {
    "hostname", "region",          "datacenter",         "rack", "os", "arch", "team",
    "service",  "service_version", "service_environment"};
static const struct {
    const char *name, *zones;
} regions[] = {{"us-east-1", "abce"},    {"us-west-1", "ab"},      {"us-west-2", "abc"},
               {"eu-west-1", "abc"},     {"eu-central-1", "ab"},   {"ap-southeast-1", "ab"},
               {"ap-southeast-2", "ab"}, {"ap-northeast-1", "ac"}, {"sa-east-1", "abc"}};

static uint64_t next(struct tsbs *t) {
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random * UINT64_C(2685821657736338717);
}

static double uniform(struct tsbs *t) {
    return (double)(next(t) >> 11) / 9007199254740992.0;
}

static const char *one_of(struct tsbs *t, const char *const *names, uint32_t n) {
    return names[next(t) % n];
}

static void make_host(struct tsbs *t, uint32_t i) {
    static const char *const os[] = {"Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"};
    static const char *const arch[] = {"x64", "x86"};
    static const char *const team[] = {"SF", "NYC", "LON", "CHI"};
    static const char *const environment[] = {"production", "staging", "test"};
    struct host *h = &t->host[i];
    size_t region = next(t) % (sizeof(regions) / sizeof(regions[0]));
    const char *zones = regions[region].zones;
    size_t size = sizeof(h->values[0]);
    snprintf(h->values[0], size, "host_%u", i);
    snprintf(h->values[1], size, "%s", regions[region].name);
    snprintf(h->values[2], size, "%s%c", regions[region].name, zones[next(t) % strlen(zones)]);
    snprintf(h->values[3], size, "%u", (unsigned)(next(t) % 100));
    snprintf(h->values[4], size, "%s", one_of(t, os, 3));
    snprintf(h->values[5], size, "%s", one_of(t, arch, 2));
    snprintf(h->values[6], size, "%s", one_of(t, team, 4));
    snprintf(h->values[7], size, "%u", (unsigned)(next(t) % 20));
    snprintf(h->values[8], size, "%u", (unsigned)(next(t) % 2));
    snprintf(h->values[9], size, "%s", one_of(t, environment, 3));
    for (int m = 0; m < TSBS_METRICS; m++)
        h->state[m] = uniform(t) * 100;
}

struct tsbs *tsbs_new(uint32_t hosts, uint64_t seed) {
    struct tsbs *t = calloc(1, sizeof(*t) + hosts * sizeof(struct host));
    if (t == NULL)
        return NULL;
    t->hosts = hosts;
    t->random = seed * 2 + 1;
    for (uint32_t i = 0; i < hosts; i++)
        make_host(t, i);
    return t;
}

void tsbs_free(struct tsbs *tsbs) {
    free(tsbs);
}

const char *tsbs_metric(uint32_t metric) {
    return metrics[metric];
}

const char *tsbs_tag_key(uint32_t tag) {
    return keys[tag];
}

const char *tsbs_tag_value(const struct tsbs *tsbs, uint32_t host, uint32_t tag) {
    return tsbs->host[host].values[tag];
}

int64_t tsbs_value(const struct tsbs *tsbs, uint32_t host, uint32_t metric) {
    return (int64_t)tsbs->host[host].state[metric];
}

void tsbs_tick(struct tsbs *t) {
    for (uint32_t i = 0; i < t->hosts; i++)
        for (int m = 0; m < TSBS_METRICS; m += 2) {
            /* Box and Muller make two normal numbers at a time. */
            double r = sqrt(-2 * log(1 - uniform(t))), angle = 6.283185307179586 * uniform(t);
            double step[2] = {r * cos(angle), r * sin(angle)};
            for (int k = 0; k < 2; k++) {
                double *s = &t->host[i].state[m + k];
                *s = fmin(100, fmax(0, *s + step[k]));
            }
        }
}

size_t tsbs_line(const struct tsbs *t, uint32_t host, uint32_t metric, int64_t time_s,
                 uint32_t tags, char *out) {
    int n = snprintf(out, 128, "put %s %lld %lld", metrics[metric], (long long)time_s,
                     (long long)tsbs_value(t, host, metric));
    size_t at = (size_t)n;
    for (uint32_t tag = 0; tag < tags; tag++)
        at += (size_t)snprintf(out + at, 64, " %s=%s", keys[tag], t->host[host].values[tag]);
    out[at++] = '\n';
    return at;
}

size_t tsbs_json(const struct tsbs *t, uint32_t host, uint32_t metric, int64_t time_s,
                 uint32_t tags, char *out) {
    int n = snprintf(out, 160, "{\"metric\":\"%s\",\"timestamp\":%lld,\"value\":%lld,\"tags\":{",
                     metrics[metric], (long long)time_s, (long long)tsbs_value(t, host, metric));
    size_t at = (size_t)n;
    for (uint32_t tag = 0; tag < tags; tag++)
        at += (size_t)snprintf(out + at, 64, "%s\"%s\":\"%s\"", tag == 0 ? "" : ",", keys[tag],
                               t->host[host].values[tag]);
    out[at++] = '}';
    out[at++] = '}';
    return at;
}
