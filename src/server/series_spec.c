#include "server/series_spec.h"

str series_spec_part(str s) {
    return str_eq(s, STR("*")) ? (str){s.p, 0} : s;
}

static enum rc parse_tag(str text, struct series_spec *spec, struct err *err) {
    size_t eq = str_find(text, '=');
    if (eq == text.n || str_find(str_from(text, eq + 1), '=') < text.n - eq - 1)
        return err_set(err, RC_INVALID, "invalid tag: %.*s", STR_ARG(text));
    if (spec->tag_count == LIMIT_TAGS_MAX)
        return err_set(err, RC_INVALID, "too many tags: more than %d", LIMIT_TAGS_MAX);
    struct series_spec_tag *tag = &spec->tags[spec->tag_count++];
    tag->key = series_spec_part(str_trim((str){text.p, eq}));
    tag->value = series_spec_part(str_trim(str_from(text, eq + 1)));
    return RC_OK;
}

enum rc series_spec_parse(str text, struct series_spec *spec, struct err *err) {
    *spec = (struct series_spec){0};
    size_t brace = str_find(text, '{');
    spec->metric = series_spec_part(str_trim((str){text.p, brace}));
    if (brace == text.n)
        return RC_OK;
    if (text.p[text.n - 1] != '}')
        return err_set(err, RC_INVALID, "Missing '}' at the end of: %.*s", STR_ARG(text));
    str tags = {text.p + brace + 1, text.n - brace - 2};
    while (tags.n > 0) {
        size_t end = str_find(tags, ',');
        TRY(parse_tag((str){tags.p, end}, spec, err));
        tags = str_from(tags, end < tags.n ? end + 1 : end);
    }
    return RC_OK;
}
