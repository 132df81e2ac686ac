/* MQTT 3.1.1: a topic for everyone, and one for each subscriber. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <string.h>

enum packet { CONNECT = 1, CONNACK, PUBLISH, PUBACK, SUBSCRIBE = 8, SUBACK, PINGREQ = 12, PINGRESP };

static char *put_length(char *p, size_t size) {
    do {
        *p++ = (char)((size & 127) | (size > 127 ? 128 : 0));
        size >>= 7;
    } while (size);
    return p;
}

static char *put_string(char *p, const char *text) {
    size_t size = strlen(text);
    p = put16(p, (unsigned)size);
    memcpy(p, text, size);
    return p + size;
}

static void topic_of(char *to, int target) {
    if (target == EVERYONE) strcpy(to, "bench");
    else sprintf(to, "d/%d", target);
}

static void hello(struct connection *c) {
    char out[1024], name[32], *p = out;
    int is_clean = !settings.keeps_session || c->role != SUBSCRIBER;
    sprintf(name, c->role == SUBSCRIBER ? "s%06d" : "p%06d", c->index);
    *p++ = CONNECT << 4;
    p = put_length(p, 10 + 2 + strlen(name) + 2 + strlen(settings.user) + 2 + strlen(settings.password));
    p = put_string(p, "MQTT");
    *p++ = 4;
    *p++ = (char)(0xC0 | (is_clean ? 2 : 0));
    p = put16(p, (unsigned)settings.keepalive_seconds);
    p = put_string(put_string(put_string(p, name), settings.user), settings.password);
    c->state = AUTHENTICATING;
    say(c, out, (size_t)(p - out));
}

static void subscribe(struct connection *c) {
    char out[128], own[32], *p = out;
    topic_of(own, c->index);
    *p++ = (char)(SUBSCRIBE << 4 | 2);
    p = put_length(p, 2 + 2 + 5 + 1 + 2 + strlen(own) + 1);
    p = put_string(put16(p, 1), "bench");
    *p++ = 1;
    p = put_string(p, own);
    *p++ = 1;
    say(c, out, (size_t)(p - out));
}

static void take_publish(struct connection *c, const char *packet, const char *body, size_t length) {
    int qos = packet[0] >> 1 & 3;
    size_t head = 2 + get16(body) + (qos ? 2 : 0);
    delivered(c, body + head, length - head);
    if (qos == 1) {
        char ack[4] = {PUBACK << 4, 2, body[head - 2], body[head - 1]};
        acknowledge(ack, sizeof ack);
    }
}

static void take_packet(struct connection *c, const char *packet, const char *body, size_t length) {
    switch ((uint8_t)packet[0] >> 4) {
    case PUBLISH: take_publish(c, packet, body, length); break;
    case PUBACK: answered(c, 1); break;
    case CONNACK:
        if (body[1]) close_with(c, "refused by CONNACK");
        else if (c->role == PUBLISHER || body[0]) opened(c); /* it has its subscriptions still */
        else subscribe(c);
        break;
    case SUBACK:
        if (length != 4 || body[2] > 1 || body[3] > 1) close_with(c, "refused by SUBACK");
        else opened(c);
        break;
    case PINGRESP: break;
    default: close_with(c, "a packet that is not expected");
    }
}

static size_t take(struct connection *c, const char *data, size_t size) {
    size_t place = 0;
    while (size - place >= 2) {
        const char *p = data + place;
        size_t length = 0, head = 1;
        for (int shift = 0;; shift += 7) {
            if (place + head >= size) return place;
            length |= (size_t)(p[head] & 127) << shift;
            if (!(p[head++] & 128)) break;
        }
        if (size - place < head + length) break;
        take_packet(c, p, p + head, length);
        if (c->fd < 0) return size;
        place += head + length;
    }
    return place;
}

static size_t heartbeat(char *to, unsigned number) {
    (void)number;
    *put16(to, PINGREQ << 12) = 0;
    return 2;
}

static size_t encode(struct connection *c, char *to, int target, int qos, const char *data) {
    char topic[32], *p = to;
    topic_of(topic, target);
    *p++ = (char)(PUBLISH << 4 | qos << 1);
    p = put_length(p, 2 + strlen(topic) + (qos ? 2 : 0) + DATA_BYTES);
    p = put_string(p, topic);
    if (qos) p = put16(p, c->packet = c->packet % 65535 + 1);
    memcpy(p, data, DATA_BYTES);
    return (size_t)(p - to) + DATA_BYTES;
}

/* At QoS 0 a server answers nothing. */
static size_t end_of_messages(struct connection *c, char *to, int qos) {
    (void)to;
    if (!qos) c->is_busy = c->answers_due = 0;
    return 0;
}

const struct protocol mqtt_protocol = {
    .name = "mqtt", .hello = hello, .take = take, .heartbeat = heartbeat, .encode = encode, .end_of_messages = end_of_messages,
};
