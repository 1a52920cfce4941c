/* A server with three keys, for tests of the cluster. */
#pragma once

#include "kube/cluster.h"

struct fake_server {
    uint64_t drain_ms;
    uint64_t log_bytes;
};

static enum rc fake_server_set(void *context, str key, str value, struct err *err) {
    struct fake_server *fake = context;
    if (str_eq(key, STR("server.drain")) && str_eq(value, STR("40s")))
        fake->drain_ms = 40000;
    else if (str_eq(key, STR("log.bytes_max")) && str_eq(value, STR("1G")))
        fake->log_bytes = 1 << 30;
    else if (str_starts(key, STR("log.")) || str_starts(key, STR("server.")) ||
             str_starts(key, STR("self.")))
        return str_eq(value, STR("bad"))
                   ? err_set(err, RC_INVALID, "%.*s: \"bad\" does not fit", STR_ARG(key))
                   : RC_OK;
    else
        return err_set(err, RC_INVALID, "no such key");
    return RC_OK;
}

static uint64_t fake_server_number(void *context, const char *key) {
    const struct fake_server *fake = context;
    if (strcmp(key, "server.drain") == 0)
        return fake->drain_ms;
    return strcmp(key, "log.bytes_max") == 0 ? fake->log_bytes : 0;
}
