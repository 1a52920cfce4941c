#include "server/self.h"

#include "os/host.h"
#include "os/thread.h"
#include "server/forward.h"
#include "server/put_writer.h"
#include "server/report.h"
#include "server/stats.h"
#include "server/stats_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct self {
    struct instance *instance;
    struct put_writer *writer;
    struct thread thread;
    struct mutex lock;
    struct condition changed;
    bool stopping;
    int64_t now_ms;
    char host[256];  /* as it may stand in a tag value */
    struct buf line; /* for self.forward */
};

struct named {
    char metric[128];
    const char *tag_key;
    char tag_value[128];
    const struct self *self;
};

static enum rc split(void *context, struct series_key *key, struct err *err) {
    const struct named *named = context;
    key->metric = str_of(named->metric);
    key->tag_count = 1;
    key->tags[0] = (struct tag){STR("host"), str_of(named->self->host)};
    if (named->tag_key != NULL)
        key->tags[key->tag_count++] =
            (struct tag){str_of(named->tag_key), str_of(named->tag_value)};
    return RC_OK;
}

/* The same point as a telnet line. */
static void forward(struct self *self, const struct named *named, double number) {
    struct buf *line = &self->line;
    buf_reset(line);
    buf_printf(line, "put %s %lld ", named->metric, (long long)(self->now_ms / 1000));
    stats_text_value(number, line);
    buf_printf(line, " host=%s", self->host);
    if (named->tag_key != NULL)
        buf_printf(line, " %s=%s", named->tag_key, named->tag_value);
    if (!line->failed)
        forward_add(self->instance->forward, buf_view(line));
}

static void add(struct self *self, const char *prefix, const char *metric, const char *tag_key,
                const char *tag_value, double number) {
    struct named named = {.tag_key = tag_key, .self = self};
    snprintf(named.metric, sizeof(named.metric), "%s%s", prefix, metric);
    snprintf(named.tag_value, sizeof(named.tag_value), "%s", tag_value == NULL ? "" : tag_value);
    stats_text_sanitise(named.tag_value);
    bool whole = stats_text_is_whole(number);
    struct value value = {whole ? (uint64_t)(int64_t)number : points_bits_of(number), !whole};
    struct err err = {0};
    /* Metric and tag value identify the series; neither can hold the other's separator. */
    if (put_writer_add(self->writer, str_of(named.metric), str_of(named.tag_value), split, &named,
                       self->now_ms, value, &err) < 0)
        report(REPORT_WARN, REPORT_STORE, "cannot record %s: %s", named.metric, err.message);
    if (self->instance->forward != NULL)
        forward(self, &named, number);
}

static void each_stat(void *context, const struct stat *stat) {
    add(context, "tsd.", stat->metric, stat->tag_key, stat->tag_value, stat->value);
}

static void each_host(void *context, const char *metric, const char *tag_key, const char *tag_value,
                      double value) {
    add(context, "host.", metric, tag_key, tag_value, value);
}

static void record(struct self *self) {
    self->now_ms = clock_wall_ms(&clock_system);
    put_writer_begin(self->writer);
    stats_each(self->instance, each_stat, self);
    host_read(each_host, self);
    if (self->instance->forward != NULL)
        forward_flush(self->instance->forward);
    uint64_t stored, commit;
    struct err err = {0};
    if (put_writer_flush(self->writer, &stored, &commit, &err) < 0)
        report(REPORT_WARN, REPORT_STORE, "cannot record the server's statistics: %s", err.message);
}

static void *run(void *context) {
    struct self *self = context;
    int64_t interval_ns = (int64_t)self->instance->config->number[CONFIG_SELF_INTERVAL] * 1000000;
    int64_t next_ns = clock_monotonic_ns() + interval_ns;
    mutex_lock(&self->lock);
    while (!self->stopping) {
        if (condition_wait_until(&self->changed, &self->lock, next_ns))
            continue;
        next_ns += interval_ns;
        mutex_unlock(&self->lock);
        record(self);
        mutex_lock(&self->lock);
    }
    mutex_unlock(&self->lock);
    return NULL;
}

enum rc self_start(struct instance *instance, struct self **out, struct err *err) {
    *out = NULL;
    if (instance->config->number[CONFIG_SELF_INTERVAL] == 0)
        return RC_OK;
    struct self *self = calloc(1, sizeof(*self));
    if (self == NULL || (self->writer = put_writer_new(instance, PUT_SELF)) == NULL) {
        free(self);
        return err_set(err, RC_NOMEM, "out of memory");
    }
    self->instance = instance;
    snprintf(self->host, sizeof(self->host), "%s", instance->host);
    stats_text_sanitise(self->host);
    mutex_init(&self->lock);
    condition_init(&self->changed);
    record(self);
    enum rc rc = thread_start(&self->thread, "self", run, self, err);
    if (rc < 0) {
        put_writer_free(self->writer);
        buf_fini(&self->line);
        free(self);
        return rc;
    }
    *out = self;
    return RC_OK;
}

void self_stop(struct self *self) {
    if (self == NULL)
        return;
    mutex_lock(&self->lock);
    self->stopping = true;
    condition_signal(&self->changed);
    mutex_unlock(&self->lock);
    thread_join(&self->thread);
    condition_fini(&self->changed);
    mutex_fini(&self->lock);
    put_writer_free(self->writer);
    buf_fini(&self->line);
    free(self);
}
