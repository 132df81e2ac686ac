/* Numbers in network order, and a text within other text. */
#define _GNU_SOURCE
#include "generator.h"
#include <string.h>

char *put16(char *p, unsigned value) {
    *p++ = (char)(value >> 8);
    *p++ = (char)value;
    return p;
}

char *put32(char *p, unsigned value) {
    return put16(put16(p, value >> 16), value & 0xffff);
}

unsigned get16(const char *p) {
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

uint32_t get32(const char *p) {
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* What is between `after` and the next quotation mark; empty when `after` is not there. */
void copy_text(char *to, size_t capacity, const char *from, size_t size, const char *after) {
    const char *found = memmem(from, size, after, strlen(after));
    size_t n = 0;
    if (found) {
        found += strlen(after);
        while (found + n < from + size && found[n] != '"' && n + 1 < capacity) n++;
        memcpy(to, found, n);
    }
    to[n] = 0;
}
