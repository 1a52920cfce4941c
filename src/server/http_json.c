#include "server/http_json.h"

#include <stdio.h>

json_t *http_json_body(struct http_request *request) {
    if (!http_need_body(request))
        return NULL;
    json_error_t error;
    json_t *body = json_loadb(request->body.p, request->body.n, 0, &error);
    if (body == NULL) {
        char details[256];
        snprintf(details, sizeof(details), "%s at byte %d", error.text, error.position);
        http_reply_error(request, 400, "Unable to parse the given JSON", details);
    }
    return body;
}

str http_json_text(struct http_request *request, const json_t *value) {
    char number[40];
    if (json_is_string(value))
        return arena_str(request->arena,
                         (str){json_string_value(value), json_string_length(value)});
    if (json_is_boolean(value))
        return json_is_true(value) ? STR("true") : STR("false");
    if (json_is_integer(value))
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof(number), "%.17g", json_real_value(value));
    else
        return (str){NULL, 0};
    return arena_str(request->arena, str_of(number));
}
