#include "kube/dockerfile_words.h"

enum { DEPTH_MAX = 16 };

/* ---- splitting ---- */

static void skip_spaces(str *left) {
    while (left->n > 0 && dockerfile_words_is_space(left->p[0]))
        *left = str_from(*left, 1);
}

str dockerfile_words_next(str *left) {
    skip_spaces(left);
    size_t n = 0;
    while (n < left->n && !dockerfile_words_is_space(left->p[n]))
        n++;
    str word = {left->p, n};
    *left = str_from(*left, n);
    return word;
}

str dockerfile_words_pair(str *left, char escape) {
    skip_spaces(left);
    char quote = '\0';
    size_t n = 0;
    size_t cut = 0;
    for (; n < left->n; n++) {
        char c = left->p[n];
        if (quote == '\0' && dockerfile_words_is_space(c))
            break;
        if (c == escape && quote != '\'') {
            cut = n + 1 == left->n; /* an escape character at the very end means nothing */
            n += !cut;
        } else if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
        } else if (c == quote) {
            quote = '\0';
        }
    }
    str word = {left->p, n - cut};
    *left = str_from(*left, n);
    return word;
}

str dockerfile_words_shell(str *left) {
    return dockerfile_words_pair(left, '\\');
}

/* ---- substitution ---- */

struct expansion {
    str word;
    size_t at;
    char escape;
    unsigned depth;
    const struct dockerfile_scope *scope;
    const char *reason; /* not NULL: failed */
    str variable;       /* it is about this one, if not empty */
};

static bool expand_until(struct expansion *e, int stop, struct buf *out);

/* `variable`: the one it is about, or empty. */
static bool fail(struct expansion *e, const char *reason, str variable) {
    e->reason = reason;
    e->variable = variable;
    return false;
}

static bool fail_undeclared(struct expansion *e, str name, const char *reason) {
    return reason != NULL ? fail(e, reason, STR(""))
                          : fail(e, "not set by any ARG or ENV of this file", name);
}

static int peek(const struct expansion *e) {
    return e->at < e->word.n ? (unsigned char)e->word.p[e->at] : -1;
}

static bool is_name_byte(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}

/* A name, a number, or one special parameter; empty if there is none. */
static str take_name(struct expansion *e) {
    size_t start = e->at;
    int c = peek(e);
    if (is_digit(c)) {
        while (is_digit(peek(e)))
            e->at++;
    } else if (c > 0 && str_find(STR("@*#?-$!"), (char)c) < 7) {
        e->at++;
    } else {
        while (is_name_byte(peek(e)))
            e->at++;
    }
    return (str){e->word.p + start, e->at - start};
}

/* The value of `name` to `out`. */
static bool put_variable(struct expansion *e, str name, struct buf *out) {
    str value = {0};
    const char *reason = NULL;
    if (e->scope->find(e->scope->context, name, &value, &reason) == DOCKERFILE_UNDECLARED)
        return fail_undeclared(e, name, reason);
    buf_str(out, value);
    return true;
}

/* What "${X:-w}" and its like become, from the character after the name on. */
static bool put_choice(struct expansion *e, str name, struct buf *out) {
    bool empty_counts = peek(e) == ':';
    e->at += empty_counts;
    int kind = peek(e);
    if (kind != '-' && kind != '+' && kind != '?')
        return fail(e,
                    "a substitution by pattern, which is not followed here; the forms "
                    "${X}, ${X:-word}, ${X:+word} and ${X:?word} are",
                    STR(""));
    e->at++;
    struct buf word = {.max = out->max};
    bool fine = expand_until(e, '}', &word);
    str value = {0};
    const char *reason = NULL;
    enum dockerfile_variable found = e->scope->find(e->scope->context, name, &value, &reason);
    bool set = found == DOCKERFILE_SET && !(empty_counts && value.n == 0);
    if (fine && found == DOCKERFILE_UNDECLARED && reason != NULL)
        fine = fail(e, reason, STR(""));
    else if (fine && kind == '?' && !set)
        fine = fail(e, "${X:?...} demands a value", name);
    if (fine && kind == '+')
        buf_str(out, set ? buf_view(&word) : STR(""));
    else if (fine)
        buf_str(out, set ? value : buf_view(&word));
    out->failed = out->failed || word.failed;
    buf_fini(&word);
    return fine;
}

static bool expand_dollar(struct expansion *e, struct buf *out) {
    e->at++;
    if (peek(e) != '{') {
        str name = take_name(e);
        if (name.n > 0)
            return put_variable(e, name, out);
        buf_char(out, '$');
        return true;
    }
    e->at++;
    str name = take_name(e);
    if (name.n == 0)
        return fail(e, "a bad substitution: ${ needs the name of a variable", STR(""));
    if (peek(e) == -1)
        return fail(e, "a substitution without its }", STR(""));
    if (peek(e) != '}')
        return put_choice(e, name, out);
    e->at++;
    return put_variable(e, name, out);
}

static bool expand_single(struct expansion *e, struct buf *out) {
    e->at++;
    for (; peek(e) != '\''; e->at++) {
        if (peek(e) == -1)
            return fail(e, "a single quote without its partner", STR(""));
        buf_char(out, (char)peek(e));
    }
    e->at++;
    return true;
}

static bool expand_double(struct expansion *e, struct buf *out) {
    e->at++;
    while (peek(e) != '"') {
        int c = peek(e);
        if (c == -1)
            return fail(e, "a double quote without its partner", STR(""));
        if (c == '$') {
            if (!expand_dollar(e, out))
                return false;
            continue;
        }
        e->at++;
        int next = peek(e);
        if (c == e->escape && (next == '"' || next == '$' || next == e->escape)) {
            c = next;
            e->at++;
        } else if (c == e->escape && next == -1) {
            continue;
        }
        buf_char(out, (char)c);
    }
    e->at++;
    return true;
}

/* Expands up to `stop` (-1: the end of the word) and goes past it. */
static bool expand_some(struct expansion *e, int stop, struct buf *out) {
    while (peek(e) != stop) {
        int c = peek(e);
        bool fine = true;
        if (c == -1)
            return fail(e, "a substitution without its }", STR(""));
        if (c == '$') {
            fine = expand_dollar(e, out);
        } else if (c == '\'') {
            fine = expand_single(e, out);
        } else if (c == '"') {
            fine = expand_double(e, out);
        } else {
            e->at++;
            if (c == e->escape) {
                c = peek(e);
                e->at += c != -1;
            }
            if (c != -1)
                buf_char(out, (char)c);
        }
        if (!fine)
            return false;
    }
    e->at += stop != -1;
    return true;
}

static bool expand_until(struct expansion *e, int stop, struct buf *out) {
    if (e->depth == DEPTH_MAX)
        return fail(e, "substitutions nested too deeply", STR(""));
    e->depth++;
    bool fine = expand_some(e, stop, out);
    e->depth--;
    return fine;
}

bool dockerfile_words_expand(str word, char escape, const struct dockerfile_scope *scope,
                             struct buf *out, const char **reason, str *variable) {
    struct expansion e = {.word = word, .escape = escape, .scope = scope};
    bool fine = expand_until(&e, -1, out);
    *variable = e.variable;
    *reason = e.reason;
    return fine;
}
