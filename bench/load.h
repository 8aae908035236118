/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * What the load generator and the responder agree on: the name of question
 * number N, and the one address that is the right answer to a name.
 */
#ifndef DNSGUARD_BENCH_LOAD_H
#define DNSGUARD_BENCH_LOAD_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* 10.x.y.z, from the octets of the lower-cased name in wire form (FNV-1a). */
static inline uint32_t load_address(const uint8_t *name, size_t size) {
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        uint8_t octet = name[i];
        if (octet >= 'A' && octet <= 'Z') octet |= 0x20;
        hash = (hash ^ octet) * 16777619u;
    }
    return 0x0a000000 | (hash & 0xffffff);
}

/* Octets of the name at `name`, the root's included; 0 if it doesn't end. */
static inline size_t load_nameSize(const uint8_t *name, size_t room) {
    size_t at = 0;
    while (at < room && name[at]) {
        if (name[at] > 63) return 0;
        at += name[at] + 1u;
    }
    return at < room ? at + 1 : 0;
}

/* Write <kind><number>.example.org in wire form; `kind` has at most 8 letters. */
static inline size_t load_name(uint8_t *out, const char *kind, unsigned long number) {
    static const uint8_t rest[] = "\7example\3org";
    char digits[20];
    size_t length = strlen(kind), count = 0;
    memcpy(out + 1, kind, length);
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) out[1 + length++] = (uint8_t)digits[--count];
    out[0] = (uint8_t)length;
    memcpy(out + 1 + length, rest, sizeof rest);
    return 1 + length + sizeof rest;
}

static inline double load_now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

#endif
