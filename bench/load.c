/*
 * Loads TSBS-like data into a server by telnet or HTTP and tells what the server's process used.
 *
 *     bench_load telnet|http PORT PID HOSTS EPOCHS [EPOCHS_FIRST]
 *
 * The text is made in memory first, an epoch at a time, so that making it does not disturb what is
 * measured; the figure is points per second of the server's CPU time (user and system of process
 * PID, from /proc). Only 127.0.0.1. Telnet ends when the server has taken everything (it answers
 * `version` after the last line); HTTP posts 1000 points a request and waits for each reply.
 */
#include "tsbs.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { POINT_BYTES = 512, POST_POINTS = 1000, TAGS = 8, CONNECTIONS = 8 };

/* Connections in turn, each with at most one request under way. */
struct collectors {
    int port;
    int socket[CONNECTIONS];
    bool waiting[CONNECTIONS];
    unsigned turn;
};

static double wall_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(long pid) {
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    fclose(file);
    char *after = strrchr(line, ')');
    unsigned long user, system;
    if (after == NULL ||
        sscanf(after, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        exit(1);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Until the process uses less than a twentieth of a processor. */
static void wait_until_idle(long pid) {
    for (int tries = 0; tries < 100; tries++) {
        double before = cpu_s(pid);
        usleep(400000);
        if (cpu_s(pid) - before <= 0.02)
            return;
    }
}

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof(to)) != 0) {
        perror("connect");
        exit(1);
    }
    return s;
}

static void send_all(int s, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t sent = send(s, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            perror("send");
            exit(1);
        }
        bytes += sent;
        n -= (size_t)sent;
    }
}

static size_t make_lines(const struct tsbs *t, uint32_t hosts, int64_t time_s, char *out) {
    size_t n = 0;
    for (uint32_t h = 0; h < hosts; h++)
        for (uint32_t m = 0; m < TSBS_METRICS; m++)
            n += tsbs_line(t, h, m, time_s, TAGS, out + n);
    return n;
}

/* Reads until the end of the reply's headers; its status. A 204 has no body. */
static int read_status(int s) {
    char reply[4096];
    size_t n = 0;
    while (n < sizeof(reply) - 1) {
        ssize_t got = recv(s, reply + n, sizeof(reply) - 1 - n, 0);
        if (got <= 0)
            return -1;
        n += (size_t)got;
        reply[n] = '\0';
        if (strstr(reply, "\r\n\r\n") != NULL)
            return atoi(reply + 9);
    }
    return -1;
}

static void take_reply(struct collectors *c, unsigned i) {
    if (!c->waiting[i])
        return;
    int status = read_status(c->socket[i]);
    if (status / 100 != 2) {
        fprintf(stderr, "status %d\n", status);
        exit(1);
    }
    c->waiting[i] = false;
}

static void post(struct collectors *c, const char *body, size_t n) {
    unsigned i = c->turn++ % CONNECTIONS;
    take_reply(c, i);
    char head[256];
    int h = snprintf(head, sizeof(head),
                     "POST /api/put HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\n\r\n",
                     c->port, n);
    send_all(c->socket[i], head, (size_t)h);
    send_all(c->socket[i], body, n);
    c->waiting[i] = true;
}

/* Makes the bodies of an epoch one after the other in `out`; `ends` gets where each ends. */
static unsigned make_bodies(const struct tsbs *t, uint32_t hosts, int64_t time_s, char *out,
                            size_t *ends) {
    size_t n = 0;
    unsigned bodies = 0;
    uint32_t points = 0, total = hosts * TSBS_METRICS;
    for (uint32_t i = 0; i < total; i++) {
        out[n++] = points == 0 ? '[' : ',';
        n += tsbs_json(t, i / TSBS_METRICS, i % TSBS_METRICS, time_s, TAGS, out + n);
        if (++points == POST_POINTS || i + 1 == total) {
            out[n++] = ']';
            ends[bodies++] = n;
            points = 0;
        }
    }
    return bodies;
}

static void post_bodies(struct collectors *c, const char *out, const size_t *ends, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        size_t from = i == 0 ? 0 : ends[i - 1];
        post(c, out + from, ends[i] - from);
    }
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: bench_load telnet|http PORT PID HOSTS EPOCHS [EPOCHS_FIRST]\n");
        return 2;
    }
    bool telnet = strcmp(argv[1], "telnet") == 0;
    int port = atoi(argv[2]);
    long pid = atol(argv[3]);
    uint32_t hosts = (uint32_t)atoi(argv[4]);
    int epochs = atoi(argv[5]), first = argc > 6 ? atoi(argv[6]) : 0;
    struct tsbs *t = tsbs_new(hosts, 123);
    char *out = malloc((size_t)hosts * TSBS_METRICS * POINT_BYTES + 16);
    size_t *ends = calloc((size_t)hosts * TSBS_METRICS / POST_POINTS + 1, sizeof(*ends));
    if (t == NULL || out == NULL || ends == NULL)
        return 1;
    struct collectors c = {.port = port};
    for (int i = 0; i < CONNECTIONS; i++)
        c.socket[i] = dial(port);
    int s = c.socket[0];
    double cpu = cpu_s(pid), wall = wall_s(), making = 0;
    for (int e = 0; e < first + epochs; e++) {
        int64_t time_s = TSBS_START_S + (int64_t)e * TSBS_STEP_S;
        if (e >= first && telnet) {
            double began = wall_s();
            size_t n = make_lines(t, hosts, time_s, out);
            making += wall_s() - began;
            send_all(s, out, n);
        } else if (e >= first) {
            double began = wall_s();
            unsigned bodies = make_bodies(t, hosts, time_s, out, ends);
            making += wall_s() - began;
            post_bodies(&c, out, ends, bodies);
        }
        double began = wall_s();
        tsbs_tick(t);
        making += wall_s() - began;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        take_reply(&c, i);
    wall = wall_s() - wall - making;
    if (telnet)
        wait_until_idle(pid);
    cpu = cpu_s(pid) - cpu;
    double points = (double)hosts * TSBS_METRICS * epochs;
    printf(
        "%.0f points, %.2f s of server CPU, %.2f s elapsed: %.3f M points/CPU s, %.3f M points/s\n",
        points, cpu, wall, points / cpu / 1e6, points / wall / 1e6);
    for (int i = 0; i < CONNECTIONS; i++)
        close(c.socket[i]);
    free(ends);
    free(out);
    tsbs_free(t);
    return 0;
}
