/* The protocol of send_loop.c: length (4 bytes), type, body. */
#define _GNU_SOURCE
#include "generator.h"
#include <string.h>

#define FRAME_BYTES 300 /* about what a push of push-universe is on the wire */

static size_t encode_frame(char *to, char type, const char *body, size_t size) {
    char *p = put32(to, (unsigned)size + 1);
    *p++ = type;
    memcpy(p, body, size);
    return 5 + size;
}

static void hello(struct connection *c) {
    char out[16];
    c->state = AUTHENTICATING;
    say(c, out, encode_frame(out, c->role == SUBSCRIBER ? 'H' : 'h', "", 0));
}

static size_t take(struct connection *c, const char *data, size_t size) {
    size_t place = 0;
    while (size - place >= 5) {
        size_t length = get32(data + place);
        if (size - place < 4 + length) break;
        switch (data[place + 4]) {
        case 'M': delivered(c, data + place + 5, length - 1); break;
        case 'K': opened(c); break;
        case 'A': answered(c, 1); break;
        default: close_with(c, "a type that is not expected"); return size;
        }
        place += 4 + length;
    }
    return place;
}

static size_t encode(struct connection *c, char *to, int target, int qos, const char *data) {
    (void)c, (void)target, (void)qos; /* it knows no single subscriber */
    char body[FRAME_BYTES - 5];
    memset(body, 'p', sizeof body);
    memcpy(body, data, DATA_BYTES);
    return encode_frame(to, 'P', body, sizeof body);
}

static size_t end_of_messages(struct connection *c, char *to, int qos) {
    (void)c, (void)to, (void)qos;
    return 0;
}

const struct protocol loop_protocol = {
    .name = "loop", .hello = hello, .take = take, .encode = encode, .end_of_messages = end_of_messages,
};
