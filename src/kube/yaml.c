#include "kube/yaml.h"

#include <stdarg.h>
#include <stdio.h>

/* Texts that are taken for truths or nothing. */
static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letters first, then only what never means anything: no number begins with a letter. */
static bool is_plain(str text) {
    if (text.n == 0 || !is_letter(text.p[0]))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!is_letter(text.p[i]) && !(text.p[i] >= '0' && text.p[i] <= '9') &&
            str_find(STR("._/-"), text.p[i]) == 4)
            return false;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (str_eq_nocase(text, str_of(words[i])))
            return false;
    return true;
}

static void add_scalar(struct buf *out, str text) {
    if (is_plain(text)) {
        buf_str(out, text);
        return;
    }
    buf_char(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '"' || c == '\\')
            buf_char(out, '\\');
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_char(out, text.p[i]);
    }
    buf_char(out, '"');
}

/* The indentation; that of an item's first line holds its dash. */
static void begin_line(struct yaml *yaml) {
    for (unsigned i = 0; i + yaml->item < yaml->depth; i++)
        buf_str(yaml->out, STR("  "));
    if (yaml->item)
        buf_str(yaml->out, STR("- "));
    yaml->item = false;
}

static void begin_key(struct yaml *yaml, const char *key) {
    begin_line(yaml);
    add_scalar(yaml->out, str_of(key));
    buf_char(yaml->out, ':');
}

void yaml_document(struct yaml *yaml) {
    yaml->depth = 0;
    yaml->item = false;
    buf_str(yaml->out, STR("---\n"));
}

void yaml_comment(struct yaml *yaml, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (unsigned i = 0; i + yaml->item < yaml->depth; i++)
        buf_str(yaml->out, STR("  "));
    buf_str(yaml->out, STR("# "));
    for (const char *c = text; *c != '\0'; c++)
        buf_char(yaml->out, (unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f ? '?' : *c);
    buf_char(yaml->out, '\n');
}

void yaml_open(struct yaml *yaml, const char *key) {
    begin_key(yaml, key);
    buf_char(yaml->out, '\n');
    yaml->depth++;
}

void yaml_item(struct yaml *yaml) {
    yaml->depth++;
    yaml->item = true;
}

void yaml_close(struct yaml *yaml) {
    yaml->depth--;
}

void yaml_text(struct yaml *yaml, const char *key, str value) {
    begin_key(yaml, key);
    buf_char(yaml->out, ' ');
    add_scalar(yaml->out, value);
    buf_char(yaml->out, '\n');
}

void yaml_number(struct yaml *yaml, const char *key, uint64_t value) {
    begin_key(yaml, key);
    buf_printf(yaml->out, " %llu\n", (unsigned long long)value);
}

void yaml_truth(struct yaml *yaml, const char *key, bool value) {
    begin_key(yaml, key);
    buf_str(yaml->out, value ? STR(" true\n") : STR(" false\n"));
}

void yaml_empty(struct yaml *yaml, const char *key) {
    begin_key(yaml, key);
    buf_str(yaml->out, STR(" {}\n"));
}

void yaml_empty_list(struct yaml *yaml, const char *key) {
    begin_key(yaml, key);
    buf_str(yaml->out, STR(" []\n"));
}

void yaml_list(struct yaml *yaml, const char *key, str a, str b) {
    begin_key(yaml, key);
    buf_str(yaml->out, STR(" ["));
    add_scalar(yaml->out, a);
    if (b.n > 0) {
        buf_str(yaml->out, STR(", "));
        add_scalar(yaml->out, b);
    }
    buf_str(yaml->out, STR("]\n"));
}
