/* NATS: a subject for everyone, and one for each subscriber. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <string.h>

static void hello(struct connection *c) {
    char out[1024];
    int size = sprintf(out, "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"auth_token\":\"%s\"}\r\n", settings.password);
    if (c->role == SUBSCRIBER) size += sprintf(out + size, "SUB bench 1\r\nSUB d.%d 2\r\n", c->index);
    size += sprintf(out + size, "PING\r\n"); /* its answer says that all before was accepted */
    c->state = AUTHENTICATING;
    say(c, out, (size_t)size);
}

/* The last number of "MSG subject sid bytes\r\n". */
static size_t payload_bytes(const char *end) {
    size_t count = 0, scale = 1;
    if (end[-1] == '\r') end--;
    for (const char *p = end - 1; *p != ' '; p--, scale *= 10) count += (size_t)(*p - '0') * scale;
    return count;
}

/* A line that is no message. */
static void take_line(struct connection *c, const char *line, size_t length) {
    if (!strncmp(line, "PING", 4)) acknowledge("PONG\r\n", 6);
    else if (!strncmp(line, "PONG", 4)) {
        if (c->state == AUTHENTICATING) opened(c);
        else if (c->role == PUBLISHER) answered(c, c->answers_due);
    } else if (!strncmp(line, "INFO", 4)) {
        if (c->state != HELLO) return; /* it may come again */
        if (c->is_tls) begin_tls(c);
        else hello(c);
    } else {
        fail("%.*s", (int)length, line);
        close_with(c, "a line that is not expected");
    }
}

static size_t take(struct connection *c, const char *data, size_t size) {
    size_t place = 0;
    for (;;) {
        const char *line = data + place, *end = memchr(line, '\n', size - place);
        if (!end) return place;
        size_t length = (size_t)(end - line) + 1;
        if (line[0] == 'M') {
            size_t payload = payload_bytes(end);
            if (size - place < length + payload + 2) return place;
            delivered(c, line + length, payload);
            length += payload + 2;
        } else take_line(c, line, length);
        if (c->fd < 0 || c->state == TLS) return size;
        place += length;
    }
}

static size_t heartbeat(char *to, unsigned number) {
    (void)number;
    memcpy(to, "PING\r\n", 6);
    return 6;
}

static size_t encode(struct connection *c, char *to, int target, int qos, const char *data) {
    (void)c, (void)qos;
    char subject[32] = "bench";
    if (target != EVERYONE) sprintf(subject, "d.%d", target);
    return (size_t)sprintf(to, "PUB %s %d\r\n%.*s\r\n", subject, DATA_BYTES, DATA_BYTES, data);
}

static size_t end_of_messages(struct connection *c, char *to, int qos) {
    (void)c;
    return heartbeat(to, (unsigned)qos);
}

const struct protocol nats_protocol = {
    .name = "nats", .server_speaks_first = 1, .hello = hello, .take = take, .heartbeat = heartbeat, .encode = encode, .end_of_messages = end_of_messages,
};
