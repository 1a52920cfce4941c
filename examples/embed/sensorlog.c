/*
 * A sensor logger with its database inside: reads numbers from files, keeps them in libbarograph,
 * and answers for its own history in plain text.
 *
 *     sensorlog [--data DIR] [--every MS] [--port N] NAME=FILE[/DIVISOR] ...
 *     sensorlog --data /data room=/sys/class/hwmon/hwmon0/temp1_input/1000
 *     sensorlog --check [--port N]          exit 0 if the one that runs answers
 *
 *     GET /                                 the sensors and their latest values
 *     GET /NAME?start=1h-ago&by=1m-avg      history: a time and a value a line
 *
 * One thread: it waits for a request or for the next reading, whichever comes first. What it has
 * read is on the disk before it is shown. SIGTERM ends it.
 */
#include <barograph.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SENSORS_MAX = 64, REQUEST_BYTES = 2048 };

struct sensor {
    const char *name;
    char path[256];
    double divisor;
    barograph_series series;
    double latest; /* NaN: could not be read */
};

struct logger {
    const char *directory;
    long every_ms, port;
    struct sensor sensors[SENSORS_MAX];
    size_t count;
    barograph *db;
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static int64_t now_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "sensorlog: %s: %s\n", what, why);
    return -1;
}

/* ---- reading ---- */

/* "room=/sys/.../temp1_input/1000": a last part that is a number is what readings are divided by.
 */
static int add_sensor(struct logger *logger, char *text) {
    char *path = strchr(text, '=');
    if (path == NULL || path == text || logger->count == SENSORS_MAX)
        return fail(text, "not NAME=FILE[/DIVISOR], or more than 64");
    *path++ = '\0';
    struct sensor *sensor = &logger->sensors[logger->count++];
    *sensor = (struct sensor){.name = text, .divisor = 1, .latest = NAN};
    char *end, *last = strrchr(path, '/');
    double divisor = last == NULL ? 0 : strtod(last + 1, &end);
    if (divisor > 0 && *end == '\0') {
        sensor->divisor = divisor;
        *last = '\0';
    }
    snprintf(sensor->path, sizeof(sensor->path), "%s", path);
    return 0;
}

static double read_number(const struct sensor *sensor) {
    double value = NAN;
    FILE *file = fopen(sensor->path, "r");
    if (file == NULL)
        return NAN;
    if (fscanf(file, "%lf", &value) != 1)
        value = NAN;
    fclose(file);
    return isfinite(value) ? value / sensor->divisor : NAN;
}

static int read_sensors(struct logger *logger) {
    barograph_point points[SENSORS_MAX];
    barograph_error error;
    size_t n = 0;
    int64_t time_ms = now_ms(CLOCK_REALTIME);
    for (size_t i = 0; i < logger->count; i++) {
        struct sensor *sensor = &logger->sensors[i];
        sensor->latest = read_number(sensor);
        if (!isnan(sensor->latest))
            points[n++] = (barograph_point){.series = sensor->series,
                                            .is_double = 1,
                                            .time_ms = time_ms,
                                            .value.real = sensor->latest};
    }
    if (n > 0 && barograph_put(logger->db, points, n, BAROGRAPH_DURABLE, &error) != BAROGRAPH_OK)
        return fail("cannot keep a reading", error.message);
    return 0;
}

/* ---- answering ---- */

static int write_history(void *context, const barograph_result *result) {
    FILE *out = context;
    for (size_t i = 0; i < result->count; i++) {
        time_t seconds = (time_t)(result->time_ms[i] / 1000);
        struct tm utc;
        char text[32];
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
        fprintf(out, "%s.%03dZ %g\n", text, (int)(result->time_ms[i] % 1000), result->values[i]);
    }
    return 0;
}

/* The value of `name` in "start=1h-ago&by=1m-avg", if it is plain, or the fallback. */
static void parameter(const char *query, const char *name, const char *fallback, char *out,
                      size_t size) {
    size_t n = strlen(name);
    snprintf(out, size, "%s", fallback);
    const char *next;
    for (const char *at = query; at != NULL; at = next) {
        next = strchr(at, '&');
        next = next == NULL ? NULL : next + 1;
        if (strncmp(at, name, n) != 0 || at[n] != '=')
            continue;
        size_t length = strspn(at + n + 1, "abcdefghijklmnopqrstuvwxyz0123456789-/:");
        if (length > 0)
            snprintf(out, size, "%.*s", (int)length, at + n + 1);
    }
}

/* Writes the body for "/", "/NAME" or "/NAME?..."; the HTTP status. */
static int answer(struct logger *logger, char *target, FILE *out) {
    char start[64], by[64], expression[1024];
    barograph_error error;
    char *query = strchr(target, '?');
    if (query != NULL)
        *query++ = '\0';
    if (strcmp(target, "/") == 0) {
        for (size_t i = 0; i < logger->count; i++)
            fprintf(out, "%s %g\n", logger->sensors[i].name, logger->sensors[i].latest);
        return 200;
    }
    for (size_t i = 0; i < logger->count; i++) {
        if (strcmp(target + 1, logger->sensors[i].name) != 0)
            continue;
        parameter(query, "start", "1h-ago", start, sizeof(start));
        parameter(query, "by", "1m-avg", by, sizeof(by));
        snprintf(expression, sizeof(expression), "avg:%s:sensor{name=%s}", by, target + 1);
        if (barograph_query(logger->db, start, NULL, expression, write_history, out, &error) ==
            BAROGRAPH_OK)
            return 200;
        fprintf(out, "%s\n", error.message);
        return 400;
    }
    fprintf(out, "there is no sensor %s\n", target + 1);
    return 404;
}

static void serve(struct logger *logger, int connection) {
    char request[REQUEST_BYTES] = "", target[512] = "", *body = NULL;
    size_t n = 0, length = 0;
    struct timeval patience = {.tv_sec = 1};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    while (n < sizeof(request) - 1 && strstr(request, "\r\n\r\n") == NULL) {
        ssize_t got = recv(connection, request + n, sizeof(request) - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        request[n] = '\0';
    }
    FILE *out = open_memstream(&body, &length);
    if (out == NULL)
        return;
    int status = 405;
    if (sscanf(request, "GET %511s", target) == 1 && target[0] == '/')
        status = answer(logger, target, out);
    fclose(out);
    char head[160];
    int h = snprintf(head, sizeof(head),
                     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n",
                     status, status == 200 ? "OK" : "Error", length);
    (void)!send(connection, head, (size_t)h, MSG_NOSIGNAL | MSG_MORE);
    for (size_t sent = 0; sent < length;) {
        ssize_t part = send(connection, body + sent, length - sent, MSG_NOSIGNAL);
        if (part <= 0)
            break;
        sent += (size_t)part;
    }
    free(body);
}

static int tcp(long port, struct sockaddr_in *address, uint32_t host) {
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address->sin_addr.s_addr = htonl(host);
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int listen_on(long port) {
    struct sockaddr_in address;
    int on = 1, s = tcp(port, &address, INADDR_ANY);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(s, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(s, 16) != 0)
        return fail("cannot listen", strerror(errno));
    return s;
}

static int check(long port) {
    struct sockaddr_in address;
    char reply[16] = "";
    int s = tcp(port, &address, INADDR_LOOPBACK);
    if (connect(s, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(s, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) != 18 ||
        recv(s, reply, sizeof(reply) - 1, MSG_WAITALL) <= 0)
        return 1;
    return strncmp(reply, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
}

/* ---- the whole ---- */

static int open_database(struct logger *logger) {
    barograph_options options;
    barograph_error error;
    barograph_options_default(&options);
    options.directory = logger->directory;
    options.memory_limit_bytes = 64 << 20;
    if (barograph_open(&options, &logger->db, &error) != BAROGRAPH_OK)
        return fail("cannot open the database", error.message);
    for (size_t i = 0; i < logger->count; i++) {
        barograph_tag tag = {"name", logger->sensors[i].name};
        if (barograph_series_open(logger->db, "sensor", &tag, 1, &logger->sensors[i].series,
                                  &error) != BAROGRAPH_OK)
            return fail(logger->sensors[i].name, error.message);
    }
    return 0;
}

static int run(struct logger *logger, int listener, const sigset_t *waiting) {
    int64_t next = now_ms(CLOCK_MONOTONIC);
    while (!stopped) {
        int64_t left = next - now_ms(CLOCK_MONOTONIC);
        if (left <= 0) {
            if (read_sensors(logger) < 0)
                return -1;
            next += logger->every_ms * (1 - left / logger->every_ms);
            continue;
        }
        struct pollfd wait = {.fd = listener, .events = POLLIN};
        struct timespec timeout = {left / 1000, left % 1000 * 1000000};
        if (ppoll(&wait, 1, &timeout, waiting) != 1)
            continue;
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0) {
            serve(logger, connection);
            close(connection);
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    static struct logger logger = {.directory = "sensorlog.data", .every_ms = 1000, .port = 8080};
    int checking = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--check") == 0)
            checking = 1;
        else if (strcmp(argv[i], "--data") == 0 && ++i)
            logger.directory = value;
        else if (strcmp(argv[i], "--every") == 0 && ++i)
            logger.every_ms = strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--port") == 0 && ++i)
            logger.port = strtol(value, NULL, 10);
        else if (add_sensor(&logger, argv[i]) < 0)
            return 2;
    }
    if (logger.every_ms < 1 || logger.port < 1 || logger.port > 65535) {
        fail("--every and --port", "a number is missing or out of range");
        return 2;
    }
    if (checking)
        return check(logger.port);

    /* SIGTERM is let in only while waiting, so that no step is interrupted. */
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    sigaction(SIGINT, &(struct sigaction){.sa_handler = stop}, NULL);

    int listener = listen_on(logger.port);
    if (listener < 0 || open_database(&logger) < 0)
        return 1;
    printf("sensorlog: %zu sensors every %ld ms, history on port %ld\n", logger.count,
           logger.every_ms, logger.port);
    fflush(stdout);
    int status = run(&logger, listener, &waiting);
    barograph_error error;
    if (barograph_close(logger.db, &error) != BAROGRAPH_OK)
        status = fail("cannot close the database", error.message);
    return status == 0 ? 0 : 1;
}
