#include "kube/dockerfile_lines.h"

#include "kube/dockerfile_words.h"

void dockerfile_lines_fini(struct dockerfile_lines *lines) {
    buf_fini(&lines->text);
    dockerfile_marks_fini(&lines->marks);
}

/* ---- physical lines ---- */

/* The next line without its end. */
static bool next_physical(struct dockerfile_lines *lines, str *line) {
    if (lines->left.n == 0)
        return false;
    size_t end = str_find(lines->left, '\n');
    *line = (str){lines->left.p, end};
    lines->left = str_from(lines->left, end < lines->left.n ? end + 1 : end);
    lines->line++;
    while (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

static str trim_start(str text) {
    while (text.n > 0 && dockerfile_words_is_space(text.p[0]))
        text = str_from(text, 1);
    return text;
}

static bool is_comment(str line) {
    line = trim_start(line);
    return line.n > 0 && line.p[0] == '#';
}

/* Cuts the escape character and the blanks after it off the end; false if there is none. Two escape
   characters are an escaped one, not a continuation. */
static bool cut_continuation(str *line, char escape) {
    size_t n = line->n;
    while (n > 0 && (line->p[n - 1] == ' ' || line->p[n - 1] == '\t'))
        n--;
    if (n == 0 || line->p[n - 1] != escape || (n > 1 && line->p[n - 2] == escape))
        return false;
    line->n = n - 1;
    return true;
}

/* ---- parser directives ---- */

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* "# name = value". */
static bool split_directive(str line, str *name, str *value) {
    line = trim_start(line);
    if (line.n == 0 || line.p[0] != '#')
        return false;
    line = trim_start(str_from(line, 1));
    size_t n = 0;
    while (n < line.n && is_name_byte(line.p[n]))
        n++;
    *name = (str){line.p, n};
    str rest = trim_start(str_from(line, n));
    if (n == 0 || rest.n == 0 || rest.p[0] != '=')
        return false;
    *value = str_trim(str_from(rest, 1));
    return value->n > 0;
}

/* Directives stand before everything else; the first line that is none ends them. */
static void read_directives(struct dockerfile_lines *lines, struct problems *problems) {
    for (;;) {
        struct dockerfile_lines ahead = *lines;
        str line, name, value;
        if (!next_physical(&ahead, &line) || !split_directive(line, &name, &value))
            return;
        bool is_escape = str_eq_nocase(name, STR("escape"));
        if (!is_escape && !str_eq_nocase(name, STR("syntax")) && !str_eq_nocase(name, STR("check")))
            return;
        if (is_escape && (str_eq(value, STR("\\")) || str_eq(value, STR("`"))))
            ahead.escape = value.p[0];
        else if (is_escape)
            problems_add(problems, ahead.line, STR("# escape"),
                         "\"%.*s\" is neither \\ nor `, which are allowed", STR_ARG(value));
        *lines = ahead;
    }
}

void dockerfile_lines_init(struct dockerfile_lines *lines, str text, struct problems *problems) {
    *lines = (struct dockerfile_lines){.left = text, .escape = '\\'};
    if (str_starts(text, STR("\xef\xbb\xbf")))
        lines->left = str_from(text, 3);
    read_directives(lines, problems);
}

/* ---- here-documents ---- */

static bool may_have_heredoc(str instruction) {
    str word = dockerfile_words_next(&instruction);
    if (str_eq_nocase(word, STR("ONBUILD")))
        word = dockerfile_words_next(&instruction);
    return str_eq_nocase(word, STR("RUN")) || str_eq_nocase(word, STR("COPY")) ||
           str_eq_nocase(word, STR("ADD"));
}

/* True if `word` opens a here-document: digits, "<<", perhaps "-", then its name (as written, still
   quoted). */
static bool is_heredoc(str word, str *name, bool *tabs) {
    while (word.n > 0 && word.p[0] >= '0' && word.p[0] <= '9')
        word = str_from(word, 1);
    if (!str_starts(word, STR("<<")))
        return false;
    word = str_from(word, 2);
    *tabs = word.n > 0 && word.p[0] == '-';
    *name = str_from(word, *tabs ? 1 : 0);
    return name->n > 0 && str_find(*name, '<') == name->n;
}

/* Compares a line with a quoted name: quotes and backslashes of the name do not count. */
static bool is_terminator(str line, str name, bool tabs) {
    while (tabs && line.n > 0 && line.p[0] == '\t')
        line = str_from(line, 1);
    size_t at = 0;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '"' || name.p[i] == '\'' || name.p[i] == '\\')
            continue;
        if (at == line.n || line.p[at++] != name.p[i])
            return false;
    }
    return at == line.n;
}

static void skip_heredocs(struct dockerfile_lines *lines, str instruction,
                          struct problems *problems) {
    uint32_t start = dockerfile_lines_at(lines, 0);
    while (instruction.n > 0) {
        str word = dockerfile_words_shell(&instruction);
        str name, line;
        bool tabs;
        if (!is_heredoc(word, &name, &tabs))
            continue;
        bool ended = false;
        while (!ended && next_physical(lines, &line))
            ended = is_terminator(line, name, tabs);
        if (!ended)
            problems_add(problems, start, STR(""),
                         "the here-document \"%.*s\" has no end: a line with just its name",
                         STR_ARG(name));
    }
}

/* ---- logical lines ---- */

static void add_piece(struct dockerfile_lines *lines, str piece) {
    struct dockerfile_mark mark = {lines->text.n, lines->line};
    if (!dockerfile_marks_push(&lines->marks, mark))
        lines->failed = true;
    buf_str(&lines->text, piece);
}

/* Adds the lines that continue the one added last. */
static void add_continuations(struct dockerfile_lines *lines) {
    str line;
    while (next_physical(lines, &line)) {
        if (is_comment(line) || trim_start(line).n == 0)
            continue;
        bool goes_on = cut_continuation(&line, lines->escape);
        add_piece(lines, line);
        if (!goes_on)
            return;
    }
}

bool dockerfile_lines_next(struct dockerfile_lines *lines, str *instruction,
                           struct problems *problems) {
    str line;
    while (next_physical(lines, &line)) {
        line = trim_start(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        buf_reset(&lines->text);
        lines->marks.n = 0;
        bool goes_on = cut_continuation(&line, lines->escape);
        add_piece(lines, line);
        if (goes_on)
            add_continuations(lines);
        lines->failed = lines->failed || lines->text.failed;
        if (lines->failed)
            return false;
        *instruction = buf_view(&lines->text);
        if (may_have_heredoc(*instruction))
            skip_heredocs(lines, *instruction, problems);
        return true;
    }
    return false;
}

uint32_t dockerfile_lines_at(const struct dockerfile_lines *lines, size_t at) {
    size_t low = 0;
    size_t high = lines->marks.n;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (lines->marks.p[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    return low < high ? lines->marks.p[low].line : lines->line;
}
