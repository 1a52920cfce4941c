/*
 * The read path of OpenTSDB 2.4 written a second time, as plainly as possible: iterators, one
 * buffered point behind and one ahead, everything in lists. Slow and independent of src/query.
 */
#pragma once

#include "query/aggregator.h"
#include "query/downsample.h"
#include "query/query.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sample {
    int64_t t;
    bool is_float;
    int64_t i;
    double d;
};

struct samples {
    struct sample *p;
    size_t n;
};

static void samples_push(struct samples *list, struct sample sample) {
    if ((list->n & (list->n - 1)) == 0) {
        list->p = realloc(list->p, (list->n == 0 ? 1 : 2 * list->n) * sizeof(*list->p));
        assert(list->p != NULL);
    }
    list->p[list->n++] = sample;
}

static double sample_double(struct sample s) {
    return s.is_float ? s.d : (double)s.i;
}

/* ---- aggregators ---- */

static int model_compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double model_percentile(int family, double p, double *v, size_t n) {
    qsort(v, n, sizeof(*v), model_compare_doubles);
    double N = (double)n, pos = p * (N + 1);
    if (family == 1)
        pos = p <= 0.5 / N ? 0 : nearbyint(N * p);
    if (family == 2)
        pos = 1 + (N - 1) * p;
    if (pos < 1)
        return v[0];
    if (pos >= N)
        return v[n - 1];
    size_t f = (size_t)floor(pos);
    return v[f - 1] + (pos - floor(pos)) * (v[f] - v[f - 1]);
}

static const double model_fractions[6] = {.5, .75, .9, .95, .99, .999};

static double model_dev(const double *v, size_t n) {
    double mean = v[0], m2 = 0;
    for (size_t k = 1; k < n; k++) {
        double next = mean + (v[k] - mean) / (double)(k + 1);
        m2 += (v[k] - mean) * (v[k] - next);
        mean = next;
    }
    return n == 1 ? 0 : sqrt(m2 / (double)n);
}

static double model_doubles(enum aggregator a, const double *all, size_t n) {
    double *v = malloc(n * sizeof(*v) + 1);
    size_t m = 0;
    for (size_t k = 0; k < n; k++)
        if (!isnan(all[k]))
            v[m++] = all[k];
    double r = NAN;
    switch (a) {
    case AGGREGATOR_FIRST:
    case AGGREGATOR_NONE:
        r = all[0];
        break;
    case AGGREGATOR_LAST:
        r = all[n - 1];
        break;
    case AGGREGATOR_DIFF:
        r = m == 0 ? NAN : all[n - 1] - v[0];
        break;
    case AGGREGATOR_COUNT:
        r = (double)m;
        break;
    case AGGREGATOR_MULT:
        r = 1;
        for (size_t k = 0; k < n; k++)
            r *= all[k];
        break;
    default:
        if (m == 0)
            break;
        r = 0;
        if (a == AGGREGATOR_SUM || a == AGGREGATOR_PFSUM || a == AGGREGATOR_ZIMSUM ||
            a == AGGREGATOR_AVG) {
            for (size_t k = 0; k < m; k++)
                r += v[k];
            if (a == AGGREGATOR_AVG)
                r /= (double)m;
        } else if (a == AGGREGATOR_SQUARESUM) {
            for (size_t k = 0; k < m; k++)
                r += v[k] * v[k];
        } else if (a == AGGREGATOR_DEV) {
            r = model_dev(v, m);
        } else {
            qsort(v, m, sizeof(*v), model_compare_doubles);
            if (a == AGGREGATOR_MIN || a == AGGREGATOR_MIMMIN)
                r = v[0];
            else if (a == AGGREGATOR_MAX || a == AGGREGATOR_MIMMAX)
                r = v[m - 1];
            else if (a == AGGREGATOR_MEDIAN)
                r = v[m / 2];
            else
                r = model_percentile(0, model_fractions[(a - AGGREGATOR_P50) % 6], v, m);
        }
    }
    free(v);
    return r;
}

static int model_compare_ints(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t model_ints(enum aggregator a, const int64_t *v, size_t n) {
    uint64_t sum = 0, product = 1, squares = 0;
    int64_t *sorted = malloc(n * sizeof(*sorted));
    double *d = malloc(n * sizeof(*d));
    for (size_t k = 0; k < n; k++) {
        sum += (uint64_t)v[k];
        product *= (uint64_t)v[k];
        squares += (uint64_t)v[k] * (uint64_t)v[k];
        sorted[k] = v[k];
        d[k] = (double)v[k];
    }
    qsort(sorted, n, sizeof(*sorted), model_compare_ints);
    int64_t r;
    switch (a) {
    case AGGREGATOR_SUM:
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
        r = (int64_t)sum;
        break;
    case AGGREGATOR_AVG:
        r = (int64_t)sum / (int64_t)n;
        break;
    case AGGREGATOR_MIN:
    case AGGREGATOR_MIMMIN:
        r = sorted[0];
        break;
    case AGGREGATOR_MAX:
    case AGGREGATOR_MIMMAX:
        r = sorted[n - 1];
        break;
    case AGGREGATOR_MEDIAN:
        r = sorted[n / 2];
        break;
    case AGGREGATOR_MULT:
        r = (int64_t)product;
        break;
    case AGGREGATOR_SQUARESUM:
        r = (int64_t)squares;
        break;
    case AGGREGATOR_COUNT:
        r = (int64_t)n;
        break;
    case AGGREGATOR_FIRST:
    case AGGREGATOR_NONE:
        r = v[0];
        break;
    case AGGREGATOR_LAST:
        r = v[n - 1];
        break;
    case AGGREGATOR_DIFF:
        r = (int64_t)((uint64_t)v[n - 1] - (uint64_t)v[0]);
        break;
    case AGGREGATOR_DEV:
        r = (int64_t)model_dev(d, n);
        break;
    default:
        r = (int64_t)model_percentile((a - AGGREGATOR_P50) / 6,
                                      model_fractions[(a - AGGREGATOR_P50) % 6], d, n);
    }
    free(sorted);
    free(d);
    return r;
}

/* ---- one series ---- */

struct model_window {
    int64_t S, E, start, end; /* milliseconds */
};

static struct model_window model_window(const struct query *q, const struct query_sub *sub) {
    int64_t I = sub->downsampled && !sub->downsample.all ? sub->downsample.interval_ms : 0;
    int64_t s = q->start_ms / 1000, e = q->end_ms / 1000 + q->end_given_ms;
    if (I > 0) {
        s -= (s * 1000 % I) / 1000;
        e += (I - e * 1000 % I) / 1000;
        if (e % 3600 != 0)
            e += 3600 - e % 3600;
    } else {
        e += 3600 - e % 3600;
    }
    s -= s % 3600;
    return (struct model_window){s * 1000, e * 1000, q->start_ms, q->end_ms};
}

/* All points of one bucket through the function; whatever the number of buckets. */
static struct samples model_downsample(struct samples in, const struct downsample *ds,
                                       struct model_window w, bool *gap) {
    struct samples out = {0};
    double *values = malloc(in.n * sizeof(double) + 1);
    if (ds->all) {
        size_t n = 0;
        for (size_t k = 0; k < in.n; k++)
            if (in.p[k].t >= w.start && in.p[k].t < w.end)
                values[n++] = sample_double(in.p[k]);
        if (n > 0)
            samples_push(&out,
                         (struct sample){w.start, true, 0, model_doubles(ds->function, values, n)});
        free(values);
        return out;
    }
    int64_t b = downsample_bucket(ds, w.S);
    if (b < w.S)
        b = downsample_next(ds, b);
    int64_t filled_to = downsample_bucket(ds, w.E); /* the bucket of the end itself is not filled */
    for (; b <= w.E; b = downsample_next(ds, b)) {
        int64_t next = downsample_next(ds, b);
        size_t n = 0;
        for (size_t k = 0; k < in.n; k++)
            if (in.p[k].t >= b && in.p[k].t < next)
                values[n++] = sample_double(in.p[k]);
        if (n > 0)
            samples_push(&out, (struct sample){b, true, 0, model_doubles(ds->function, values, n)});
        else if (b >= filled_to)
            break;
        else if (ds->fill == FILL_SCALAR)
            *gap = true;
        else if (ds->fill == FILL_ZERO)
            samples_push(&out, (struct sample){b, true, 0, 0.0});
        else if (ds->fill != FILL_NONE)
            samples_push(&out, (struct sample){b, true, 0, NAN});
    }
    free(values);
    return out;
}

static struct samples model_rate(struct samples in, const struct query_rate *o) {
    struct samples out = {0};
    struct sample prev = {0};
    for (size_t k = 0; k < in.n; k++) {
        struct sample next = in.p[k];
        double seconds = (double)(next.t - prev.t) / 1000.0, delta, r;
        bool ints = !prev.is_float && !next.is_float;
        delta = ints ? (double)(int64_t)((uint64_t)next.i - (uint64_t)prev.i)
                     : sample_double(next) - sample_double(prev);
        r = delta / seconds;
        bool drop = false;
        if (o->counter && delta < 0) {
            drop = o->drop_resets;
            delta = ints ? (double)(int64_t)((uint64_t)o->counter_max - (uint64_t)prev.i +
                                             (uint64_t)next.i)
                         : (double)o->counter_max - sample_double(prev) + sample_double(next);
            r = delta / seconds;
            if (o->reset_value > 0 && r > (double)o->reset_value)
                r = 0;
        }
        prev = next;
        if (!drop)
            samples_push(&out, (struct sample){next.t, true, 0, r});
    }
    return out;
}

/* ---- the group ---- */

struct model_slot {
    struct samples in;
    size_t at; /* next to be read */
    bool has_current, has_next;
    struct sample current, next;
};

static void model_read(struct model_slot *s) {
    s->has_next = s->at < s->in.n;
    if (s->has_next)
        s->next = s->in.p[s->at++];
}

static double model_lerp_double(enum interpolation m, int64_t x, struct sample a, struct sample b) {
    double y0 = sample_double(a), y1 = sample_double(b);
    switch (m) {
    case INTERPOLATION_LERP:
        return y0 + (double)(x - a.t) * (y1 - y0) / (double)(b.t - a.t);
    case INTERPOLATION_MAX:
        return DBL_MAX;
    case INTERPOLATION_MIN:
        return -DBL_MAX;
    case INTERPOLATION_PREV:
        return y0;
    default:
        return 0;
    }
}

static int64_t model_lerp_int(enum interpolation m, int64_t x, struct sample a, struct sample b) {
    switch (m) {
    case INTERPOLATION_LERP:
        return (int64_t)((uint64_t)a.i + (uint64_t)((int64_t)((uint64_t)(x - a.t) *
                                                              ((uint64_t)b.i - (uint64_t)a.i)) /
                                                    (b.t - a.t)));
    case INTERPOLATION_MAX:
        return INT64_MAX;
    case INTERPOLATION_MIN:
        return INT64_MIN;
    case INTERPOLATION_PREV:
        return a.i;
    default:
        return 0;
    }
}

static struct samples model_merge(struct samples *series, size_t n, enum aggregator a, bool rate,
                                  struct model_window w) {
    struct model_slot *slots = calloc(n + 1, sizeof(*slots));
    int64_t *ints = malloc((n + 1) * sizeof(*ints));
    double *doubles = malloc((n + 1) * sizeof(*doubles));
    struct samples out = {0};
    enum interpolation m = aggregator_interpolation(a);
    for (size_t k = 0; k < n; k++) {
        slots[k].in = series[k];
        model_read(&slots[k]);
        if (rate && slots[k].has_next) {
            slots[k].current = slots[k].next;
            model_read(&slots[k]);
            slots[k].has_current = slots[k].has_next;
        }
    }
    for (;;) {
        int64_t t = INT64_MAX;
        for (size_t k = 0; k < n; k++) {
            if (!slots[k].has_next)
                slots[k].has_current = false;
            else if (slots[k].next.t < t)
                t = slots[k].next.t;
        }
        if (t == INT64_MAX || t > w.E)
            break;
        bool is_float = rate;
        size_t count = 0;
        for (size_t k = 0; k < n; k++) {
            struct model_slot *s = &slots[k];
            if (s->has_next && s->next.t == t) {
                s->current = s->next;
                s->has_current = true;
                model_read(s);
            }
            is_float |= s->has_current && s->current.is_float;
            is_float |= s->has_next && s->next.is_float;
            if (!s->has_current)
                continue;
            bool exact = s->current.t == t || rate;
            ints[count] = exact ? s->current.i : model_lerp_int(m, t, s->current, s->next);
            doubles[count++] =
                exact ? sample_double(s->current) : model_lerp_double(m, t, s->current, s->next);
        }
        struct sample result = {.t = t, .is_float = is_float};
        if (is_float)
            result.d = model_doubles(a, doubles, count);
        else
            result.i = model_ints(a, ints, count);
        if (t >= w.start && t <= w.end)
            samples_push(&out, result);
    }
    free(slots);
    free(ints);
    free(doubles);
    return out;
}

/* One group: raw points of each member (any range) to the points of the answer. *members says how
   many series have points in the window at all. */
static struct samples model_group(const struct samples *raw, size_t n, const struct query *q,
                                  const struct query_sub *sub, size_t *members, bool *gap) {
    struct model_window w = model_window(q, sub);
    struct samples *series = calloc(n + 1, sizeof(*series));
    *members = 0;
    for (size_t k = 0; k < n; k++) {
        struct samples in = {0};
        for (size_t j = 0; j < raw[k].n; j++)
            if (raw[k].p[j].t >= w.S && raw[k].p[j].t <= w.E)
                samples_push(&in, raw[k].p[j]);
        if (in.n == 0)
            continue;
        if (sub->downsampled) {
            struct samples buckets = model_downsample(in, &sub->downsample, w, gap);
            free(in.p);
            in = buckets;
        }
        if (sub->rate) {
            struct samples rates = model_rate(in, &sub->rate_options);
            free(in.p);
            in = rates;
        }
        series[(*members)++] = in;
    }
    struct samples out = model_merge(series, *members, sub->aggregator, sub->rate, w);
    for (size_t k = 0; k < *members; k++)
        free(series[k].p);
    free(series);
    return out;
}
