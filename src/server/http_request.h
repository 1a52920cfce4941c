/*
 * A request as endpoints see it, and the reply they make.
 *
 * An endpoint is a function that reads the request and fills the reply: a status and a body, or a
 * stream that another thread fills. It runs on the connection's thread and may block.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "server/http_stream.h"
#include "server/instance.h"
#include "server/put_commit.h"
#include "server/put_writer.h"
#include "server/query_gate.h"
#include "wire/http_uri.h"

#include <stdbool.h>
#include <stdint.h>

enum http_verb { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_reply {
    int status;
    struct buf body;            /* sent as it is if stream is NULL; charged to the budget */
    const char *content_type;   /* NULL: JSON under /api, else guessed from the body */
    struct http_stream *stream; /* owned; the rest of the body comes from it */
    bool plain;                 /* never wrapped for jsonp */
};

struct http_request {
    struct instance *instance;
    struct put_pool *put_pool;
    struct put_commit *put_commit;
    struct query_gate *query_gate;
    struct arena *arena; /* the request's; charged to the budget */
    int socket;
    const char *peer;    /* "address:port" */
    const char *method;  /* as sent */
    enum http_verb verb; /* after method_override */
    const struct http_uri *uri;
    bool api;           /* below /api */
    str endpoint;       /* first segment (after api and version), lower case */
    str rest;           /* what follows it, without slashes at the ends, lower case */
    str body;           /* decoded */
    bool gzip_reply;    /* the client takes gzip */
    bool reply_encoded; /* the endpoint has compressed the body already */
    const char *(*header)(const struct http_request *request, const char *name); /* or NULL */
    void *connection;
    struct http_reply reply;
};

/* The last value of a query parameter; .p NULL if it is absent. */
str http_request_parameter(const struct http_request *request, const char *name);
bool http_request_flag(const struct http_request *request, const char *name);

/* Replies. The body is wrapped for jsonp later, in one place. */
void http_reply_error(struct http_request *request, int status, const char *message,
                      const char *details);
void http_reply_err(struct http_request *request, const struct err *err);
void http_reply_text(struct http_request *request, int status, const char *content_type, str text);
void http_reply_empty(struct http_request *request, int status);

/* 405 unless the verb is one of `verbs` (a mask of 1 << verb). */
bool http_allow(struct http_request *request, unsigned verbs);

/* False (and a 400 in place) unless the request has a body. */
bool http_need_body(struct http_request *request);

typedef void http_endpoint(struct http_request *request);

/* ---- endpoints, by file ---- */
http_endpoint http_put_handle;
http_endpoint http_query_handle; /* /api/query and below */
http_endpoint http_meta_suggest;
http_endpoint http_meta_search;
http_endpoint http_meta_aggregators;
http_endpoint http_meta_config;
http_endpoint http_meta_version;
http_endpoint http_meta_serializers;
http_endpoint http_meta_dropcaches;
http_endpoint http_meta_home;
http_endpoint http_stats_handle;  /* /stats and /api/stats */
http_endpoint http_stats_metrics; /* /metrics */
http_endpoint http_stats_health;  /* /health */
http_endpoint http_stats_ready;   /* /ready */

/* Chooses the endpoint and calls it. */
void http_route(struct http_request *request);
