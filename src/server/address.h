/*
 * Addresses as they stand in the configuration: "host", "host:port", "[IPv6]:port" or a bare IPv6
 * address, where host is an address or a DNS name, and ${NAME} stands for the environment variable
 * NAME, such as those by which Kubernetes tells every container of the services of its namespace
 * (${GRAFANA_SERVICE_HOST}).
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum { ADDRESS_TEXT_MAX = 512, ADDRESS_HOST_MAX = 254 };

struct address {
    char host[ADDRESS_HOST_MAX];
    uint16_t port;
};

/* Puts in what the ${NAME}s stand for. RC_INVALID if one is not set, or the text is too long or not
   well formed. Reads the environment of the process. */
enum rc address_expand(str text, char out[ADDRESS_TEXT_MAX], struct err *err) MUST_USE;

/* Splits an expanded text; `port` if it names none. */
enum rc address_parse(str text, uint16_t port, struct address *out, struct err *err) MUST_USE;
