#include "kube/dockerfile.h"

#include "kube/dockerfile_lines.h"
#include "kube/dockerfile_words.h"

/* Variables and labels are lists with the newest first: a stage made FROM another shares the list
   of that one and puts its own before it. */
struct variable {
    str name;
    str value;
    const char *unknown; /* why the value cannot be known */
    bool is_env;
    bool is_set; /* an ARG without a value is declared but not set */
    const struct variable *next;
    uint32_t depth; /* of the list from here on */
};

struct found {
    struct label label;
    const struct found *next;
    uint32_t depth;
};

struct stage {
    str name;
    const struct variable *variables;
    const struct found *found;
    uint32_t line;
    struct stage *before; /* in the file */
};

struct reader {
    struct dockerfile_lines lines;
    struct dockerfile_argument *arguments;
    size_t argument_count;
    struct arena *arena;
    struct problems *problems;
    const struct variable *globals;
    struct stage *stage; /* the current one; NULL before the first FROM */
    bool no_memory;
    bool stopped; /* the rest would only repeat what was said */
};

static const char *const instructions[] = {
    "ADD",     "ARG",   "CMD",        "COPY",        "ENTRYPOINT", "ENV",
    "EXPOSE",  "FROM",  "LABEL",      "HEALTHCHECK", "MAINTAINER", "RUN",
    "ONBUILD", "SHELL", "STOPSIGNAL", "USER",        "VOLUME",     "WORKDIR",
};

/* Docker sets these from the platform it builds for. */
static const char *const platform_arguments[] = {
    "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT",
    "BUILDPLATFORM",  "BUILDOS",  "BUILDARCH",  "BUILDVARIANT",
};

static bool is_one_of(str word, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (str_eq_nocase(word, str_of(words[i])))
            return true;
    return false;
}

/* ---- variables ---- */

static const struct variable ambiguous = {
    .unknown = "one of its variables is set by ENV and then by ARG, and Docker's builders do not "
               "agree which counts"};

/* ENV hides ARG, as Docker documents; BuildKit takes an ARG that comes later instead. */
static const struct variable *find_variable(const struct variable *list, str name) {
    const struct variable *argument = NULL;
    for (const struct variable *v = list; v != NULL; v = v->next) {
        if (!str_eq(v->name, name))
            continue;
        if (v->is_env && argument != NULL && argument->is_set && !str_eq(argument->value, v->value))
            return &ambiguous;
        if (v->is_env)
            return v;
        if (argument == NULL)
            argument = v;
    }
    return argument;
}

static enum dockerfile_variable find_in_scope(void *context, str name, str *value,
                                              const char **reason) {
    const struct variable *v = find_variable(context, name);
    if (v == NULL)
        return DOCKERFILE_UNDECLARED;
    if (v->unknown != NULL) {
        *reason = v->unknown;
        return DOCKERFILE_UNDECLARED;
    }
    *value = v->value;
    return v->is_set ? DOCKERFILE_SET : DOCKERFILE_UNSET;
}

static struct dockerfile_argument *find_argument(struct reader *reader, str name) {
    for (size_t i = reader->argument_count; i > 0; i--)
        if (str_eq(reader->arguments[i - 1].name, name))
            return &reader->arguments[i - 1];
    return NULL;
}

static str keep(struct reader *reader, str text) {
    str copy = arena_str(reader->arena, text);
    reader->no_memory = reader->no_memory || copy.p == NULL;
    return copy.p == NULL ? STR("") : copy;
}

/* Why `word` has no value, as one text that lives as long as the labels. */
static const char *keep_reason(struct reader *reader, const char *reason, str variable) {
    struct buf text = {0};
    if (variable.n > 0)
        buf_printf(&text, "%.*s: ", STR_ARG(variable));
    buf_str(&text, str_of(reason));
    str kept = keep(reader, buf_view(&text));
    buf_fini(&text);
    return kept.p;
}

/* Expands `word`; *unknown says why it could not be done, or is NULL. */
static str expand(struct reader *reader, const struct variable *variables, str word,
                  const char **unknown) {
    struct dockerfile_scope scope = {(void *)(uintptr_t)variables, find_in_scope};
    struct buf out = {.max = DOCKERFILE_VALUE_MAX};
    const char *reason = NULL;
    str variable = {0};
    bool fine =
        dockerfile_words_expand(word, reader->lines.escape, &scope, &out, &reason, &variable);
    if (out.failed) {
        fine = false;
        reason = "longer than 64 KiB once its variables are replaced";
        variable = STR("");
    }
    *unknown = fine ? NULL : keep_reason(reader, reason, variable);
    str value = keep(reader, fine ? buf_view(&out) : STR(""));
    buf_fini(&out);
    return value;
}

static void add_variable(struct reader *reader, const struct variable **list,
                         struct variable variable, uint32_t line) {
    uint32_t depth = *list == NULL ? 1 : (*list)->depth + 1;
    if (depth > DOCKERFILE_VARIABLES_MAX) {
        problems_add(reader->problems, line, STR(""),
                     "more than %d variables: the rest is not read", DOCKERFILE_VARIABLES_MAX);
        reader->stopped = true;
        return;
    }
    struct variable *v = ARENA_NEW(reader->arena, struct variable);
    if (v == NULL) {
        reader->no_memory = true;
        return;
    }
    *v = variable;
    v->depth = depth;
    v->next = *list;
    *list = v;
}

/* ---- instructions ---- */

/* One ARG; false if it changes nothing. */
static bool read_argument(struct reader *reader, const struct variable *scope, str word,
                          struct variable *v) {
    size_t eq = str_find(word, '=');
    *v = (struct variable){0};
    v->name = expand(reader, scope, (str){word.p, eq}, &v->unknown);
    struct dockerfile_argument *given = find_argument(reader, v->name);
    const struct variable *global = NULL;
    if (v->unknown != NULL)
        return false;
    if (given != NULL) {
        given->used = true;
        v->value = keep(reader, given->value);
        v->is_set = true;
    } else if (eq < word.n) {
        v->value = expand(reader, scope, str_from(word, eq + 1), &v->unknown);
        v->is_set = true;
    } else if (reader->stage != NULL &&
               (global = find_variable(reader->globals, v->name)) != NULL) {
        v->value = global->value;
        v->unknown = global->unknown;
        v->is_set = global->is_set;
    } else if (is_one_of(v->name, platform_arguments, COUNT_OF(platform_arguments))) {
        v->unknown = keep_reason(
            reader, "set by Docker from the platform; give it with --build-arg", v->name);
    } else {
        /* What an inherited stage has set stays. */
        return find_variable(scope, v->name) == NULL;
    }
    return true;
}

static void read_arg(struct reader *reader, str rest, uint32_t line) {
    const struct variable **list =
        reader->stage == NULL ? &reader->globals : &reader->stage->variables;
    const struct variable *scope = *list;
    struct variable v;
    while (rest.n > 0 && !reader->stopped) {
        str word = dockerfile_words_pair(&rest, reader->lines.escape);
        if (word.n > 0 && read_argument(reader, scope, word, &v))
            add_variable(reader, list, v, line);
    }
}

/* One name=value of ENV or LABEL. */
struct pair {
    str name; /* raw */
    str value;
    size_t at; /* offset in the instruction */
};

/* Takes the next pair off *rest, which is a part of `instruction`; false at the end. The old form
   "KEY some value" is one pair. */
static bool next_pair(struct reader *reader, str instruction, bool first, str *rest,
                      struct pair *pair) {
    str all = str_trim(*rest);
    str word = dockerfile_words_pair(rest, reader->lines.escape);
    if (word.n == 0)
        return false;
    pair->at = (size_t)(word.p - instruction.p);
    size_t eq = str_find(word, '=');
    if (eq < word.n) {
        *pair = (struct pair){{word.p, eq}, str_from(word, eq + 1), pair->at};
    } else if (first) {
        pair->name = dockerfile_words_next(&all);
        pair->value = str_trim(all);
        *rest = STR("");
    } else {
        problems_add(reader->problems, dockerfile_lines_at(&reader->lines, pair->at), STR(""),
                     "\"%.*s\" has no =; what follows the first pair must be name=value",
                     STR_ARG(word));
        pair->name = STR("");
    }
    return true;
}

static void read_env(struct reader *reader, str instruction, str rest) {
    const struct variable *scope = reader->stage->variables;
    struct pair pair;
    for (bool first = true; next_pair(reader, instruction, first, &rest, &pair); first = false) {
        struct variable v = {.is_env = true, .is_set = true};
        v.name = expand(reader, scope, pair.name, &v.unknown);
        if (v.name.n == 0 || reader->stopped)
            continue;
        v.value = expand(reader, scope, pair.value, &v.unknown);
        add_variable(reader, &reader->stage->variables, v,
                     dockerfile_lines_at(&reader->lines, pair.at));
    }
}

static void add_found(struct reader *reader, struct label label) {
    const struct found *next = reader->stage->found;
    uint32_t depth = next == NULL ? 1 : next->depth + 1;
    if (depth > LABELS_MAX) {
        problems_add(reader->problems, label.line, STR(""),
                     "more than %d labels: the rest is not read", LABELS_MAX);
        reader->stopped = true;
        return;
    }
    struct found *found = ARENA_NEW(reader->arena, struct found);
    if (found == NULL) {
        reader->no_memory = true;
        return;
    }
    *found = (struct found){label, next, depth};
    reader->stage->found = found;
}

static bool contains_ours(str raw) {
    str stem = STR("io.barograph.cluster");
    for (size_t i = 0; i + stem.n <= raw.n; i++)
        if (str_eq_nocase((str){raw.p + i, stem.n}, stem))
            return true;
    return false;
}

static void read_label(struct reader *reader, str instruction, str rest) {
    const struct variable *scope = reader->stage->variables;
    struct pair pair;
    for (bool first = true; next_pair(reader, instruction, first, &rest, &pair); first = false) {
        struct label label = {.line = dockerfile_lines_at(&reader->lines, pair.at)};
        const char *unknown;
        label.name = expand(reader, scope, pair.name, &unknown);
        if (unknown != NULL && contains_ours(pair.name))
            problems_add(reader->problems, label.line, pair.name, "the name of the label: %s",
                         unknown);
        if (unknown != NULL || reader->stopped || !labels_is_ours(label.name))
            continue;
        label.value = expand(reader, scope, pair.value, &label.unreadable);
        add_found(reader, label);
    }
}

/* ---- stages ---- */

static struct stage *find_stage(struct reader *reader, str name) {
    for (struct stage *s = reader->stage; s != NULL; s = s->before)
        if (s->name.n > 0 && str_eq_nocase(s->name, name))
            return s;
    return NULL;
}

static bool any_labels(const struct reader *reader) {
    for (const struct stage *s = reader->stage; s != NULL; s = s->before)
        if (s->found != NULL)
            return true;
    return false;
}

/* FROM [--platform=...] image [AS name] */
static void read_from(struct reader *reader, str rest, uint32_t line) {
    str base = dockerfile_words_next(&rest);
    while (str_starts(base, STR("--")))
        base = dockerfile_words_next(&rest);
    str as = dockerfile_words_next(&rest);
    str name = dockerfile_words_next(&rest);
    if (base.n == 0 || (as.n > 0 && (!str_eq_nocase(as, STR("AS")) || name.n == 0)) || rest.n > 0)
        problems_add(reader->problems, line, STR("FROM"),
                     "\"FROM image\" or \"FROM image AS name\" is allowed");
    const char *unknown;
    base = expand(reader, reader->globals, base, &unknown);
    /* The platform is unknown, so which stage is meant is too: it matters only if there is one. */
    if (unknown != NULL && any_labels(reader))
        problems_add(reader->problems, line, STR("FROM"), "which stage is meant: %s", unknown);
    const struct stage *parent = find_stage(reader, base);
    struct stage *stage = ARENA_NEW(reader->arena, struct stage);
    if (stage == NULL) {
        reader->no_memory = true;
        return;
    }
    *stage = (struct stage){.name = keep(reader, name), .line = line, .before = reader->stage};
    if (parent != NULL) {
        stage->variables = parent->variables;
        stage->found = parent->found;
    }
    reader->stage = stage;
}

static void refuse_instruction(struct reader *reader, str word, uint32_t line) {
    word.n = word.n < 40 ? word.n : 40;
    reader->stopped = reader->stage == NULL;
    problems_add(reader->problems, line, STR(""), "\"%.*s\" is no instruction of a Dockerfile%s",
                 STR_ARG(word),
                 reader->stopped ? "; this is neither a Dockerfile nor an image archive" : "");
}

static void read_instruction(struct reader *reader, str instruction) {
    str rest = instruction;
    str word = dockerfile_words_next(&rest);
    uint32_t line = dockerfile_lines_at(&reader->lines, 0);
    bool is_from = str_eq_nocase(word, STR("FROM"));
    bool is_arg = str_eq_nocase(word, STR("ARG"));
    if (!is_one_of(word, instructions, COUNT_OF(instructions)))
        refuse_instruction(reader, word, line);
    else if (is_from)
        read_from(reader, str_trim(rest), line);
    else if (is_arg)
        read_arg(reader, rest, line);
    else if (reader->stage == NULL)
        problems_add(reader->problems, line, word, "only ARG may stand before the first FROM");
    else if (str_eq_nocase(word, STR("ENV")))
        read_env(reader, instruction, rest);
    else if (str_eq_nocase(word, STR("LABEL")))
        read_label(reader, instruction, rest);
}

/* ---- the result ---- */

/* Keeps the newest of each name. The list is newest first; the array is in the order of the file.
 */
static enum rc keep_labels(struct reader *reader, struct labels *labels) {
    const struct found *list = reader->stage == NULL ? NULL : reader->stage->found;
    size_t count = list == NULL ? 0 : list->depth;
    labels->p = ARENA_ARRAY(reader->arena, struct label, count + 1);
    if (labels->p == NULL)
        return RC_NOMEM;
    size_t at = count;
    for (const struct found *f = list; f != NULL; f = f->next) {
        bool newer = false;
        for (size_t i = at; i < count && !newer; i++)
            newer = str_eq(labels->p[i].name, f->label.name);
        if (!newer)
            labels->p[--at] = f->label;
    }
    labels->n = count - at;
    labels->p += at;
    return RC_OK;
}

/* Why there is nothing, when there is nothing in the last stage only. */
static void explain_nothing(struct reader *reader) {
    if (reader->stage == NULL) {
        problems_add(reader->problems, 0, STR(""),
                     "no FROM: this is neither a Dockerfile nor an "
                     "image archive");
        return;
    }
    for (const struct stage *s = reader->stage->before; s != NULL; s = s->before)
        if (s->found != NULL) {
            problems_add(reader->problems, s->found->label.line, s->found->label.name,
                         "stands in a stage that is not the last; put the labels below the FROM "
                         "in line %u",
                         reader->stage->line);
            return;
        }
}

enum rc dockerfile_read(str text, struct dockerfile_argument *arguments, size_t argument_count,
                        struct arena *arena, struct labels *labels, struct problems *problems) {
    struct reader reader = {.arguments = arguments,
                            .argument_count = argument_count,
                            .arena = arena,
                            .problems = problems};
    *labels = (struct labels){0};
    dockerfile_lines_init(&reader.lines, text, problems);
    str instruction;
    while (!reader.no_memory && !reader.stopped &&
           dockerfile_lines_next(&reader.lines, &instruction, problems))
        read_instruction(&reader, instruction);
    bool failed = reader.no_memory || reader.lines.failed;
    dockerfile_lines_fini(&reader.lines);
    if (failed || keep_labels(&reader, labels) < 0)
        return RC_NOMEM;
    if (labels->n == 0 && problems->count == 0)
        explain_nothing(&reader);
    return RC_OK;
}
