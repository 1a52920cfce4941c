#include "kube/problems.h"

#include <stdarg.h>
#include <stdio.h>

void problems_init(struct problems *problems, const char *source) {
    *problems = (struct problems){.source = source};
}

void problems_fini(struct problems *problems) {
    buf_fini(&problems->text);
}

/* What comes from a file goes to a terminal: no control characters. */
static void add_printable(struct buf *out, str text) {
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        buf_char(out, c < 0x20 || c == 0x7f ? '?' : text.p[i]);
    }
}

void problems_add(struct problems *problems, uint32_t line, str subject, const char *format, ...) {
    if (++problems->count > PROBLEMS_SHOWN_MAX)
        return;
    struct buf *out = &problems->text;
    char message[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof(message))
        n = sizeof(message) - 1;
    add_printable(out, str_of(problems->source));
    if (line > 0)
        buf_printf(out, ":%u", line);
    buf_str(out, STR(": "));
    if (subject.n > 0) {
        add_printable(out, subject);
        buf_str(out, STR(": "));
    }
    add_printable(out, (str){message, (size_t)n});
    buf_char(out, '\n');
}
