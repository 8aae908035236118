/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * One pass over a DNS message that notes where everything stands: what
 * dnsguard/wire/layout.py does, for sound messages of the usual kind. Whatever
 * is otherwise is left to the Python code, which knows what to say of it.
 */
#ifndef DNSGUARD_SCAN_H
#define DNSGUARD_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    DG_HEADER = 12,
    DG_TYPE_SOA = 6,
    DG_TYPE_OPT = 41,
    DG_MAX_TTLS = 256, /* records in a message of the usual kind */
};

typedef struct {
    uint32_t counts[4];
    uint32_t type, cls;
    size_t nameEnd, questionEnd; /* of the one question */
    size_t sections[3];
    int64_t least, negative; /* -1: none */
    size_t optStart, optEnd; /* 0: none */
    unsigned int ttlCount;
    uint16_t ttls[DG_MAX_TTLS];
} dg_scan;

static inline uint32_t dg_two(const uint8_t *at) {
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t dg_four(const uint8_t *at) {
    return dg_two(at) << 16 | dg_two(at + 2);
}

static inline void dg_putFour(uint8_t *at, uint32_t value) {
    at[0] = value >> 24;
    at[1] = value >> 16;
    at[2] = value >> 8;
    at[3] = value;
}

/* The offset behind the name at start; 0: it is cut short, too long, or has a
 * pointer that doesn't point backwards. */
static size_t dg_skipName(const uint8_t *wire, size_t size, size_t start) {
    size_t at = start;
    while (at < size) {
        unsigned int length = wire[at];
        if (length == 0)
            return at + 1;
        if (length >= 0xC0) {
            if (at + 2 > size)
                return 0;
            size_t target = (size_t)(length & 0x3F) << 8 | wire[at + 1];
            return target < DG_HEADER || target >= start ? 0 : at + 2;
        }
        if (length > 63)
            return 0;
        at += length + 1;
        if (at - start > 254)
            return 0;
    }
    return 0;
}

/* Scan the records of one section; the offset behind them, or 0. */
static size_t dg_scanSection(const uint8_t *wire, size_t size, size_t at, int section, dg_scan *out) {
    for (uint32_t left = out->counts[section + 1]; left > 0; left--) {
        size_t start = at;
        at = dg_skipName(wire, size, at);
        if (at == 0 || at + 10 > size)
            return 0;
        uint32_t type = dg_two(wire + at), ttl = dg_four(wire + at + 4);
        uint32_t length = dg_two(wire + at + 8);
        size_t end = at + 10 + length;
        if (end > size)
            return 0;
        if (type == DG_TYPE_OPT) {
            if (section != 2 || out->optEnd)
                return 0;
            out->optStart = start;
            out->optEnd = end;
        } else {
            if (out->ttlCount == DG_MAX_TTLS || at + 4 > UINT16_MAX)
                return 0;
            out->ttls[out->ttlCount++] = at + 4;
            if (ttl > INT32_MAX) /* RFC 2181, 8 */
                ttl = 0;
            if (section == 0 && (out->least < 0 || ttl < out->least))
                out->least = ttl;
            if (section == 1 && type == DG_TYPE_SOA && length >= 22) {
                uint32_t minimum = dg_four(wire + end - 4);
                out->negative = ttl < minimum ? ttl : minimum;
            }
        }
        at = end;
    }
    return at;
}

/* Scan a message of one question. 0: it isn't a sound one of the usual kind. */
static int dg_scanMessage(const uint8_t *wire, size_t size, dg_scan *out) {
    if (size < DG_HEADER || dg_two(wire + 4) != 1)
        return 0;
    for (int section = 0; section < 4; section++)
        out->counts[section] = dg_two(wire + 4 + 2 * section);
    size_t at = dg_skipName(wire, size, DG_HEADER);
    if (at == 0 || at + 4 > size || wire[at - 1] != 0)
        return 0;
    out->nameEnd = at;
    out->type = dg_two(wire + at);
    out->cls = dg_two(wire + at + 2);
    out->questionEnd = at += 4;
    out->least = out->negative = -1;
    out->optStart = out->optEnd = 0;
    out->ttlCount = 0;
    for (int section = 0; section < 3; section++) {
        out->sections[section] = at;
        at = dg_scanSection(wire, size, at, section, out);
        if (at == 0)
            return 0;
    }
    return at == size;
}

#endif
