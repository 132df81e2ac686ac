/* The commands: what is opened, sent and waited for, and the figures of it as one JSON object. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_SECONDS 60

struct settings settings;
struct identity *identities;
struct connection *subscribers, *publishers;
int subscriber_count, publisher_count;
static int capacity; /* for how many subscribers there is room */
static const char *line;

static const char *text_of(const char *name, const char *otherwise) {
    static char values[16][600];
    static int turn;
    char wanted[64];
    size_t size = (size_t)sprintf(wanted, " %s=", name), i = 0;
    const char *found = strstr(line, wanted);
    if (!found) return otherwise;
    char *to = values[turn = (turn + 1) % 16];
    for (found += size; *found && *found != ' ' && *found != '\n' && i < 599;) to[i++] = *found++;
    to[i] = 0;
    return to;
}

static double number_of(const char *name, double otherwise) {
    const char *text = text_of(name, NULL);
    return text ? atof(text) : otherwise;
}

static ns_t nanoseconds_of(const char *name, double otherwise_seconds) {
    return (ns_t)(number_of(name, otherwise_seconds) * 1e9);
}

static double part(double a, double b) {
    return b > 0 ? a / b : 0;
}

static const struct protocol *protocol_named(const char *name) {
    static const struct protocol *all[] = {&push_protocol, &push_websocket_protocol, &mqtt_protocol, &nats_protocol, &loop_protocol};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(all[i]->name, name)) return all[i];
    fail("no such protocol: %s", name);
    return &push_protocol;
}

static void setup(void) {
    settings.protocol = protocol_named(text_of("protocol", "push"));
    settings.uses_tls = (int)number_of("tls", 0);
    settings.keeps_session = (int)number_of("keeps_session", 0);
    settings.keepalive_seconds = (int)number_of("keepalive", 60);
    settings.heartbeat_seconds = number_of("heartbeat", 0);
    strcpy(settings.host, text_of("host", "127.0.0.1"));
    strcpy(settings.key, text_of("key", ""));
    strcpy(settings.app_key, text_of("app_key", ""));
    strcpy(settings.user, text_of("user", ""));
    strcpy(settings.password, text_of("password", ""));
    set_addresses(settings.host, (int)number_of("port", 0), (int)number_of("http_port", 0));
    set_processes(text_of("pids", ""));
    mark();
    printf("{");
    print_end();
}

/* --- subscribers ------------------------------------------------------------------------------------ */

static int make_room(int count) {
    if (count <= capacity) return 1;
    if (subscriber_count) {
        fail("open more only after a drop");
        return 0;
    }
    free(subscribers);
    free(open_times_us);
    subscribers = calloc((size_t)count, sizeof *subscribers);
    open_times_us = calloc((size_t)count, sizeof *open_times_us);
    identities = realloc(identities, (size_t)count * sizeof *identities);
    memset(identities + capacity, 0, (size_t)(count - capacity) * sizeof *identities);
    capacity = count;
    return 1;
}

/* open n= [inflight=] [timeout=]: until all are accepted, so many at a time. */
static void open_subscribers(void) {
    int n = (int)number_of("n", 1), inflight = (int)number_of("inflight", 128), started = 0;
    failed_count = lost_count = opened_count = open_count = 0;
    reset_counts();
    mark();
    if (make_room(n)) subscriber_count = n;
    else n = 0;
    ns_t end = now() + nanoseconds_of("timeout", 120);
    while (opened_count + failed_count < n && now() < end) {
        for (; started < n && started - opened_count - failed_count < inflight; started++) dial(&subscribers[started], SUBSCRIBER, started);
        pump(100);
    }
    double seconds = (double)(now() - marked_at()) / 1e9;
    if (opened_count + failed_count < n) fail("only %d of %d opened in time", opened_count, n);
    qsort(open_times_us, (size_t)opened_count, sizeof *open_times_us, by_size);
    int last = opened_count ? opened_count - 1 : 0;
    printf("{\"opened\":%d,\"seconds\":%.6f,\"per_second\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,", opened_count, seconds,
           part(opened_count, seconds), open_times_us ? open_times_us[last / 2] / 1e3 : 0, open_times_us ? open_times_us[last * 99 / 100] / 1e3 : 0);
    print_end();
}

static void drop_subscribers(void) {
    mark();
    for (int i = 0; i < subscriber_count; i++) drop(&subscribers[i]);
    open_count = subscriber_count = 0;
    printf("{");
    print_end();
}

/* How many have another number of messages than the first: each must have got all. */
static int unequal(void) {
    int count = 0;
    for (int i = 1; i < subscriber_count; i++) count += subscribers[i].fd >= 0 && subscribers[i].frames != subscribers[0].frames;
    return count;
}

/* --- to everyone ------------------------------------------------------------------------------------- */

struct spent {
    double first_to_last, whole, own_cpu;
};

static void wait_for_frames(uint64_t goal, ns_t began) {
    while ((counts.frames < goal || publishers[0].is_busy) && publishers[0].fd >= 0 && now() - began < WAIT_SECONDS * 1000000000LL) pump(100);
    if (counts.frames < goal) fail("only %llu of %llu messages came", (unsigned long long)counts.frames, (unsigned long long)goal);
}

/* One hand-over of `count`, and all that follows from it. */
static void hand_over(int count, int qos, uint64_t goal, struct spent *spent) {
    double own = cpu_seconds(0);
    ns_t began = now();
    counts.first_at = 0;
    publish(&publishers[0], EVERYONE, 0, count, qos, began);
    wait_for_frames(goal, began);
    spent->first_to_last += (double)(counts.last_at - counts.first_at) / 1e9;
    spent->whole += (double)(counts.last_at - began) / 1e9;
    spent->own_cpu += cpu_seconds(0) - own;
}

/* broadcast qos= count= together=0|1 settle=SECONDS: one after another, or all in one hand-over. */
static void broadcast(void) {
    int qos = (int)number_of("qos", 0), count = (int)number_of("count", 1), together = (int)number_of("together", 0);
    struct spent spent = {0};
    on_answer = NULL;
    reset_counts();
    mark();
    uint64_t goal = (uint64_t)open_count * (uint64_t)count;
    if (!want_publishers(1)) {
        mark();
        if (together) hand_over(count, qos, goal, &spent);
        else for (int i = 1; i <= count; i++) hand_over(1, qos, (uint64_t)open_count * (uint64_t)i, &spent);
    }
    pump_for(nanoseconds_of("settle", 0.2)); /* what comes twice comes now; acknowledgements are stored */
    printf("{\"goal\":%llu,\"seconds\":%.6f,\"per_second\":%.1f,\"per_second_first_to_last\":%.1f,\"own_busy\":%.3f,\"unequal\":%d,",
           (unsigned long long)goal, spent.whole, part((double)goal, spent.whole), part((double)goal, spent.first_to_last),
           part(spent.own_cpu, spent.whole), unequal());
    print_latencies();
    print_end();
}

/* --- to one subscriber each ---------------------------------------------------------------------------- */

static struct {
    int batch, qos, targets, next;
    ns_t end;
    uint64_t sent;
} load;

static void next_request(struct connection *c, ns_t stamp) {
    publish(c, load.next, load.targets, load.batch, load.qos, stamp);
    load.next = (load.next + load.batch) % load.targets;
    load.sent++;
}

static void request_again(struct connection *c) {
    if (now() < load.end) next_request(c, now());
}

static void as_fast_as_answers_come(int clients) {
    on_answer = request_again;
    for (int i = 0; i < clients; i++) request_again(&publishers[i]);
    while (now() < load.end) pump(50);
    on_answer = NULL;
}

/* Each push has a moment when it is due. One that finds no free client is late, and its time runs. */
static void at_rate(int clients, double rate, double seconds) {
    ns_t began = now(), limit = began + (ns_t)((seconds + 5) * 1e9);
    uint64_t planned = (uint64_t)(seconds * rate);
    int place = 0;
    while (load.sent < planned && now() < limit) {
        ns_t due = began + (ns_t)((double)load.sent * 1e9 / rate), left = due - now();
        if (left > 0) {
            pump(left > 1000000 ? 1 : 0);
            continue;
        }
        int tried = 0;
        while (publishers[place].is_busy && tried++ < clients) place = (place + 1) % clients;
        if (publishers[place].is_busy) pump(1);
        else {
            next_request(&publishers[place], due);
            pump(0);
        }
    }
}

/* push clients= seconds= rate=0|R batch= qos= targets= settle= [unwatched=1] [wait=SECONDS for what was accepted];
 * rate 0: as fast as answers come. */
static void push(void) {
    int clients = (int)number_of("clients", 32), unwatched = (int)number_of("unwatched", 0);
    double seconds = number_of("seconds", 1), rate = number_of("rate", 0);
    load.batch = (int)number_of("batch", 1);
    load.qos = (int)number_of("qos", 1);
    load.targets = (int)number_of("targets", 1);
    load.next = 0;
    load.sent = 0;
    on_answer = NULL;
    reset_counts();
    if (unwatched) make_room(load.targets); /* devices that are never opened */
    if (load.targets > capacity) load.targets = capacity;
    int trouble = load.targets < 1 || clients > MAX_PUBLISHERS || want_publishers(clients);
    mark();
    load.end = now() + (ns_t)(seconds * 1e9);
    if (trouble) fail("there is nobody to push to, or nobody that pushes");
    else if (rate > 0) at_rate(clients, rate, seconds);
    else as_fast_as_answers_come(clients);
    uint64_t requests = counts.requests;
    double wall = (double)(now() - marked_at()) / 1e9, own = own_cpu_since_mark();
    ns_t limit = now() + nanoseconds_of("wait", WAIT_SECONDS);
    while (now() < limit && (busy_publishers(clients) || (!unwatched && counts.frames < counts.items))) pump(20);
    pump_for(nanoseconds_of("settle", 0.2));
    if (!unwatched && counts.frames != counts.items)
        fail("%llu messages came of %llu that were accepted", (unsigned long long)counts.frames, (unsigned long long)counts.items);
    printf("{\"requests\":%llu,\"requests_per_s\":%.1f,\"messages_per_s\":%.1f,\"items\":%llu,\"own_busy\":%.3f,",
           (unsigned long long)counts.requests, part((double)requests, wall), part((double)requests * load.batch, wall),
           (unsigned long long)counts.items, part(own, wall));
    print_latencies();
    print_end();
}

/* --- the rest ------------------------------------------------------------------------------------------ */

static void idle(void) {
    reset_counts();
    mark();
    pump_for(nanoseconds_of("seconds", 1));
    printf("{\"heartbeats\":%llu,", (unsigned long long)counts.heartbeats);
    print_end();
}

/* await per= timeout=: until every subscriber has so many messages since it was opened. */
static void await(void) {
    uint64_t per = (uint64_t)number_of("per", 1), least = 0, most = 0;
    ns_t end = now() + nanoseconds_of("timeout", WAIT_SECONDS);
    do {
        pump(20);
        least = UINT64_MAX;
        most = 0;
        for (int i = 0; i < subscriber_count; i++) {
            if (subscribers[i].frames < least) least = subscribers[i].frames;
            if (subscribers[i].frames > most) most = subscribers[i].frames;
        }
    } while (least < per && now() < end);
    if (least != per || most != per) fail("subscribers have %llu to %llu messages of %llu", (unsigned long long)least, (unsigned long long)most, (unsigned long long)per);
    printf("{\"seconds\":%.6f,\"least\":%llu,\"most\":%llu,", (double)(counts.last_at - marked_at()) / 1e9, (unsigned long long)least, (unsigned long long)most);
    print_latencies();
    print_end();
}

/* store count= batch= qos=: publish to everyone while nobody is connected. */
static void store(void) {
    int count = (int)number_of("count", 1), batch = (int)number_of("batch", 1), qos = (int)number_of("qos", 1);
    on_answer = NULL;
    reset_counts();
    int trouble = want_publishers(1);
    mark();
    for (int sent = 0; !trouble && sent < count; sent += batch) {
        ns_t end = now() + WAIT_SECONDS * 1000000000LL;
        publish(&publishers[0], EVERYONE, 0, count - sent < batch ? count - sent : batch, qos, now());
        while (publishers[0].is_busy && publishers[0].fd >= 0 && now() < end) pump(20);
        if ((trouble = publishers[0].is_busy)) fail("no answer");
    }
    printf("{\"items\":%llu,", (unsigned long long)counts.items);
    print_end();
}

void run_command(const char *text) {
    static const struct {
        const char *name;
        void (*run)(void);
    } commands[] = {
        {"setup", setup}, {"open", open_subscribers}, {"drop", drop_subscribers}, {"broadcast", broadcast},
        {"push", push},   {"idle", idle},             {"await", await},           {"store", store},
    };
    line = text;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t size = strlen(commands[i].name);
        if (!strncmp(text, commands[i].name, size) && (text[size] == ' ' || text[size] == '\n')) {
            commands[i].run();
            return;
        }
    }
    fail("no such command");
    printf("{");
    print_end();
}
