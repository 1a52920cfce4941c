/*
 * Loads TSBS-like data into a server by telnet or HTTP. In benchmarks it tells what the server's
 * process used; in the tools image, as `barograph-load`, it fills a server under any name.
 *
 * The text is made in memory first, an epoch at a time, so that making it does not disturb what is
 * measured; with --pid the figure is points per second of the server's CPU time (user and system,
 * from /proc). Telnet ends when the server has taken everything: it answers `version` after the
 * last line, or, with --pid, it does nothing any more. HTTP posts 1000 points a request and waits
 * for each reply.
 */
#include "tsbs.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { POINT_BYTES = 512, POST_POINTS = 1000, TAGS = 8, CONNECTIONS_MAX = 64 };

struct options {
    const char *host, *port;
    bool telnet;
    long pid;           /* of the server; 0: not on this machine, no CPU time */
    long hosts, epochs; /* ten points a host and epoch */
    long skip;          /* epochs left out before the first that is sent */
    long connections;   /* of HTTP; telnet has one */
    long wait_s;        /* how long the first connection is tried */
    int64_t start_s;    /* time of epoch 0 */
};

/* Connections in turn, each with at most one request under way. */
struct collectors {
    const struct options *options;
    int socket[CONNECTIONS_MAX];
    bool waiting[CONNECTIONS_MAX];
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

/* One try; -1 and why in `*error`. */
static int try_dial(const struct options *o, const char **error) {
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    int rc = getaddrinfo(o->host, o->port, &hints, &found);
    if (rc != 0) {
        *error = gai_strerror(rc);
        return -1;
    }
    int s = -1;
    for (struct addrinfo *at = found; at != NULL && s < 0; at = at->ai_next) {
        s = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (s < 0 || connect(s, at->ai_addr, at->ai_addrlen) != 0) {
            *error = strerror(errno);
            if (s >= 0)
                close(s);
            s = -1;
        }
    }
    freeaddrinfo(found);
    return s;
}

/* Tries for o->wait_s: names and servers come up in any order. */
static int dial(const struct options *o) {
    double until = wall_s() + (double)o->wait_s;
    const char *error = "";
    for (;;) {
        int s = try_dial(o, &error);
        if (s >= 0)
            return s;
        if (wall_s() >= until) {
            fprintf(stderr, "barograph-load: %s port %s: %s\n", o->host, o->port, error);
            exit(1);
        }
        usleep(200000);
    }
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
        fprintf(stderr, "barograph-load: the server answered with status %d\n", status);
        exit(1);
    }
    c->waiting[i] = false;
}

static void post(struct collectors *c, const char *body, size_t n) {
    unsigned i = c->turn++ % (unsigned)c->options->connections;
    take_reply(c, i);
    char head[256];
    int h = snprintf(head, sizeof(head),
                     "POST /api/put HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: "
                     "application/json\r\nContent-Length: %zu\r\n\r\n",
                     c->options->host, c->options->port, n);
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

/* Asks for the version and reads what came before the answer: complaints about puts, which are
   counted. So everything sent before has been taken. */
static unsigned finish_telnet(int s) {
    send_all(s, "version\n", 8);
    FILE *file = fdopen(dup(s), "r");
    char line[1024];
    unsigned complaints = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL && strncmp(line, "put", 3) == 0)
        if (complaints++ == 0)
            fprintf(stderr, "barograph-load: %s", line);
    if (file == NULL || ferror(file) || feof(file)) {
        fprintf(stderr, "barograph-load: the server closed the connection\n");
        exit(1);
    }
    fclose(file);
    return complaints;
}

static void usage(FILE *to) {
    fputs("Loads TSBS-like data (ten metrics a host, a point of each every ten seconds) into a "
          "server.\n\n"
          "usage: barograph-load [OPTIONS]\n"
          "  --host NAME        server, name or address (127.0.0.1)\n"
          "  --port N           its port (4242)\n"
          "  --by http|telnet   how points are put (http)\n"
          "  --hosts N          hosts that send: ten series each (100)\n"
          "  --epochs N         points of each series (360: an hour)\n"
          "  --skip N           epochs to leave out at the beginning (0)\n"
          "  --start SECONDS    time of the first epoch since 1970, or \"now\" for data that ends\n"
          "                     now (1451606400: 2016-01-01)\n"
          "  --connections N    connections of http, 1 to 64 (8)\n"
          "  --wait SECONDS     how long to wait for the name and the server (0)\n"
          "  --pid N            the server's process on this machine: prints its CPU time too\n",
          to);
}

static long whole(const char *text, const char *name, long min, long max) {
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n < min || n > max) {
        fprintf(stderr, "barograph-load: --%s is from %ld to %ld, not \"%s\"\n", name, min, max,
                text);
        exit(2);
    }
    return n;
}

static void read_options(int argc, char **argv, struct options *o) {
    static const struct option names[] = {
        {"host", 1, NULL, 'h'},  {"port", 1, NULL, 'p'},        {"by", 1, NULL, 'b'},
        {"hosts", 1, NULL, 'n'}, {"epochs", 1, NULL, 'e'},      {"skip", 1, NULL, 's'},
        {"start", 1, NULL, 't'}, {"connections", 1, NULL, 'c'}, {"wait", 1, NULL, 'w'},
        {"pid", 1, NULL, 'P'},   {"help", 0, NULL, '?'},        {NULL, 0, NULL, 0},
    };
    bool until_now = false;
    for (int c, at; (c = getopt_long(argc, argv, "", names, &at)) != -1;) {
        const char *name = c == '?' ? "" : names[at].name;
        switch (c) {
        case 'h':
            o->host = optarg;
            break;
        case 'p':
            (void)whole(o->port = optarg, name, 1, 65535);
            break;
        case 'b':
            o->telnet = strcmp(optarg, "telnet") == 0;
            if (!o->telnet && strcmp(optarg, "http") != 0) {
                fprintf(stderr, "barograph-load: --by is http or telnet, not \"%s\"\n", optarg);
                exit(2);
            }
            break;
        case 'n':
            o->hosts = whole(optarg, name, 1, 1000000);
            break;
        case 'e':
            o->epochs = whole(optarg, name, 1, 100000000);
            break;
        case 's':
            o->skip = whole(optarg, name, 0, 100000000);
            break;
        case 't':
            until_now = strcmp(optarg, "now") == 0;
            if (!until_now)
                o->start_s = whole(optarg, name, 1, INT32_MAX);
            break;
        case 'c':
            o->connections = whole(optarg, name, 1, CONNECTIONS_MAX);
            break;
        case 'w':
            o->wait_s = whole(optarg, name, 0, 86400);
            break;
        case 'P':
            o->pid = whole(optarg, name, 1, INT32_MAX);
            break;
        default: {
            bool asked = optind > 0 && strcmp(argv[optind - 1], "--help") == 0;
            usage(asked ? stdout : stderr);
            exit(asked ? 0 : 2);
        }
        }
    }
    if (optind < argc) {
        fprintf(stderr, "barograph-load: unexpected argument \"%s\"\n", argv[optind]);
        exit(2);
    }
    if (until_now)
        o->start_s = (int64_t)time(NULL) - (o->skip + o->epochs - 1) * TSBS_STEP_S;
}

/* Sends all epochs; the seconds that making their text took. */
static double send_epochs(struct collectors *c, struct tsbs *t, char *out, size_t *ends) {
    const struct options *o = c->options;
    double making = 0;
    for (long e = 0; e < o->skip + o->epochs; e++) {
        int64_t time_s = o->start_s + e * TSBS_STEP_S;
        double began = wall_s();
        if (e >= o->skip && o->telnet) {
            size_t n = make_lines(t, (uint32_t)o->hosts, time_s, out);
            making += wall_s() - began;
            send_all(c->socket[0], out, n);
        } else if (e >= o->skip) {
            unsigned bodies = make_bodies(t, (uint32_t)o->hosts, time_s, out, ends);
            making += wall_s() - began;
            post_bodies(c, out, ends, bodies);
        }
        began = wall_s();
        tsbs_tick(t);
        making += wall_s() - began;
    }
    for (unsigned i = 0; i < o->connections; i++)
        take_reply(c, i);
    return making;
}

int main(int argc, char **argv) {
    struct options o = {.host = "127.0.0.1",
                        .port = "4242",
                        .hosts = 100,
                        .epochs = 360,
                        .connections = 8,
                        .start_s = TSBS_START_S};
    read_options(argc, argv, &o);
    if (o.telnet)
        o.connections = 1;
    struct tsbs *t = tsbs_new((uint32_t)o.hosts, 123);
    size_t points_max = (size_t)o.hosts * TSBS_METRICS;
    char *out = malloc(points_max * POINT_BYTES + 16);
    size_t *ends = calloc(points_max / POST_POINTS + 1, sizeof(*ends));
    if (t == NULL || out == NULL || ends == NULL)
        return 1;
    struct collectors c = {.options = &o};
    for (int i = 0; i < o.connections; i++)
        c.socket[i] = dial(&o);
    double cpu = o.pid == 0 ? 0 : cpu_s(o.pid), wall = wall_s();
    double making = send_epochs(&c, t, out, ends);
    unsigned complaints = o.telnet && o.pid == 0 ? finish_telnet(c.socket[0]) : 0;
    wall = wall_s() - wall - making;
    if (o.telnet && o.pid != 0)
        wait_until_idle(o.pid);
    double points = (double)points_max * (double)o.epochs;
    printf("%.0f points, ", points);
    if (o.pid != 0) {
        cpu = cpu_s(o.pid) - cpu;
        printf("%.2f s of server CPU, %.2f s elapsed: %.3f M points/CPU s, ", cpu, wall,
               points / cpu / 1e6);
    } else {
        printf("%.2f s elapsed: ", wall);
    }
    printf("%.3f M points/s\n", points / wall / 1e6);
    if (complaints > 0)
        fprintf(stderr, "barograph-load: the server refused %u points\n", complaints);
    for (int i = 0; i < o.connections; i++)
        close(c.socket[i]);
    free(ends);
    free(out);
    tsbs_free(t);
    return complaints == 0 ? 0 : 1;
}
