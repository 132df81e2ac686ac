/* The yardstick of the fan-out: a bare send() to every connection, one message after another.
 *
 * Usage: send_loop PORT CONNECTIONS BYTES. Listens on 127.0.0.1:PORT (0: any; printed), accepts so
 * many connections and then, for every number read from standard input, sends that many messages
 * of BYTES bytes to each, and answers with a line.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void send_all(int socket, const char *data, size_t left) {
    while (left) {
        ssize_t sent = send(socket, data, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno != EAGAIN) { perror("send"); exit(1); }
            struct pollfd ready = {socket, POLLOUT, 0};
            poll(&ready, 1, -1);
            continue;
        }
        data += sent;
        left -= (size_t)sent;
    }
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: send_loop PORT CONNECTIONS BYTES\n"); return 2; }
    int count = atoi(argv[2]);
    size_t size = (size_t)atol(argv[3]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int *sockets = malloc(sizeof(int) * (size_t)count);
    for (int i = 0; i < count; i++) {
        if ((sockets[i] = accept(listener, NULL, NULL)) < 0) { perror("accept"); return 1; }
        setsockopt(sockets[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    printf("ready\n");
    fflush(stdout);
    char *data = malloc(size);
    memset(data, 'x', size);
    int messages;
    while (scanf("%d", &messages) == 1) {
        for (int m = 0; m < messages; m++)
            for (int i = 0; i < count; i++) send_all(sockets[i], data, size);
        printf("sent\n");
        fflush(stdout);
    }
    return 0;
}
