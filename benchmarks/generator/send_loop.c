/* The yardstick: no server could do less. It accepts subscribers, and for a message that a publisher
 * hands over it calls a bare send() for each of them, one message after another. With "join" the
 * messages that came in one read leave in one send() a subscriber.
 *
 *   send_loop [join]        prints its port; ends with its standard input
 *
 * Frames: length (4 bytes, big-endian), type, body. H: I subscribe; h: I publish; both get K.
 * P: a message to all, answered with A; M: the message.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_SUBSCRIBERS 100000
#define BUFFER_BYTES (1 << 20)

static int subscribers[MAX_SUBSCRIBERS], count, joins, poller;
static char in[BUFFER_BYTES], joined[BUFFER_BYTES];
static size_t in_bytes; /* one publisher at a time sends what needs two reads */

static void send_all(int fd, const char *data, size_t left) {
    while (left) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN) return;
            struct pollfd ready = {fd, POLLOUT, 0};
            poll(&ready, 1, -1);
            continue;
        }
        data += sent;
        left -= (size_t)sent;
    }
}

static void to_everyone(const char *data, size_t size) {
    for (int i = 0; i < count; i++) send_all(subscribers[i], data, size);
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void forget(int fd) {
    close(fd);
    for (int i = 0; i < count; i++)
        if (subscribers[i] == fd) {
            subscribers[i] = subscribers[--count];
            return;
        }
}

static void take_frame(int fd, char *frame, size_t size, size_t *joined_bytes) {
    switch (frame[4]) {
    case 'H': subscribers[count++] = fd; /* fall through */
    case 'h': send_all(fd, "\0\0\0\1K", 5); break;
    case 'P':
        frame[4] = 'M';
        if (joins) {
            memcpy(joined + *joined_bytes, frame, size);
            *joined_bytes += size;
        } else to_everyone(frame, size);
        send_all(fd, "\0\0\0\1A", 5);
    }
}

static void on_readable(int fd) {
    ssize_t got = recv(fd, in + in_bytes, sizeof in - in_bytes, 0);
    if (got <= 0) {
        forget(fd);
        return;
    }
    size_t size = in_bytes + (size_t)got, place = 0, joined_bytes = 0;
    while (size - place >= 5) {
        size_t frame = 4 + ntohl(*(uint32_t *)(in + place));
        if (size - place < frame) break;
        take_frame(fd, in + place, frame, &joined_bytes);
        place += frame;
    }
    if (joined_bytes) to_everyone(joined, joined_bytes);
    in_bytes = size - place;
    memmove(in, in + place, in_bytes);
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) {
        perror("listen");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    struct rlimit limit;
    int one = 1;
    joins = argc > 1 && !strcmp(argv[1], "join");
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    poller = epoll_create1(0);
    int listener = listen_anywhere();
    watch(listener);
    watch(0);
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (!fd) return 0;
            if (fd == listener) {
                int got = accept(listener, NULL, NULL);
                if (got < 0) continue;
                setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                watch(got);
            } else on_readable(fd);
        }
    }
}
