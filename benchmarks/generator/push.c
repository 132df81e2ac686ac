/* push-universe over TCP and TLS: a header of ten bytes, then a body in JSON. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <string.h>

enum signal { SUB = 1, PING = 3, PUSH = 4, CONNECT = 6, CONNECT_ACK = 7, DISCONNECT = 8, PUB_ACK = 10 };

#define HEADER_BYTES 10

static size_t encode_frame(char *to, enum signal signal, unsigned message_id, const char *body, size_t size) {
    char *p = to;
    *p++ = (char)0xF8;
    *p++ = 2;
    *p++ = (char)signal;
    p = put32(p, (unsigned)size);
    *p++ = 0;
    p = put16(p, message_id);
    memcpy(p, body, size);
    return HEADER_BYTES + size;
}

/* The first words of a device: it registers once, and then says who it is. `text` gets the body. */
size_t device_words(struct connection *c, char *text) {
    struct identity *own = &identities[c->index];
    if (!own->token[0]) {
        c->state = REGISTERING;
        return (size_t)sprintf(text, "{\"key\":\"%s\",\"platform\":\"bench\",\"app\":\"bench\"}", settings.app_key);
    }
    c->state = AUTHENTICATING;
    return (size_t)sprintf(text, "{\"token\":\"%s\",\"secret\":\"%s\"}", own->token, own->secret);
}

static void hello(struct connection *c) {
    char text[1024], out[1100];
    size_t size = device_words(c, text);
    say(c, out, encode_frame(out, c->state == REGISTERING ? SUB : CONNECT, 1, text, size));
}

/* What the answer to a registration or a CONNECT means; whether it is a good one. */
int is_success(struct connection *c, int refused, const char *body, size_t size) {
    if (c->state == REGISTERING) {
        struct identity *own = &identities[c->index];
        copy_text(own->token, sizeof own->token, body, size, "\"token\":\"");
        copy_text(own->secret, sizeof own->secret, body, size, "\"secret\":\"");
        refused = !own->token[0];
    }
    if (!refused) return 1;
    fail("refused: %.*s", (int)size, body);
    close_with(c, "refused");
    return 0;
}

static void take_frame(struct connection *c, const char *frame, size_t length) {
    const char *body = frame + HEADER_BYTES;
    char ack[HEADER_BYTES];
    switch (frame[2]) {
    case PUSH:
        delivered(c, body, length);
        if (get16(frame + 8)) acknowledge(ack, encode_frame(ack, PUB_ACK, get16(frame + 8), "", 0));
        break;
    case SUB:
        if (is_success(c, 0, body, length)) hello(c);
        break;
    case CONNECT_ACK:
        if (is_success(c, frame[7], body, length)) opened(c);
        break;
    case PING: break;
    default:
        fail("signal %d: %.*s", frame[2], (int)length, body);
        close_with(c, "a signal that is not expected");
    }
}

static size_t take(struct connection *c, const char *data, size_t size) {
    size_t place = 0;
    while (size - place >= HEADER_BYTES) {
        const char *frame = data + place;
        size_t length = get32(frame + 3);
        if ((uint8_t)frame[0] != 0xF8 || frame[1] != 2) {
            close_with(c, "no frame of the protocol");
            return size;
        }
        if (size - place < HEADER_BYTES + length) break;
        take_frame(c, frame, length);
        if (c->fd < 0) return size;
        place += HEADER_BYTES + length;
    }
    return place;
}

static size_t heartbeat(char *to, unsigned number) {
    return encode_frame(to, PING, number, "", 0);
}

const struct protocol push_protocol = {
    .name = "push", .publishes_by_http = 1, .hello = hello, .take = take, .heartbeat = heartbeat,
};
