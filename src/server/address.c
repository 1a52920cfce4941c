#include "server/address.h"

#include <stdlib.h>
#include <string.h>

static enum rc add(char out[ADDRESS_TEXT_MAX], size_t *n, str text, struct err *err) {
    if (text.n >= ADDRESS_TEXT_MAX - *n)
        return err_set(err, RC_INVALID, "an address of more than %d bytes", ADDRESS_TEXT_MAX - 1);
    memcpy(out + *n, text.p, text.n);
    *n += text.n;
    return RC_OK;
}

/* What the variable at the start of `text` ("{NAME}...") stands for; takes it off the text. */
static enum rc take_variable(str *text, str *value, struct err *err) {
    size_t end = str_find(*text, '}');
    char name[128];
    size_t n = end > 0 ? end - 1 : 0;
    if (text->n == 0 || text->p[0] != '{' || end == text->n || n == 0 || n >= sizeof(name))
        return err_set(err, RC_INVALID, "\"$\" must begin a variable such as ${NAME_SERVICE_HOST}");
    memcpy(name, text->p + 1, n);
    name[n] = '\0';
    const char *found = getenv(name);
    if (found == NULL || found[0] == '\0')
        return err_set(
            err, RC_INVALID,
            "the environment has no variable %s (Kubernetes sets those of a Service only "
            "in containers of its namespace that start after it)",
            name);
    *value = str_of(found);
    *text = str_from(*text, end + 1);
    return RC_OK;
}

enum rc address_expand(str text, char out[ADDRESS_TEXT_MAX], struct err *err) {
    size_t n = 0;
    while (text.n > 0) {
        size_t plain = str_find(text, '$');
        TRY(add(out, &n, (str){text.p, plain}, err));
        text = str_from(text, plain);
        if (text.n == 0)
            break;
        text = str_from(text, 1);
        str value = {NULL, 0};
        TRY(take_variable(&text, &value, err));
        TRY(add(out, &n, value, err));
    }
    out[n] = '\0';
    return RC_OK;
}

static enum rc parse_port(str text, uint16_t *port, struct err *err) {
    uint32_t n = 0;
    for (size_t i = 0; i < text.n && n <= 65535; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return err_set(err, RC_INVALID, "\"%.*s\" is not a port", STR_ARG(text));
        n = n * 10 + (uint32_t)(text.p[i] - '0');
    }
    if (n == 0 || n > 65535)
        return err_set(err, RC_INVALID, "\"%.*s\" is not a port", STR_ARG(text));
    *port = (uint16_t)n;
    return RC_OK;
}

enum rc address_parse(str text, uint16_t port, struct address *out, struct err *err) {
    str host = text;
    str rest = {NULL, 0};
    size_t colon = str_find(text, ':');
    bool bare_v6 = colon < text.n && str_find(str_from(text, colon + 1), ':') < text.n - colon - 1;
    if (text.n > 0 && text.p[0] == '[') {
        size_t end = str_find(text, ']');
        if (end == text.n)
            return err_set(err, RC_INVALID, "\"%.*s\" has no ]", STR_ARG(text));
        host = (str){text.p + 1, end - 1};
        rest = str_from(text, end + 1);
    } else if (!bare_v6) {
        host = (str){text.p, colon};
        rest = str_from(text, colon);
    }
    if (host.n == 0 || host.n >= sizeof(out->host))
        return err_set(err, RC_INVALID, "\"%.*s\" has no host", STR_ARG(text));
    out->port = port;
    if (rest.n > 0 && rest.p[0] != ':')
        return err_set(err, RC_INVALID, "\"%.*s\" is not an address", STR_ARG(text));
    if (rest.n > 0)
        TRY(parse_port(str_from(rest, 1), &out->port, err));
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    return RC_OK;
}
