/* Connections: dialling, TLS, bytes in and out, and the loop that waits for them. */
#define _GNU_SOURCE
#include "generator.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int open_count, lost_count, failed_count, opened_count;
uint32_t *open_times_us;

static int poller;
static SSL_CTX *context;
static char *buffer;
static struct sockaddr_in target, http_target;
static char acknowledgements[1 << 20];
static size_t acknowledgement_bytes;

void start_poller(void) {
    poller = epoll_create1(0);
    buffer = malloc(BUFFER_BYTES);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* what is measured here is not trust */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input); /* commands come while nothing else does */
}

void set_addresses(const char *host, int port, int http_port) {
    target.sin_family = http_target.sin_family = AF_INET;
    inet_pton(AF_INET, host, &target.sin_addr);
    http_target.sin_addr = target.sin_addr;
    target.sin_port = htons((uint16_t)port);
    http_target.sin_port = htons((uint16_t)http_port);
}

static void poll_for(struct connection *c, int out) {
    struct epoll_event event = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    if (c->polls_out == out) return;
    c->polls_out = (uint8_t)out;
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void forget(struct connection *c) {
    epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    free(c->in);
    free(c->out);
    c->ssl = NULL;
    c->in = c->out = NULL;
    c->in_bytes = c->out_bytes = c->out_capacity = 0;
    c->fd = -1;
}

void close_with(struct connection *c, const char *why) {
    if (c->fd < 0) return;
    forget(c);
    if (c->role == SUBSCRIBER) {
        if (c->state == OPEN) {
            lost_count++;
            open_count--;
        } else failed_count++;
        fail("subscriber %d closed in state %d: %s", c->index, c->state, why);
    } else if (c->is_busy || c->state != OPEN) fail("publisher %d closed: %s", c->index, why);
    c->state = CLOSED;
}

/* By ourselves: nothing is wrong. */
void drop(struct connection *c) {
    if (c->fd >= 0 && c->state != CLOSED) forget(c);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

/* --- bytes out ----------------------------------------------------------------------------------- */

/* How many bytes went; 0: none now; -1: the connection is broken. */
static ssize_t put(struct connection *c, const char *data, size_t size) {
    if (c->ssl && c->state > TLS) {
        int sent = SSL_write(c->ssl, data, (int)size);
        if (sent > 0) return sent;
        int error = SSL_get_error(c->ssl, sent);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

void say(struct connection *c, const char *data, size_t size) {
    if (c->fd < 0) return;
    if (!c->out_bytes) {
        ssize_t sent = put(c, data, size);
        if (sent < 0) {
            close_with(c, "write");
            return;
        }
        data += sent;
        size -= (size_t)sent;
        if (!size) return;
    }
    if (c->out_bytes + size > c->out_capacity) {
        c->out_capacity = (uint32_t)(c->out_bytes + size) * 2;
        c->out = realloc(c->out, c->out_capacity);
    }
    memcpy(c->out + c->out_bytes, data, size);
    c->out_bytes += (uint32_t)size;
    poll_for(c, 1);
}

static void on_writable(struct connection *c) {
    while (c->out_bytes) {
        ssize_t sent = put(c, c->out, c->out_bytes);
        if (sent < 0) {
            close_with(c, "write");
            return;
        }
        if (!sent) return;
        memmove(c->out, c->out + sent, c->out_bytes - (size_t)sent);
        c->out_bytes -= (uint32_t)sent;
    }
    free(c->out);
    c->out = NULL;
    c->out_capacity = 0;
    poll_for(c, 0);
}

/* What a read brings is acknowledged with one write, as a client would. */
void acknowledge(const char *data, size_t size) {
    if (acknowledgement_bytes + size > sizeof acknowledgements) {
        fail("too many acknowledgements in one read");
        return;
    }
    memcpy(acknowledgements + acknowledgement_bytes, data, size);
    acknowledgement_bytes += size;
}

/* --- opening --------------------------------------------------------------------------------------- */

void opened(struct connection *c) {
    c->state = OPEN;
    if (c->role != SUBSCRIBER) return;
    open_count++;
    open_times_us[opened_count++] = (uint32_t)((now() - c->dialled_at) / 1000);
}

static void begin_protocol(struct connection *c) {
    c->state = HELLO;
    if (c->role == HTTP) opened(c);
    else settings.protocol->hello(c);
}

static void continue_tls(struct connection *c) {
    int result = SSL_connect(c->ssl);
    if (result == 1) {
        poll_for(c, 0);
        begin_protocol(c);
        return;
    }
    int error = SSL_get_error(c->ssl, result);
    if (error == SSL_ERROR_WANT_READ) poll_for(c, 0);
    else if (error == SSL_ERROR_WANT_WRITE) poll_for(c, 1);
    else close_with(c, "TLS handshake");
}

void begin_tls(struct connection *c) {
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    c->state = TLS;
    continue_tls(c);
}

static void on_connected(struct connection *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        close_with(c, strerror(error));
        return;
    }
    poll_for(c, 0);
    if (settings.protocol->server_speaks_first && c->role != HTTP) c->state = HELLO;
    else if (c->is_tls) begin_tls(c);
    else begin_protocol(c);
}

int dial(struct connection *c, enum role role, int index) {
    int one = 1;
    struct linger hard = {1, 0};
    memset(c, 0, sizeof *c);
    c->role = (uint8_t)role;
    c->index = index;
    c->is_tls = (uint8_t)(role == HTTP ? 0 : settings.uses_tls);
    c->state = CONNECTING;
    c->dialled_at = now();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        fail("socket: %s", strerror(errno));
        failed_count++;
        return -1;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard); /* leaves no port in TIME_WAIT */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    c->polls_out = 1;
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    struct sockaddr_in *to = role == HTTP ? &http_target : &target;
    if (connect(c->fd, (struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS) {
        close_with(c, "connect");
        return -1;
    }
    return 0;
}

/* --- bytes in -------------------------------------------------------------------------------------- */

static void keep(struct connection *c, const char *data, size_t size) {
    if (!size) return;
    c->in = malloc(size);
    memcpy(c->in, data, size);
    c->in_bytes = (uint32_t)size;
}

/* As recv(2); errno is EAGAIN when nothing is there. */
static ssize_t receive(struct connection *c, char *to, size_t size) {
    if (!c->ssl || c->state <= TLS) return recv(c->fd, to, size, MSG_DONTWAIT);
    int got = SSL_read(c->ssl, to, (int)size);
    if (got > 0) return got;
    int error = SSL_get_error(c->ssl, got);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return 0;
    errno = EAGAIN;
    return -1;
}

/* One read and what follows from it; whether there may be more. */
static int read_once(struct connection *c) {
    size_t kept = c->in_bytes;
    if (kept) {
        memcpy(buffer, c->in, kept);
        free(c->in);
        c->in = NULL;
        c->in_bytes = 0;
    }
    ssize_t got = receive(c, buffer + kept, BUFFER_BYTES - kept);
    if (got < 0 && errno == EAGAIN) {
        keep(c, buffer, kept);
        return 0;
    }
    if (got <= 0) {
        close_with(c, got ? strerror(errno) : "end of stream");
        return 0;
    }
    if (c->role == SUBSCRIBER) counts.wire_bytes += (uint64_t)got;
    size_t size = kept + (size_t)got;
    acknowledgement_bytes = 0;
    size_t taken = (c->role == HTTP ? take_http : settings.protocol->take)(c, buffer, size);
    if (c->fd < 0) return 0;
    if (acknowledgement_bytes) say(c, acknowledgements, acknowledgement_bytes);
    if (c->fd < 0) return 0;
    keep(c, buffer + taken, size - taken);
    return c->ssl && c->state > TLS; /* OpenSSL may have a record more that epoll does not know of */
}

static void send_heartbeats(void) {
    static uint64_t place;
    static ns_t since;
    char beat[128];
    if (settings.heartbeat_seconds <= 0 || !open_count || !settings.protocol->heartbeat) {
        since = 0;
        return;
    }
    if (!since) since = now();
    double a_session = settings.heartbeat_seconds * 1e9 / subscriber_count;
    uint64_t due = (uint64_t)((double)(now() - since) / a_session);
    since += (ns_t)((double)due * a_session);
    for (; due; due--, counts.heartbeats++) { /* one session after another: evenly spread */
        struct connection *c = &subscribers[place++ % (uint64_t)subscriber_count];
        size_t size = settings.protocol->heartbeat(beat, (unsigned)(place % 60000 + 1));
        if (c->fd >= 0 && c->state == OPEN) say(c, beat, size);
    }
}

void pump(int timeout_ms) {
    struct epoll_event events[512];
    if (settings.heartbeat_seconds > 0 && timeout_ms > 100) timeout_ms = 100;
    int ready = epoll_wait(poller, events, 512, timeout_ms);
    if (settings.protocol) send_heartbeats();
    for (int i = 0; i < ready; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c || c->fd < 0) continue;
        if (c->state == CONNECTING) {
            if (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) on_connected(c);
        } else if (c->state == TLS) continue_tls(c);
        else {
            if (events[i].events & EPOLLOUT) on_writable(c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) while (read_once(c));
        }
    }
}

void pump_for(ns_t duration) {
    ns_t end = now() + duration, left;
    while ((left = end - now()) > 0) pump(left > 50000000 ? 50 : (int)(left / 1000000) + 1);
}
