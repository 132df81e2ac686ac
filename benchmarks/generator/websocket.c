/* push-universe over WebSocket: each frame is a text message in JSON. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t encode_text(char *to, const char *text, size_t size) {
    char *p = to;
    *p++ = (char)0x81;
    if (size < 126) *p++ = (char)(0x80 | size);
    else {
        *p++ = (char)(0x80 | 126);
        p = put16(p, (unsigned)size);
    }
    memset(p, 0, 4); /* a mask of zeros is a mask */
    memcpy(p + 4, text, size);
    return (size_t)(p - to) + 4 + size;
}

static void upgrade(struct connection *c) {
    char out[512];
    say(c, out, (size_t)sprintf(out,
        "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: push.v2\r\n\r\n", settings.host));
}

static void hello(struct connection *c) {
    char body[1024], text[1200], out[1300];
    device_words(c, body);
    int size = sprintf(text, "{\"signal\":\"%s\",\"messageId\":1,\"content\":%s}", c->state == REGISTERING ? "SUB" : "CONNECT", body);
    say(c, out, encode_text(out, text, (size_t)size));
}

static int says(const char *text, size_t size, const char *start) {
    return size >= strlen(start) && !memcmp(text, start, strlen(start));
}

static void take_text(struct connection *c, const char *text, size_t size) {
    static const char push[] = "{\"signal\":\"PUSH\",\"messageId\":";
    if (says(text, size, push)) {
        int number = atoi(text + sizeof push - 1);
        char answer[80], out[100];
        delivered(c, text, size);
        if (number) acknowledge(out, encode_text(out, answer, (size_t)sprintf(answer, "{\"signal\":\"PUB_ACK\",\"messageId\":%d}", number)));
    } else if (says(text, size, "{\"signal\":\"SUB\"")) {
        if (is_success(c, 0, text, size)) hello(c);
    } else if (says(text, size, "{\"signal\":\"CONNECT_ACK\"")) {
        if (is_success(c, !memmem(text, size, "\"session\":", 10), text, size)) opened(c);
    } else if (!says(text, size, "{\"signal\":\"PING\"")) {
        fail("%.*s", (int)(size > 300 ? 300 : size), text);
        close_with(c, "a message that is not expected");
    }
}

static size_t take_upgrade(struct connection *c, const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end) return 0;
    if (!says(data, size, "HTTP/1.1 101")) {
        fail("%.*s", (int)(size > 200 ? 200 : size), data);
        close_with(c, "no upgrade");
        return size;
    }
    hello(c);
    return (size_t)(end - data) + 4;
}

static size_t take(struct connection *c, const char *data, size_t size) {
    size_t place = 0;
    if (c->state == HELLO && !(place = take_upgrade(c, data, size))) return 0;
    while (c->fd >= 0 && size - place >= 2) {
        const char *p = data + place;
        size_t length = (uint8_t)p[1] & 127, head = 2;
        if (length == 126) {
            if (size - place < 4) break;
            length = get16(p + 2);
            head = 4;
        } else if (length == 127) {
            if (size - place < 10) break;
            length = get32(p + 6);
            head = 10;
        }
        if (size - place < head + length) break;
        if ((uint8_t)p[0] == 0x81) take_text(c, p + head, length);
        else close_with(c, "a WebSocket frame that is no text");
        place += head + length;
    }
    return c->fd < 0 ? size : place;
}

static size_t heartbeat(char *to, unsigned number) {
    char text[64];
    return encode_text(to, text, (size_t)sprintf(text, "{\"signal\":\"PING\",\"messageId\":%u}", number));
}

const struct protocol push_websocket_protocol = {
    .name = "push-websocket", .publishes_by_http = 1, .hello = upgrade, .take = take, .heartbeat = heartbeat,
};
