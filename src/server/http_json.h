/*
 * Small JSON bodies of look-ups, read as OpenTSDB's mapper reads them: a number or a truth value
 * where a text is expected is that text.
 */
#pragma once

#include "server/http_request.h"

#include <jansson.h>

/* The body, owned by the caller; NULL with the reply in place. */
json_t *http_json_body(struct http_request *request);

/* A value as text, in the request's arena; .p NULL if it is missing, null, an object or array. */
str http_json_text(struct http_request *request, const json_t *value);
