#include "server/report.h"

#include "os/clock.h"
#include "os/thread.h"
#include "wire/json_out.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_BYTES = 2048, PERIOD_S = 10 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const kind_names[REPORT_KINDS] = {"server", "store", "client", "query"};

static struct {
    pthread_mutex_t lock;
    enum report_level level;
    bool json;
    struct {
        int64_t period; /* monotonic seconds / PERIOD_S */
        uint64_t lines;
        uint64_t dropped;
    } kinds[REPORT_KINDS];
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = REPORT_INFO};

void report_configure(const char *level, const char *format) {
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < COUNT_OF(level_names); i++)
        if (strcmp(level, level_names[i]) == 0)
            state.level = (enum report_level)i;
    state.json = strcmp(format, "json") == 0;
    pthread_mutex_unlock(&state.lock);
}

static void put_line(enum report_level level, enum report_kind kind, const char *text) {
    int64_t now = clock_wall_ms(&clock_system);
    time_t seconds = (time_t)(now / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char when[40];
    size_t n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(when + n, sizeof(when) - n, ".%03dZ", (int)(now % 1000));
    if (!state.json) {
        printf("%s %-5s %s: %s\n", when, level_names[level], kind_names[kind], text);
        fflush(stdout);
        return;
    }
    struct buf line = {0};
    struct json_out json = {.out = &line};
    json_out_object(&json);
    json_out_key(&json, STR("time"));
    json_out_string(&json, str_of(when));
    json_out_key(&json, STR("level"));
    json_out_string(&json, str_of(level_names[level]));
    json_out_key(&json, STR("part"));
    json_out_string(&json, str_of(kind_names[kind]));
    json_out_key(&json, STR("message"));
    json_out_string(&json, str_of(text));
    json_out_object_end(&json);
    buf_char(&line, '\n');
    if (!line.failed)
        fwrite(line.p, 1, line.n, stdout);
    fflush(stdout);
    buf_fini(&line);
}

/* Whether this kind may say one more line now; tells of those dropped when a new period begins. */
static bool admit(enum report_kind kind) {
    int64_t period = clock_monotonic_ns() / 1000000000 / PERIOD_S;
    if (state.kinds[kind].period != period) {
        uint64_t dropped = state.kinds[kind].dropped;
        state.kinds[kind].period = period;
        state.kinds[kind].lines = 0;
        state.kinds[kind].dropped = 0;
        if (dropped > 0) {
            char text[80];
            snprintf(text, sizeof(text), "%llu more lines like these were not written",
                     (unsigned long long)dropped);
            put_line(REPORT_WARN, kind, text);
        }
    }
    if (state.kinds[kind].lines++ < REPORT_BURST)
        return true;
    state.kinds[kind].dropped++;
    return false;
}

void report(enum report_level level, enum report_kind kind, const char *format, ...) {
    char text[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    pthread_mutex_lock(&state.lock);
    if (level >= state.level && (kind == REPORT_SERVER || admit(kind)))
        put_line(level, kind, text);
    pthread_mutex_unlock(&state.lock);
}
