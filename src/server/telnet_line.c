#include "server/telnet_line.h"

#include "server/report.h"
#include "wire/put_line.h"

#include <stdio.h>
#include <string.h>

/* Appends a whole reply or, if it does not fit, nothing. */
static void reply(struct telnet_session *session, str text) {
    struct buf *out = session->replies;
    if (text.n > TELNET_REPLY_BYTES_MAX - out->n) {
        instance_count(&session->instance->counters.errors_replies_dropped, 1);
        return;
    }
    buf_str(out, text);
}

static void reply_error(struct telnet_session *session, const char *command, const char *message) {
    if (!config_true(session->instance->config, CONFIG_RETURN_ERRORS))
        return;
    struct buf line = {0};
    buf_printf(&line, "%s: %s\n", command, message);
    if (!line.failed)
        reply(session, buf_view(&line));
    buf_fini(&line);
}

static enum rc split_line(void *context, struct series_key *key, struct err *err) {
    return put_line_key(context, key, err);
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Turns an error of the write path into telnet's line: the parser's texts have their prefix
   ("illegal argument: ..."), those of keys and names do not. */
static void put_failed(struct telnet_session *session, const struct err *err) {
    struct instance_counters *counters = &session->instance->counters;
    char text[sizeof(err->message) + 32];
    const char *prefix = "";
    if (err->rc == RC_NOT_FOUND) {
        prefix = "unknown metric: ";
        instance_count(&counters->errors_unknown_metrics, 1);
    } else if (err->rc == RC_THROTTLE) {
        prefix = "Please throttle writes: ";
        instance_count(&counters->errors_storage, 1);
    } else if (err->rc != RC_INVALID) {
        prefix = "storage error: ";
        instance_count(&counters->errors_storage, 1);
    } else if (starts_with(err->message, "invalid value: ")) {
        instance_count(&counters->errors_invalid_values, 1);
    } else {
        if (!starts_with(err->message, "illegal argument: "))
            prefix = "illegal argument: ";
        instance_count(&counters->errors_illegal_arguments, 1);
    }
    snprintf(text, sizeof(text), "%s%s", prefix, err->message);
    bool client = err->rc == RC_INVALID || err->rc == RC_NOT_FOUND;
    report(client ? REPORT_INFO : REPORT_DEBUG, REPORT_CLIENT, "%s put: %s", session->peer, text);
    reply_error(session, "put", text);
}

static void put_one(struct telnet_session *session, str rest) {
    struct put_line put;
    struct err err = {0};
    enum rc rc = put_line_parse(rest, &put, &err);
    if (LIKELY(rc == RC_OK))
        rc = put_writer_add(session->writer, put.metric, put.tags, split_line, &put, put.time_ms,
                            put.value, &err);
    if (UNLIKELY(rc < 0))
        put_failed(session, &err);
}

/* Ends the batch of puts so far. */
static void store_puts(struct telnet_session *session) {
    uint64_t pending = put_writer_pending(session->writer);
    uint64_t stored, commit;
    struct err err = {0};
    if (put_writer_flush(session->writer, &stored, &commit, &err) < 0) {
        char lost[64];
        snprintf(lost, sizeof(lost), "%llu points not stored",
                 (unsigned long long)(pending - stored));
        err_context(&err, "%s", lost);
        put_failed(session, &err);
        report(REPORT_WARN, REPORT_CLIENT, "%s put: %s", session->peer, err.message);
    }
    instance_count(&session->instance->counters.points_telnet, stored);
}

static void command_help(struct telnet_session *session) {
    const struct instance *instance = session->instance;
    struct buf text = {0};
    buf_printf(&text, "available commands: stats dropcaches version exit help%s%s \n",
               instance->writable ? " put" : "",
               config_true(instance->config, CONFIG_NO_DIEDIEDIE) ? "" : " diediedie");
    reply(session, buf_view(&text));
    buf_fini(&text);
}

static void command_text(struct telnet_session *session,
                         void (*make)(void *context, struct buf *out)) {
    struct buf text = {0};
    make(session->commands->context, &text);
    if (!text.failed)
        reply(session, buf_view(&text));
    buf_fini(&text);
}

static void command_unknown(struct telnet_session *session, str word) {
    struct buf text = {0};
    size_t shown = word.n < 128 ? word.n : 128;
    buf_printf(&text, "unknown command: %.*s.  Try `help'.\n", (int)shown, word.p);
    if (!text.failed)
        reply(session, buf_view(&text));
    buf_fini(&text);
}

static void other_command(struct telnet_session *session, str line) {
    str word = {line.p, str_find(line, ' ')};
    const struct telnet_commands *commands = session->commands;
    if (str_eq(word, STR("version"))) {
        command_text(session, commands->version);
    } else if (str_eq(word, STR("stats"))) {
        command_text(session, commands->stats);
    } else if (str_eq(word, STR("help"))) {
        command_help(session);
    } else if (str_eq(word, STR("exit"))) {
        session->leaving = true;
    } else if (str_eq(word, STR("dropcaches"))) {
        store_trim(session->instance->store);
        reply(session, STR("Caches dropped.\n"));
    } else if (str_eq(word, STR("diediedie")) &&
               !config_true(session->instance->config, CONFIG_NO_DIEDIEDIE)) {
        reply(session, STR("Cleaning up and exiting now.\n"));
        commands->shut_down(commands->context);
        session->leaving = true;
    } else {
        command_unknown(session, word);
    }
}

/* `put` alone, and "put" followed by anything but a space, are left to the slow path. */
static bool is_put(str line) {
    return line.n >= 4 && memcmp(line.p, "put ", 4) == 0;
}

size_t telnet_line_run(struct telnet_session *session, str bytes) {
    size_t taken = 0;
    uint64_t puts = 0, others = 0;
    bool batch = false;
    while (!session->leaving) {
        str left = str_from(bytes, taken);
        size_t end = str_find(left, '\n');
        if (end == left.n)
            break;
        taken += end + 1;
        str line = {left.p, end};
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        bool put = is_put(line) || str_eq(line, STR("put"));
        if (LIKELY(put && session->instance->writable)) {
            if (!batch)
                put_writer_begin(session->writer);
            batch = true;
            puts++;
            put_one(session, line.n < 4 ? (str){NULL, 0} : str_from(line, 4));
            continue;
        }
        if (batch)
            store_puts(session);
        batch = false;
        others++;
        other_command(session, line);
    }
    if (batch)
        store_puts(session);
    instance_count(&session->instance->counters.rpc_put, puts);
    instance_count(&session->instance->counters.rpc_telnet, puts + others);
    return taken;
}
