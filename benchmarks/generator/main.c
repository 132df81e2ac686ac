/* A load generator: commands on standard input, one a line; each is answered with one JSON object.
 *
 *   setup protocol=push|push-websocket|mqtt|nats|loop port= [http_port=] [tls=1] [key=] [app_key=] [user=] [password=]
 *         [keeps_session=1] [heartbeat=SECONDS] [pids=1,2,..]    whose CPU is read
 *   open n= [inflight=] [timeout=]         drop
 *   broadcast qos= count= together=0|1 settle=SECONDS
 *   push clients= seconds= rate=0|R batch= qos= targets= settle=SECONDS [unwatched=1] [wait=SECONDS]
 *   store count= batch= qos=               await per= timeout=
 *   idle seconds=                          quit
 *
 * Between commands it goes on to answer what servers ask.
 */
#define _GNU_SOURCE
#include "generator.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void raise_file_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(void) {
    static char input[1 << 14], line[1 << 14];
    size_t have = 0;
    raise_file_limit();
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    start_poller();
    publishers = calloc(MAX_PUBLISHERS, sizeof *publishers);
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    for (;;) {
        char *end = memchr(input, '\n', have);
        if (!end) {
            ssize_t got = read(0, input + have, sizeof input - have - 1);
            if (!got) return 0;
            if (got < 0) pump(1000);
            else have += (size_t)got;
            continue;
        }
        size_t size = (size_t)(end - input) + 1;
        memcpy(line, input, size);
        line[size] = 0;
        memmove(input, end + 1, have -= size);
        if (!strncmp(line, "quit", 4)) return 0;
        run_command(line);
    }
}
