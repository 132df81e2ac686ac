/* What the parts of the load generator share.
 *
 * One thread and one epoll: it plays N subscribers of one protocol, and those that publish. Times are
 * CLOCK_MONOTONIC in nanoseconds; the time of a publish is in the payload as "~T" and 19 digits.
 */
#ifndef GENERATOR_H
#define GENERATOR_H

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DATA_BYTES 200
#define MAX_PROCESSES 16
#define MAX_PUBLISHERS 256
#define BUFFER_BYTES (1 << 22)
#define EVERYONE (-1)

typedef int64_t ns_t;

enum role { SUBSCRIBER, PUBLISHER, HTTP };
enum state { CLOSED, CONNECTING, TLS, HELLO, REGISTERING, AUTHENTICATING, OPEN };

struct connection {
    int fd, index;
    uint8_t role, state, is_tls, polls_out;
    uint8_t is_busy;     /* of one that publishes: answers are due */
    int answers_due;
    SSL *ssl;
    char *in, *out;      /* what is not yet understood, what is not yet sent */
    uint32_t in_bytes, out_bytes, out_capacity;
    uint64_t frames;     /* messages that came */
    ns_t dialled_at;
    uint32_t stamp_place; /* where in the last message its time was */
    uint32_t packet;     /* the last number of an MQTT publisher */
};

/* What a protocol does differently. `take` understands whole frames and says how many bytes they were. */
struct protocol {
    const char *name;
    int publishes_by_http;
    int server_speaks_first;
    void (*hello)(struct connection *c);
    size_t (*take)(struct connection *c, const char *data, size_t size);
    size_t (*heartbeat)(char *to, unsigned number);
    /* One message to everyone or to one subscriber; unused where it publishes by HTTP. */
    size_t (*encode)(struct connection *c, char *to, int target, int qos, const char *data);
    size_t (*end_of_messages)(struct connection *c, char *to, int qos);
};

extern const struct protocol push_protocol, push_websocket_protocol, mqtt_protocol, nats_protocol, loop_protocol;

struct settings {
    const struct protocol *protocol;
    int uses_tls, keeps_session, keepalive_seconds;
    double heartbeat_seconds; /* how often a client sends one; 0: never */
    char host[64], key[512], app_key[512], user[64], password[128];
};

/* The token and secret of a device of push-universe: it keeps them while it is disconnected. */
struct identity {
    char token[32], secret[80];
};

struct counts {
    uint64_t frames, wire_bytes, without_stamp;
    uint64_t requests, items;        /* requests answered; messages handed over */
    uint64_t refused;                /* answers that were no success */
    uint64_t heartbeats;
    ns_t first_at, last_at;
};

extern struct settings settings;
extern struct counts counts;
extern struct identity *identities;
extern struct connection *subscribers, *publishers;
extern int subscriber_count, publisher_count;
extern int open_count, lost_count, failed_count, opened_count;
extern uint32_t *open_times_us;

/* measure.c */
ns_t now(void);
double cpu_seconds(int pid); /* 0: our own */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void set_processes(const char *list);
int process_count(void);
double servers_cpu_seconds(void);
void mark(void);
ns_t marked_at(void);
double own_cpu_since_mark(void);
void reset_counts(void);
void delivered(struct connection *c, const char *data, size_t size);
void print_latencies(void);
void print_end(void);
int by_size(const void *a, const void *b);

/* connection.c */
void start_poller(void);
int dial(struct connection *c, enum role role, int index);
void set_addresses(const char *host, int port, int http_port);
void say(struct connection *c, const char *data, size_t size);
void acknowledge(const char *data, size_t size); /* sent at the end of the read in hand */
void close_with(struct connection *c, const char *why);
void drop(struct connection *c);
void opened(struct connection *c);
void begin_tls(struct connection *c);
void pump(int timeout_ms);
void pump_for(ns_t duration);

/* http.c */
size_t take_http(struct connection *c, const char *data, size_t size);
size_t http_push(char *to, int target, int targets, int count, int qos, const char *data);

/* publishing.c */
void publish(struct connection *c, int target, int targets, int count, int qos, ns_t stamp);
void answered(struct connection *c, int count);
int want_publishers(int count);
int busy_publishers(int count);
extern void (*on_answer)(struct connection *c);

/* bytes.c */
char *put16(char *p, unsigned value);
char *put32(char *p, unsigned value);
unsigned get16(const char *p);
uint32_t get32(const char *p);
void copy_text(char *to, size_t capacity, const char *from, size_t size, const char *after);
size_t device_words(struct connection *c, char *text);
int is_success(struct connection *c, int refused, const char *body, size_t size);

/* commands.c */
void run_command(const char *line);

#endif
