/* Pushes by HTTP: requests, and answers in which every item must be good. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char body[1 << 21];

/* A push, or a batch of `count`, to everyone or to the subscribers from `target` on. */
size_t http_push(char *to, int target, int targets, int count, int qos, const char *data) {
    char *p = body;
    if (count > 1) *p++ = '[';
    for (int i = 0; i < count; i++) {
        if (i) *p++ = ',';
        if (target == EVERYONE) p += sprintf(p, "{\"to\":{\"all\":true}");
        else p += sprintf(p, "{\"to\":{\"token\":\"%s\"}", identities[(target + i) % targets].token);
        p += sprintf(p, ",\"qos\":%d,\"data\":%.*s}", qos, DATA_BYTES, data);
    }
    if (count > 1) *p++ = ']';
    size_t size = (size_t)(p - body);
    size_t head = (size_t)sprintf(to,
        "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        count > 1 ? "/v1/push/batch" : "/v1/push", settings.host, settings.key, size);
    memcpy(to + head, body, size);
    return head + size;
}

static int good_items(const char *text, size_t size) {
    static const char word[] = "\"status\":202";
    int count = 0;
    const char *end = text + size;
    while ((text = memmem(text, (size_t)(end - text), word, sizeof word - 1))) text += sizeof word - 1, count++;
    return count;
}

/* Bytes of the answer at `p`, with its head; 0 while it is not complete. */
static size_t answer_bytes(const char *p, size_t size, size_t *head) {
    const char *end = memmem(p, size, "\r\n\r\n", 4), *length = NULL, *line = p;
    if (!end) return 0;
    *head = (size_t)(end - p) + 4;
    while ((line = memchr(line, '\n', (size_t)(end - line))))
        if (!strncasecmp(++line, "content-length:", 15)) length = line + 15;
    if (length) {
        size_t whole = *head + strtoul(length, NULL, 10);
        return size < whole ? 0 : whole;
    }
    const char *last = memmem(end, size - (*head - 4), "\r\n0\r\n\r\n", 7); /* in chunks */
    return last ? (size_t)(last + 7 - p) : 0;
}

size_t take_http(struct connection *c, const char *data, size_t size) {
    size_t place = 0, head = 0, whole;
    while (size - place > 12 && (whole = answer_bytes(data + place, size - place, &head))) {
        const char *p = data + place;
        int expected = c->answers_due;
        if (p[9] != '2' || (expected > 1 && good_items(p + head, whole - head) != expected)) {
            counts.refused++;
            fail("HTTP: %.*s", (int)(whole > 300 ? 300 : whole), p);
        }
        place += whole;
        answered(c, expected);
    }
    return place;
}
