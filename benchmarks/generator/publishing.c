/* Handing messages over: by HTTP, or as the protocol itself does. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <string.h>

#define LOOK_SECONDS 10

void (*on_answer)(struct connection *c);
static char out[BUFFER_BYTES];

/* JSON of DATA_BYTES: an object with the time of the publish. */
static void payload(char *to, ns_t stamp) {
    int size = sprintf(to, "{\"t\":\"~T%019lld", (long long)stamp);
    memset(to + size, 'x', (size_t)(DATA_BYTES - 2 - size));
    memcpy(to + DATA_BYTES - 2, "\"}", 3);
}

/* `count` messages in one hand-over: to everyone, or to one subscriber each from `target` on. */
void publish(struct connection *c, int target, int targets, int count, int qos, ns_t stamp) {
    const struct protocol *protocol = settings.protocol;
    char data[DATA_BYTES + 1];
    size_t size = 0;
    payload(data, stamp);
    c->is_busy = 1;
    c->answers_due = count;
    counts.items += (uint64_t)count;
    if (protocol->publishes_by_http) size = http_push(out, target, targets, count, qos, data);
    else {
        for (int i = 0; i < count; i++) size += protocol->encode(c, out + size, target == EVERYONE ? target : (target + i) % targets, qos, data);
        size += protocol->end_of_messages(c, out + size, qos);
    }
    say(c, out, size);
}

/* `count` of the answers that are due came. */
void answered(struct connection *c, int count) {
    c->answers_due -= count;
    if (c->answers_due > 0) return;
    c->answers_due = 0;
    c->is_busy = 0;
    counts.requests++;
    if (on_answer) on_answer(c);
}

int busy_publishers(int count) {
    int busy = 0;
    for (int i = 0; i < count; i++) busy += publishers[i].is_busy;
    return busy;
}

/* Connects those that are missing; a server may have closed one that was idle. */
int want_publishers(int count) {
    pump(0);
    for (int i = 0; i < count; i++) {
        struct connection *c = &publishers[i];
        if (i < publisher_count && c->fd >= 0) continue;
        if (dial(c, settings.protocol->publishes_by_http ? HTTP : PUBLISHER, i)) return -1;
        ns_t end = now() + LOOK_SECONDS * 1000000000LL;
        while (c->state != OPEN && c->fd >= 0 && now() < end) pump(100);
        if (c->state != OPEN) {
            fail("a publisher could not connect");
            return -1;
        }
        if (i >= publisher_count) publisher_count = i + 1;
    }
    return 0;
}
