/*
 * The m= and tsuid= parameters:
 *
 *     AGGREGATOR:[MODIFIER:]...METRIC[{group-by tags}][{other tags}]
 *     AGGREGATOR:[MODIFIER:]...TSUID[,TSUID]...
 *
 * Two kindnesses over OpenTSDB, for values in which its splitting fails: a colon inside braces does
 * not separate parts, and a brace closes only at the end of the text or before an opening one, so
 * that "{host=regexp(web[0-9]{2})}" is read as meant.
 */
#include "query/query_parse.h"

#include "base/attr.h"

enum { PARTS_MIN = 2, PARTS_MAX = 5, RATE_PARTS_MAX = 3 };

static bool starts_nocase(str text, const char *start) {
    size_t n = strlen(start);
    return text.n >= n && str_eq_nocase((str){text.p, n}, (str){start, n});
}

/* Takes the text before the next `separator` (or all) off the front of *rest; false at the end. An
   empty text has one empty part. */
static bool take_part(str *rest, char separator, str *part) {
    if (rest->p == NULL)
        return false;
    size_t n = str_find(*rest, separator);
    *part = (str){rest->p, n};
    *rest = n < rest->n ? str_from(*rest, n + 1) : (str){NULL, 0};
    return true;
}

static size_t count_parts(str text, char separator) {
    size_t count = 1;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == separator;
    return count;
}

/* Splits at colons, those in braces only if `in_braces`; keeps the first PARTS_MAX. False if braces
   are not balanced. */
static bool split_at_colons(str text, bool in_braces, str parts[PARTS_MAX], size_t *count) {
    int depth = 0;
    size_t from = 0;
    *count = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && text.p[i] == '{')
            depth++;
        if (i < text.n && text.p[i] == '}')
            depth--;
        if (i < text.n && (text.p[i] != ':' || (depth > 0 && !in_braces)))
            continue;
        if (*count < PARTS_MAX)
            parts[*count] = (str){text.p + from, i - from};
        (*count)++;
        from = i + 1;
    }
    return depth == 0;
}

static enum rc split_parts(str text, str parts[PARTS_MAX], size_t *count, struct err *err) {
    if (!split_at_colons(text, false, parts, count))
        (void)split_at_colons(text, true, parts, count);
    if (*count < PARTS_MIN || *count > PARTS_MAX)
        return err_set(err, RC_INVALID, "Invalid parameter m=%.*s (%s :-separated parts)",
                       STR_ARG(text), *count < PARTS_MIN ? "not enough" : "too many");
    return RC_OK;
}

static enum rc copy(struct arena *query_arena, str text, str *out, struct err *err) {
    *out = arena_str(query_arena, text);
    return out->p == NULL ? query_parse_no_memory(err) : RC_OK;
}

/* ---- modifiers ---- */

static enum rc parse_rate_options(str text, struct query_rate *options, struct err *err) {
    if (text.n < 6 || text.p[4] != '{' || text.p[text.n - 1] != '}')
        return err_set(err, RC_INVALID, "Invalid rate options specification: %.*s", STR_ARG(text));
    str rest = {text.p + 5, text.n - 6};
    size_t count = count_parts(rest, ',');
    if (count > RATE_PARTS_MAX) /* the spelling is OpenTSDB's */
        return err_set(err, RC_INVALID,
                       "Incorrect number of values in rate options specification, must be "
                       "counter[,counter max value,reset value], recieved: %zu parts",
                       count);
    str parts[RATE_PARTS_MAX] = {{NULL, 0}};
    for (size_t i = 0; i < count; i++)
        (void)take_part(&rest, ',', &parts[i]);
    static const char end[] = "counter";
    options->counter = parts[0].n >= strlen(end) &&
                       str_eq(str_from(parts[0], parts[0].n - strlen(end)), STR("counter"));
    options->drop_resets = str_eq(parts[0], STR("dropcounter"));
    if (parts[1].n > 0 && !query_parse_saturated(parts[1], &options->counter_max))
        return err_set(err, RC_INVALID, "Max value of counter was not a number, received '%.*s'",
                       STR_ARG(parts[1]));
    if (parts[2].n > 0 && !query_parse_saturated(parts[2], &options->reset_value))
        return err_set(err, RC_INVALID, "Reset value of counter was not a number, received '%.*s'",
                       STR_ARG(parts[2]));
    return RC_OK;
}

static bool is_rollup_usage(str text) {
    static const char *const usages[] = {"rollup_raw", "rollup_nofallback", "rollup_fallback",
                                         "rollup_fallback_raw"};
    for (size_t i = 0; i < COUNT_OF(usages); i++)
        if (str_eq_nocase(text, str_of(usages[i])))
            return true;
    return false;
}

/* A part between the first and the last; what is not known is ignored. */
static enum rc parse_modifier(str text, struct arena *query_arena, struct query_sub *sub,
                              struct err *err) {
    if (starts_nocase(text, "rate")) {
        sub->rate = true;
        sub->rate_options_given = str_find(text, '{') < text.n;
        return sub->rate_options_given ? parse_rate_options(text, &sub->rate_options, err) : RC_OK;
    }
    if (text.n > 0 && text.p[0] >= '0' && text.p[0] <= '9')
        return copy(query_arena, text, &sub->downsample_text, err);
    if (is_rollup_usage(text))
        return copy(query_arena, text, &sub->rollup_usage, err);
    if (str_eq_nocase(text, STR("pre-agg")))
        sub->pre_aggregate = true;
    else if (str_eq_nocase(text, STR("explicit_tags")))
        sub->explicit_tags = true;
    else if (starts_nocase(text, "percentiles") ||
             str_eq_nocase(text, STR("show-histogram-buckets")))
        return err_set(err, RC_UNSUPPORTED, "Histogram queries are not supported: %.*s",
                       STR_ARG(text));
    return RC_OK;
}

/* ---- metric and tags ---- */

/* The filters of a sub query while its braces are read. Room for all is made before. */
struct filters {
    struct filter *p;
    uint32_t n;
};

static enum rc split_tag(str tag, str *key, str *value, struct err *err) {
    size_t equals = str_find(tag, '=');
    *key = (str){tag.p, equals};
    *value = equals == tag.n ? (str){tag.p + tag.n, 0} : str_from(tag, equals + 1);
    /* A second '=' can only belong to the argument of a filter. */
    bool stray = str_find(*value, '=') < value->n && str_find(*value, '(') == value->n;
    if (key->n == 0 || value->n == 0 || stray)
        return err_set(err, RC_INVALID, "invalid tag: %.*s", STR_ARG(tag));
    return RC_OK;
}

/* What OpenTSDB calls equal: the same key, type and text, whoever groups by it. */
static struct filter *find_equal(const struct filters *filters, const struct filter *filter) {
    for (uint32_t i = 0; i < filters->n; i++) {
        struct filter *other = &filters->p[i];
        if (other->type == filter->type && str_eq(other->key, filter->key) &&
            str_eq(other->text, filter->text) && str_eq(other->type_name, filter->type_name))
            return other;
    }
    return NULL;
}

static enum rc add_filter(str tag, str block, bool group_by, struct arena *query_arena,
                          struct filters *filters, struct err *err) {
    str key, value;
    TRY(split_tag(tag, &key, &value, err));
    /* One block gives a key one value: the first stands, and a repetition must equal it. */
    for (str rest = block, before; take_part(&rest, ',', &before) && before.p < tag.p;) {
        str old_key, old_value;
        if (split_tag(before, &old_key, &old_value, NULL) != RC_OK || !str_eq(key, old_key))
            continue;
        if (str_eq(value, old_value))
            return RC_OK;
        return err_set(err, RC_INVALID, "duplicate tag: %.*s, tags={%.*s}", STR_ARG(tag),
                       STR_ARG(before));
    }
    struct filter *filter = &filters->p[filters->n];
    TRY(filter_make_legacy(key, value, group_by, query_arena, filter, err));
    struct filter *equal = group_by ? find_equal(filters, filter) : NULL;
    if (equal != NULL)
        equal->group_by = true;
    else
        filters->n++;
    return RC_OK;
}

/* The tags between two braces, without these. */
static enum rc parse_block(str block, bool group_by, struct arena *query_arena,
                           struct filters *filters, struct err *err) {
    if (block.n == 0)
        return RC_OK;
    for (str rest = block, tag; take_part(&rest, ',', &tag);) {
        struct err cause;
        enum rc rc = add_filter(tag, block, group_by, query_arena, filters, &cause);
        if (rc == RC_INVALID)
            return err_set(err, RC_INVALID, "When parsing %s '%.*s': %s",
                           group_by ? "tag" : "filter", STR_ARG(tag), cause.message);
        if (rc != RC_OK)
            return err_set(err, rc, "%s", cause.message);
    }
    return RC_OK;
}

/* Position of the brace that closes the block opened at `at`. The text ends with one. */
static size_t find_close(str text, size_t at) {
    while (text.p[at] != '}' || (at + 1 < text.n && text.p[at + 1] != '{'))
        at++;
    return at;
}

static enum rc parse_metric(str text, struct arena *query_arena, struct query_sub *sub,
                            struct err *err) {
    size_t curly = str_find(text, '{');
    TRY(copy(query_arena, (str){text.p, curly}, &sub->metric, err));
    if (curly == text.n)
        return RC_OK;
    if (text.p[text.n - 1] != '}')
        return err_set(err, RC_INVALID, "Missing '}' at the end of: %.*s", STR_ARG(text));
    if (count_parts(text, ',') >= QUERY_PARSE_FILTERS_MAX)
        return err_set(err, RC_INVALID, "Too many filters (at most %d)",
                       (int)QUERY_PARSE_FILTERS_MAX);
    struct filters filters = {NULL, 0};
    filters.p = ARENA_ARRAY(query_arena, struct filter, count_parts(text, ',') + 1);
    if (filters.p == NULL)
        return query_parse_no_memory(err);
    size_t close = find_close(text, curly);
    if (close + 2 < text.n) {
        str block = {text.p + close + 2, text.n - close - 3};
        TRY(parse_block(block, false, query_arena, &filters, err));
    }
    str block = {text.p + curly + 1, close - curly - 1};
    TRY(parse_block(block, true, query_arena, &filters, err));
    sub->filters = filters.p;
    sub->filter_count = filters.n;
    return RC_OK;
}

static enum rc parse_tsuids(str text, struct arena *query_arena, struct query_sub *sub,
                            struct err *err) {
    str *tsuids = ARENA_ARRAY(query_arena, str, count_parts(text, ','));
    if (tsuids == NULL)
        return query_parse_no_memory(err);
    for (str rest = text, tsuid; take_part(&rest, ',', &tsuid);)
        if (tsuid.n > 0)
            TRY(copy(query_arena, tsuid, &tsuids[sub->tsuid_count++], err));
    sub->tsuids = tsuids;
    return RC_OK;
}

enum rc query_parse_m(str text, bool by_tsuid, struct arena *query_arena, struct query_sub *sub,
                      struct err *err) {
    str parts[PARTS_MAX];
    size_t count;
    if (text.n == 0)
        text = STR("");
    TRY(split_parts(text, parts, &count, err));
    sub->rate_options = query_parse_default_rate();
    TRY(copy(query_arena, parts[0], &sub->aggregator_name, err));
    str last = parts[count - 1];
    if (by_tsuid)
        TRY(parse_tsuids(last, query_arena, sub, err));
    else
        TRY(parse_metric(last, query_arena, sub, err));
    for (size_t i = 1; i + 1 < count; i++)
        TRY(parse_modifier(parts[i], query_arena, sub, err));
    return RC_OK;
}
