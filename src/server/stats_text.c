#include "server/stats_text.h"

#include "server/stats.h"
#include "server/version.h"
#include "wire/number.h"

#include <stdio.h>

struct lines {
    struct instance *instance;
    struct buf *out;
    int64_t seconds;
};

bool stats_text_is_whole(double value) {
    return value >= -9e15 && value <= 9e15 && value == (double)(int64_t)value;
}

void stats_text_value(double value, struct buf *out) {
    if (stats_text_is_whole(value))
        number_put_int(out, (int64_t)value);
    else
        number_put_double(out, value);
}

void stats_text_sanitise(char *name) {
    for (char *c = name; *c != '\0'; c++)
        if (!series_key_name_ok((str){c, 1}, STR(""), NULL))
            *c = '_';
}

static void each_line(void *context, const struct stat *stat) {
    struct lines *lines = context;
    struct buf *out = lines->out;
    buf_printf(out, "tsd.%s %lld ", stat->metric, (long long)lines->seconds);
    stats_text_value(stat->value, out);
    if (stat->tag_key != NULL) {
        char value[128];
        snprintf(value, sizeof(value), "%s", stat->tag_value);
        stats_text_sanitise(value);
        buf_printf(out, " %s=%s", stat->tag_key, value);
    }
    buf_printf(out, " host=%s", lines->instance->host);
    if (config_true(lines->instance->config, CONFIG_STATS_PORT))
        buf_printf(out, " port=%u", lines->instance->port);
    buf_char(out, '\n');
}

void stats_text_lines(struct instance *instance, struct buf *out) {
    struct lines lines = {instance, out, clock_wall_ms(&clock_system) / 1000};
    stats_each(instance, each_line, &lines);
}

void stats_text_version(const struct instance *instance, struct buf *out) {
    buf_printf(out,
               "net.opentsdb.tools " STATS_TEXT_VERSION " built at revision %s (MINT)\n"
               "Built on %s by barograph@%s:barograph " VERSION_TEXT "\n",
               VERSION_REVISION, VERSION_DATE, instance->host);
}
