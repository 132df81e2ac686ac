/* Clocks, what was counted, and the lines of figures. */
#define _GNU_SOURCE
#include "generator.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_LATENCIES (1 << 23)

struct counts counts;
static uint32_t *latencies; /* in units of 100 ns */
static size_t latency_count;
static int processes[MAX_PROCESSES], number_of_processes;
static double cpu_at_mark[MAX_PROCESSES], own_cpu_at_mark;
static ns_t mark_at;
static char problem[600]; /* the first since the last line */

ns_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* All threads of a process, in nanoseconds: what /proc/PID/stat counts in hundredths of a second. */
double cpu_seconds(int pid) {
    struct timespec t;
    clockid_t id = pid ? (clockid_t)((~(unsigned)pid) << 3 | 2) : CLOCK_PROCESS_CPUTIME_ID;
    if (clock_gettime(id, &t)) return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void fail(const char *format, ...) {
    va_list arguments;
    if (problem[0]) return;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    for (char *c = problem; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32 || (unsigned char)*c > 126) *c = '\'';
}

void set_processes(const char *list) {
    number_of_processes = 0;
    for (const char *p = list; p && *p && number_of_processes < MAX_PROCESSES; p = strchr(p, ',')) {
        if (*p == ',') p++;
        processes[number_of_processes++] = atoi(p);
    }
}

int process_count(void) {
    return number_of_processes;
}

double servers_cpu_seconds(void) {
    double sum = 0;
    for (int i = 0; i < number_of_processes; i++) sum += cpu_seconds(processes[i]);
    return sum;
}

void mark(void) {
    for (int i = 0; i < number_of_processes; i++) cpu_at_mark[i] = cpu_seconds(processes[i]);
    own_cpu_at_mark = cpu_seconds(0);
    mark_at = now();
}

ns_t marked_at(void) {
    return mark_at;
}

double own_cpu_since_mark(void) {
    return cpu_seconds(0) - own_cpu_at_mark;
}

void reset_counts(void) {
    memset(&counts, 0, sizeof counts);
    latency_count = 0;
}

/* A message came: its time is where it was in the last one, or is looked for. */
void delivered(struct connection *c, const char *data, size_t size) {
    const char *found = NULL;
    ns_t at = counts.last_at = now();
    if (!counts.first_at) counts.first_at = at;
    counts.frames++;
    c->frames++;
    if (c->stamp_place && c->stamp_place + 21 <= size && !memcmp(data + c->stamp_place, "~T", 2)) found = data + c->stamp_place;
    else if ((found = memmem(data, size, "~T", 2)) && found + 21 <= data + size) c->stamp_place = (uint32_t)(found - data);
    else {
        counts.without_stamp++;
        return;
    }
    ns_t stamp = 0;
    for (int i = 2; i < 21; i++) stamp = stamp * 10 + (found[i] - '0');
    if (!latencies) latencies = malloc(MAX_LATENCIES * sizeof *latencies);
    ns_t units = (at - stamp) / 100;
    if (latency_count < MAX_LATENCIES) latencies[latency_count++] = units < 0 ? 0 : units > UINT32_MAX ? UINT32_MAX : (uint32_t)units;
}

int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void print_latencies(void) {
    if (latency_count) {
        qsort(latencies, latency_count, sizeof *latencies, by_size);
        printf("\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f,", latencies[latency_count / 2] / 1e4,
               latencies[latency_count * 99 / 100] / 1e4, latencies[latency_count - 1] / 1e4);
    }
    printf("\"frames\":%llu,\"without_stamp\":%llu,\"wire_bytes\":%llu,", (unsigned long long)counts.frames,
           (unsigned long long)counts.without_stamp, (unsigned long long)counts.wire_bytes);
}

/* The end of each answer: CPU since the mark, and what went wrong. */
void print_end(void) {
    printf("\"wall_s\":%.6f,\"own_cpu_s\":%.6f,\"cpu_s\":[", (double)(now() - mark_at) / 1e9, own_cpu_since_mark());
    for (int i = 0; i < number_of_processes; i++) printf("%s%.6f", i ? "," : "", cpu_seconds(processes[i]) - cpu_at_mark[i]);
    printf("],\"lost\":%d,\"failed\":%d,\"refused\":%llu,\"problem\":\"%s\"}\n", lost_count, failed_count, (unsigned long long)counts.refused, problem);
    problem[0] = 0;
    lost_count = 0;
    counts.refused = 0;
    fflush(stdout);
}
