#include "cli/command.h"

#include "os/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The port of the server beside it. Next to a Service called "barograph" Kubernetes sets
   BAROGRAPH_PORT to tcp://..., which is not meant for us. */
static const char *own_port(void) {
    const char *text = getenv("BAROGRAPH_TSD_NETWORK_PORT");
    if (text == NULL)
        text = getenv("BAROGRAPH_PORT");
    return text == NULL || strstr(text, "://") != NULL ? "4242" : text;
}

/* Asks for /ready and shows the status. */
int command_health(int argc, char **argv) {
    const char *host = argc > 0 ? argv[0] : "127.0.0.1";
    const char *port_text = argc > 1 ? argv[1] : own_port();
    char *end;
    unsigned long port = strtoul(port_text, &end, 10);
    if (port == 0 || port > 65535 || *end != '\0') {
        fprintf(stderr, "usage: barograph health [HOST [PORT]]\n");
        return 2;
    }
    struct err err;
    int connection;
    if (net_connect(host, (uint16_t)port, 2000, &connection, &err) < 0) {
        fprintf(stderr, "barograph: %s\n", err.message);
        return 1;
    }
    static const char request[] =
        "GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    size_t n;
    char answer[256] = {0};
    int status = 1;
    if (net_write(connection, request, sizeof(request) - 1, &n) == NET_OK &&
        net_read(connection, answer, sizeof(answer) - 1, &n) == NET_OK) {
        answer[strcspn(answer, "\r\n")] = '\0';
        puts(answer);
        status = strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
    } else {
        fprintf(stderr, "barograph: no answer from %s port %lu\n", host, port);
    }
    net_close(connection);
    return status;
}
