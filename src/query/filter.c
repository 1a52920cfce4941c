#include "query/filter.h"

#define PCRE2_CODE_UNIT_WIDTH 8

#include "base/attr.h"
#include "base/check.h"
#include "query/fold.h"

#include <pcre2.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    PATTERN_BYTES_MAX = 1 << 16,
    MATCH_STEPS_MAX = 200000, /* internal calls of one match: a few milliseconds */
    MATCH_HEAP_KIB_MAX = 1024,
    FOLD_STACK_BYTES = 512
};

struct glob {
    bool open_start; /* began with '*' */
    bool open_end;   /* ended with '*' */
    const str *components;
    uint32_t count; /* 0: "*", any value */
};

struct filter_matcher {
    bool nocase;
    struct glob glob;
    pcre2_code *code;
    pcre2_match_context *limits;
    atomic_bool exhausted; /* some match ran over its limits */
};

static const struct {
    const char *name;
    const char *description;
    const char *examples;
} types[] = {
    [FILTER_LITERAL_OR] = {"literal_or",
                           "Accepts one or more exact values and matches if the series contains "
                           "any of them. Multiple values can be included and must be separated by "
                           "the | (pipe) character. The filter is case sensitive and will not "
                           "allow characters that TSDB does not allow at write time.",
                           "host=literal_or(web01),  host=literal_or(web01|web02|web03)  "
                           "{\"type\":\"literal_or\",\"tagk\":\"host\","
                           "\"filter\":\"web01|web02|web03\",\"groupBy\":false}"},
    [FILTER_ILITERAL_OR] = {"iliteral_or",
                            "Accepts one or more exact values, separated by | (pipe), and matches "
                            "if the series contains any of them. The filter is case insensitive.",
                            "host=iliteral_or(web01),  host=iliteral_or(web01|web02|web03)  "
                            "{\"type\":\"iliteral_or\",\"tagk\":\"host\","
                            "\"filter\":\"web01|web02|web03\",\"groupBy\":false}"},
    [FILTER_NOT_LITERAL_OR] = {"not_literal_or",
                               "Accepts one or more exact values, separated by | (pipe), and "
                               "matches if the series has the tag with none of them. The filter "
                               "is case sensitive.",
                               "host=not_literal_or(web01),  host=not_literal_or(web01|web02)  "
                               "{\"type\":\"not_literal_or\",\"tagk\":\"host\","
                               "\"filter\":\"web01|web02\",\"groupBy\":false}"},
    [FILTER_NOT_ILITERAL_OR] = {"not_iliteral_or",
                                "Accepts one or more exact values, separated by | (pipe), and "
                                "matches if the series has the tag with none of them. The filter "
                                "is case insensitive.",
                                "host=not_iliteral_or(web01),  host=not_iliteral_or(web01|web02)  "
                                "{\"type\":\"not_iliteral_or\",\"tagk\":\"host\","
                                "\"filter\":\"web01|web02\",\"groupBy\":false}"},
    [FILTER_WILDCARD] = {"wildcard",
                         "Performs pre, post and in-fix glob matching of values with the * "
                         "(asterisk). The filter is case sensitive.",
                         "host=wildcard(web*),  host=wildcard(web*.tsdb.net)  "
                         "{\"type\":\"wildcard\",\"tagk\":\"host\",\"filter\":\"web*.tsdb.net\","
                         "\"groupBy\":false}"},
    [FILTER_IWILDCARD] = {"iwildcard",
                          "Performs pre, post and in-fix glob matching of values with the * "
                          "(asterisk). The filter is case insensitive.",
                          "host=iwildcard(web*),  host=iwildcard(web*.tsdb.net)  "
                          "{\"type\":\"iwildcard\",\"tagk\":\"host\",\"filter\":\"web*.tsdb.net\","
                          "\"groupBy\":false}"},
    [FILTER_REGEXP] = {"regexp",
                       "Matches values in which the regular expression (Perl syntax) is found "
                       "anywhere; ^ and $ anchor it.",
                       "host=regexp(.*),  host=regexp(^web[0-9]+$)  "
                       "{\"type\":\"regexp\",\"tagk\":\"host\",\"filter\":\".*\","
                       "\"groupBy\":false}"},
    [FILTER_NOT_KEY] = {"not_key",
                        "Matches series that do not have the tag at all. The filter text must be "
                        "empty.",
                        "host=not_key()  {\"type\":\"not_key\",\"tagk\":\"host\",\"filter\":\"\","
                        "\"groupBy\":false}"},
};
_Static_assert(COUNT_OF(types) == FILTER_TYPES, "every type has its row");

/* By its exact lower-case name. */
static bool find_type(str name, enum filter_type *type) {
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!str_eq(name, str_of(types[i].name)))
            continue;
        *type = (enum filter_type)i;
        return true;
    }
    return false;
}

void filter_describe(enum filter_type type, const char **name, const char **description,
                     const char **examples) {
    CHECK((size_t)type < COUNT_OF(types));
    *name = types[type].name;
    *description = types[type].description;
    *examples = types[type].examples;
}

static enum rc no_memory(struct err *err) {
    return err_set(err, RC_NOMEM, "No memory for the filters of the query");
}

static bool is_nocase(enum filter_type type) {
    return type == FILTER_ILITERAL_OR || type == FILTER_NOT_ILITERAL_OR || type == FILTER_IWILDCARD;
}

/* ---- making ---- */

/* Takes the part before the next `separator` (or all) off the front of *rest. */
static str take_part(str *rest, char separator) {
    str part = {rest->p, str_find(*rest, separator)};
    *rest = str_from(*rest, part.n < rest->n ? part.n + 1 : part.n);
    return part;
}

/* The parts of `text` between separators, without empty ones. */
static enum rc split(str text, char separator, struct arena *query_arena, str **parts,
                     uint32_t *count, struct err *err) {
    size_t room = 0;
    for (str rest = text; rest.n > 0;)
        room += take_part(&rest, separator).n > 0;
    *count = 0;
    *parts = ARENA_ARRAY(query_arena, str, room + 1);
    if (*parts == NULL)
        return no_memory(err);
    for (str rest = text; rest.n > 0;) {
        str part = take_part(&rest, separator);
        if (part.n > 0)
            (*parts)[(*count)++] = part;
    }
    return RC_OK;
}

static int compare_str(const void *a, const void *b) {
    return str_cmp(*(const str *)a, *(const str *)b);
}

static enum rc make_literals(struct filter *filter, str text, struct arena *query_arena,
                             struct err *err) {
    str *literals;
    uint32_t count;
    TRY(split(text, '|', query_arena, &literals, &count, err));
    if (count == 0)
        return err_set(err, RC_INVALID, "Filter must contain more than just a pipe");
    qsort(literals, count, sizeof(str), compare_str);
    uint32_t unique = 1;
    for (uint32_t i = 1; i < count; i++)
        if (!str_eq(literals[i], literals[unique - 1]))
            literals[unique++] = literals[i];
    filter->literals = literals;
    filter->literal_count = unique;
    return RC_OK;
}

static enum rc make_glob(struct glob *glob, str text, struct arena *query_arena, struct err *err) {
    if (str_find(text, '*') == text.n)
        return err_set(err, RC_INVALID, "Filter must contain an asterisk");
    str *components;
    TRY(split(text, '*', query_arena, &components, &glob->count, err));
    glob->open_start = text.p[0] == '*';
    glob->open_end = text.p[text.n - 1] == '*';
    glob->components = components;
    return RC_OK;
}

static void *arena_malloc(size_t size, void *query_arena) {
    return arena_alloc(query_arena, size);
}

static void arena_no_free(void *memory, void *query_arena) {
}

/* Everything PCRE2 keeps for a pattern lies in the arena, so it ends with the query. For the same
   reason there is no just-in-time compilation: its memory would need an owner. */
static enum rc make_regexp(struct filter_matcher *matcher, str text, struct arena *query_arena,
                           struct err *err) {
    pcre2_general_context *memory =
        pcre2_general_context_create(arena_malloc, arena_no_free, query_arena);
    if (memory == NULL)
        return no_memory(err);
    pcre2_compile_context *compile = pcre2_compile_context_create(memory);
    matcher->limits = pcre2_match_context_create(memory);
    if (compile == NULL || matcher->limits == NULL)
        return no_memory(err);
    pcre2_set_max_pattern_length(compile, PATTERN_BYTES_MAX);
    pcre2_set_match_limit(matcher->limits, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(matcher->limits, MATCH_HEAP_KIB_MAX);
    int error;
    PCRE2_SIZE at;
    matcher->code = pcre2_compile((PCRE2_SPTR)text.p, text.n,
                                  PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C,
                                  &error, &at, compile);
    if (matcher->code != NULL)
        return RC_OK;
    if (error == PCRE2_ERROR_HEAP_FAILED)
        return no_memory(err);
    PCRE2_UCHAR reason[160];
    pcre2_get_error_message(error, reason, sizeof(reason));
    return err_set(err, RC_INVALID, "Invalid regular expression '%.*s': %s near index %zu",
                   STR_ARG(text), (const char *)reason, at);
}

static enum rc make_matcher(struct filter *filter, str text, struct arena *query_arena,
                            struct err *err) {
    filter->matcher = ARENA_NEW(query_arena, struct filter_matcher);
    if (filter->matcher == NULL)
        return no_memory(err);
    filter->matcher->nocase = is_nocase(filter->type);
    if (filter->type == FILTER_REGEXP)
        return make_regexp(filter->matcher, text, query_arena, err);
    return make_glob(&filter->matcher->glob, text, query_arena, err);
}

static enum rc make(struct filter *filter, struct arena *query_arena, struct err *err) {
    str text = filter->text;
    if (filter->key.n == 0)
        return err_set(err, RC_INVALID, "The tagk cannot be null or empty");
    if (text.n == 0 && filter->type != FILTER_NOT_KEY)
        return err_set(err, RC_INVALID, "Filter cannot be null or empty");
    if (is_nocase(filter->type)) {
        text = fold_copy(query_arena, text);
        if (text.p == NULL)
            return no_memory(err);
    }
    switch (filter->type) {
    case FILTER_LITERAL_OR:
    case FILTER_ILITERAL_OR:
    case FILTER_NOT_LITERAL_OR:
    case FILTER_NOT_ILITERAL_OR:
        return make_literals(filter, text, query_arena, err);
    case FILTER_NOT_KEY:
        if (text.n == 0)
            return RC_OK;
        return err_set(err, RC_INVALID, "The filter of not_key must be empty");
    default:
        return make_matcher(filter, text, query_arena, err);
    }
}

enum rc filter_make(str type, str key, str text, bool group_by, struct arena *query_arena,
                    struct filter *filter, struct err *err) {
    *filter = (struct filter){.group_by = group_by};
    if (type.n == 0)
        return err_set(err, RC_INVALID, "The filter type cannot be null or empty");
    if (!find_type(type, &filter->type))
        return err_set(err, RC_INVALID, "Could not find a tag value filter of the type: %.*s",
                       STR_ARG(type));
    filter->type_name = str_of(types[filter->type].name);
    filter->key = arena_str(query_arena, key);
    filter->text = arena_str(query_arena, text);
    if (filter->key.p == NULL || filter->text.p == NULL)
        return no_memory(err);
    return make(filter, query_arena, err);
}

/* "type(text)" */
static enum rc make_called(str key, str value, bool group_by, struct arena *query_arena,
                           struct filter *filter, struct err *err) {
    size_t open = str_find(value, '(');
    if (value.p[value.n - 1] != ')')
        return err_set(err, RC_INVALID, "Filter must end with a ')': %.*s", STR_ARG(value));
    str type = fold_copy(query_arena, (str){value.p, open});
    if (type.p == NULL)
        return no_memory(err);
    str text = {value.p + open + 1, value.n - open - 2};
    return filter_make(type, key, text, group_by, query_arena, filter, err);
}

enum rc filter_make_legacy(str key, str value, bool group_by, struct arena *query_arena,
                           struct filter *filter, struct err *err) {
    if (str_eq(value, STR("*")))
        return filter_make(STR("wildcard"), key, value, group_by, query_arena, filter, err);
    if (str_find(value, '(') < value.n)
        return make_called(key, value, group_by, query_arena, filter, err);
    if (str_find(value, '*') == value.n)
        return filter_make(STR("literal_or"), key, value, group_by, query_arena, filter, err);
    TRY(filter_make(STR("iwildcard"), key, value, group_by, query_arena, filter, err));
    filter->type_name = STR("wildcard");
    return RC_OK;
}

/* ---- matching ---- */

static bool has_literal(const struct filter *filter, str value) {
    return filter->literal_count > 0 && bsearch(&value, filter->literals, filter->literal_count,
                                                sizeof(str), compare_str) != NULL;
}

static bool ends_with(str value, str end) {
    return value.n >= end.n && memcmp(value.p + value.n - end.n, end.p, end.n) == 0;
}

/* OpenTSDB's globs, as they are: with '*' inside ("a*b") neither end is anchored, and the search
   for a component starts after the lengths of those before it, not after where they were found. */
static bool glob_matches(const struct glob *glob, str value) {
    if (glob->count == 0)
        return true;
    if (glob->open_start && !glob->open_end && !ends_with(value, glob->components[glob->count - 1]))
        return false;
    if (glob->open_end && !glob->open_start && !str_starts(value, glob->components[0]))
        return false;
    size_t from = 0;
    for (uint32_t i = 0; i < glob->count; i++) {
        str component = glob->components[i];
        if (from > value.n ||
            memmem(value.p + from, value.n - from, component.p, component.n) == NULL)
            return false;
        from += component.n;
    }
    return true;
}

static bool regexp_matches(struct filter_matcher *matcher, str value) {
    /* The query has failed already: no more time is spent on it. */
    if (atomic_load_explicit(&matcher->exhausted, memory_order_relaxed))
        return false;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int outcome = PCRE2_ERROR_NOMEMORY;
    if (data != NULL)
        outcome =
            pcre2_match(matcher->code, (PCRE2_SPTR)value.p, value.n, 0, 0, data, matcher->limits);
    pcre2_match_data_free(data);
    if (outcome < 0 && outcome != PCRE2_ERROR_NOMATCH)
        atomic_store_explicit(&matcher->exhausted, true, memory_order_relaxed);
    return outcome >= 0;
}

static bool matches(const struct filter *filter, str value) {
    switch (filter->type) {
    case FILTER_LITERAL_OR:
    case FILTER_ILITERAL_OR:
        return has_literal(filter, value);
    case FILTER_NOT_LITERAL_OR:
    case FILTER_NOT_ILITERAL_OR:
        return !has_literal(filter, value);
    case FILTER_WILDCARD:
    case FILTER_IWILDCARD:
        return glob_matches(&filter->matcher->glob, value);
    case FILTER_REGEXP:
        return regexp_matches(filter->matcher, value);
    default:
        return false;
    }
}

bool filter_matches(const struct filter *filter, str value) {
    if (value.n == 0)
        value = STR("");
    if (!is_nocase(filter->type))
        return matches(filter, value);
    char stack[FOLD_STACK_BYTES];
    char *folded = value.n <= sizeof(stack) ? stack : malloc(value.n);
    if (folded == NULL)
        return false;
    fold_into(folded, value);
    bool matched = matches(filter, (str){folded, value.n});
    if (folded != stack)
        free(folded);
    return matched;
}

enum rc filter_check(const struct filter *filter, struct err *err) {
    if (filter->type != FILTER_REGEXP ||
        !atomic_load_explicit(&filter->matcher->exhausted, memory_order_relaxed))
        return RC_OK;
    return err_set(err, RC_INVALID,
                   "The regular expression '%.*s' takes too long to match; write it with fewer "
                   "nested repetitions",
                   STR_ARG(filter->text));
}
