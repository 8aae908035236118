/* Copyright (c) The dnsguard developers. See LICENSE for details.
 *
 * Octets: the compiled twin of key.py, and the patching of finished replies.
 *
 * No allocation, no system call, no global state: everything in here takes a
 * buffer with its size and stays within it, so that a fuzzer can drive it
 * directly (fuzz/parse.c). The rules are those of key.py and of
 * dnsguard.wire.layout, word for word; the tests compare them.
 */
#ifndef DNSGUARD_REPLAY_CORE_H
#define DNSGUARD_REPLAY_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    DG_HEADER = 12,
    DG_MAX_NAME = 255,
    DG_MAX_LABEL = 63,
    DG_OPT_SIZE = 11,          /* an OPT record without options */
    DG_LEAST_LIMIT = 512,      /* RFC 1035 section 4.2.1 */
    DG_LIMIT_MAX = 4096,       /* the largest reply that is ever kept */
    DG_TTLS_MAX = DG_LIMIT_MAX / 11,
    DG_QUESTION_MAX = DG_MAX_NAME + 4,
    DG_KEY_MAX = DG_QUESTION_MAX + 1 + 4,
    DG_KEY_SPACE = DG_KEY_MAX + 8
};

/* The flag octet of a key. AD and CD stand where they do in the header. */
enum {
    DG_FLAG_RD = 0x01,
    DG_FLAG_EDNS = 0x02,
    DG_FLAG_DO = 0x04,
    DG_FLAG_CD = 0x10,
    DG_FLAG_AD = 0x20,
    DG_FLAG_SIZE_BETWEEN = 0x40,
    DG_FLAG_SIZE_FULL = 0x80
};

/* One eligible request. */
typedef struct {
    uint16_t questionEnd;      /* offset behind the question */
    uint16_t keyLength;        /* octets of key, view number included */
    uint16_t limit;            /* octets of reply that its sender can take */
    uint8_t flags;
    uint8_t key[DG_KEY_SPACE]; /* question, flags, view number; zero padded */
} dg_request;

/* Where one TTL stands in a reply, and what it was when the reply was kept. */
typedef struct {
    uint32_t seconds;
    uint16_t offset;
} dg_ttl;

static inline unsigned dg_u16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static inline uint32_t dg_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void dg_put32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static inline uint8_t dg_lower(uint8_t octet) {
    return (uint8_t)(octet - 'A') < 26 ? (uint8_t)(octet | 0x20) : octet;
}

/* ---- SipHash-1-3 -------------------------------------------------------- */

#define DG_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (64 - (bits))))
#define DG_ROUND                                                                       \
    do {                                                                               \
        v0 += v1; v1 = DG_ROTATE(v1, 13); v1 ^= v0; v0 = DG_ROTATE(v0, 32);            \
        v2 += v3; v3 = DG_ROTATE(v3, 16); v3 ^= v2;                                    \
        v0 += v3; v3 = DG_ROTATE(v3, 21); v3 ^= v0;                                    \
        v2 += v1; v1 = DG_ROTATE(v1, 17); v1 ^= v2; v2 = DG_ROTATE(v2, 32);            \
    } while (0)

static inline uint64_t dg_little64(const uint8_t *at, size_t size) {
    uint64_t value = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (size == 8) {
        memcpy(&value, at, 8);
        return value;
    }
#endif
    for (size_t i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* The keyed hash of some octets. Without the key nobody can choose names that
 * fall into one bucket. */
static inline uint64_t dg_hash(const uint8_t *octets, size_t size, const uint64_t key[2]) {
    uint64_t v0 = key[0] ^ 0x736f6d6570736575ULL, v1 = key[1] ^ 0x646f72616e646f6dULL;
    uint64_t v2 = key[0] ^ 0x6c7967656e657261ULL, v3 = key[1] ^ 0x7465646279746573ULL;
    size_t whole = size & ~(size_t)7;
    uint64_t word;
    for (size_t i = 0; i < whole; i += 8) {
        word = dg_little64(octets + i, 8);
        v3 ^= word;
        DG_ROUND;
        v0 ^= word;
    }
    word = dg_little64(octets + whole, size & 7) | (uint64_t)size << 56;
    v3 ^= word;
    DG_ROUND;
    v0 ^= word;
    v2 ^= 0xff;
    DG_ROUND;
    DG_ROUND;
    DG_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

/* ---- requests ----------------------------------------------------------- */

/* Types that ask for something else than records of one type: RFC 6895
 * section 3.1 (QTYPEs and meta-types), and the two that are no types at all. */
static inline int dg_isMetaType(unsigned type) {
    return type == 0 || type == 41 || (type >= 128 && type <= 255);
}

/* Read an OPT record without options that ends the message. */
static inline int dg_readOPT(const uint8_t *at, int fullLimit, dg_request *request) {
    unsigned limit;
    if (at[0] || at[1] || at[2] != 41) return 0;
    /* Extended code and version are 0, of the flags only DO may be set, and
     * there are no options. */
    if (at[5] || at[6] || (at[7] & 0x7f) || at[8] || at[9] || at[10]) return 0;
    request->flags |= DG_FLAG_EDNS;
    if (at[7]) request->flags |= DG_FLAG_DO;
    limit = dg_u16(at + 3);
    if (limit <= DG_LEAST_LIMIT) return 1; /* RFC 6891 section 6.2.3 */
    if (limit >= (unsigned)fullLimit) {
        request->limit = (uint16_t)fullLimit;
        request->flags |= DG_FLAG_SIZE_FULL;
    } else {
        request->limit = (uint16_t)limit;
        request->flags |= DG_FLAG_SIZE_BETWEEN;
    }
    return 1;
}

/* Read a request. fullLimit, 512 to DG_LIMIT_MAX, is the server's own limit.
 * Returns 1 when its reply may come from the store, and 0 when it takes the
 * ordinary road. The key lacks its view number: see dg_sealKey(). */
static inline int dg_readRequest(const uint8_t *message, size_t size, int fullLimit,
                                 dg_request *request) {
    size_t at = DG_HEADER, length = 0;
    unsigned label;
    if (size < DG_HEADER + 5) return 0;
    if (message[2] & 0xfe || message[3] & 0xcf) return 0;
    /* One question; nothing else but, perhaps, one additional record. */
    if (message[4] | (message[5] ^ 1) | message[6] | message[7] | message[8] | message[9] |
        message[10] | (message[11] & 0xfe))
        return 0;
    while ((label = message[at]) != 0) {
        if (label > DG_MAX_LABEL || at + label + 2 > size) return 0;
        if (length + label + 2 > DG_MAX_NAME) return 0;
        request->key[length++] = (uint8_t)label;
        at++;
        for (unsigned i = 0; i < label; i++) request->key[length++] = dg_lower(message[at++]);
    }
    request->key[length++] = 0;
    at++;
    if (at + 4 > size) return 0;
    if (dg_isMetaType(dg_u16(message + at)) || dg_u16(message + at + 2) != 1) return 0;
    memcpy(request->key + length, message + at, 4);
    length += 4;
    at += 4;
    request->questionEnd = (uint16_t)at;
    request->limit = DG_LEAST_LIMIT;
    request->flags = (uint8_t)((message[3] & (DG_FLAG_AD | DG_FLAG_CD)) | message[2]);
    if (message[11]) {
        if (size != at + DG_OPT_SIZE || !dg_readOPT(message + at, fullLimit, request)) return 0;
    } else if (at != size) {
        return 0;
    }
    request->key[length++] = request->flags;
    request->keyLength = (uint16_t)length;
    return 1;
}

/* Add the number of the view to a key. */
static inline void dg_sealKey(dg_request *request, uint32_t view) {
    dg_put32(request->key + request->keyLength, view);
    request->keyLength = (uint16_t)(request->keyLength + 4);
}

/* ---- replies ------------------------------------------------------------ */

/* Skip a name, checking every pointer on the way; -1 for a bad one. */
static inline long dg_skipName(const uint8_t *message, size_t size, size_t at) {
    size_t start = at, target;
    unsigned length;
    for (;;) {
        if (at >= size) return -1;
        length = message[at];
        if (length == 0) return (long)(at + 1);
        if (length >= 0xc0) {
            if (at + 2 > size) return -1;
            target = (size_t)(length & 0x3f) << 8 | message[at + 1];
            return target >= start || target < DG_HEADER ? -1 : (long)(at + 2);
        }
        if (length > DG_MAX_LABEL) return -1;
        at += length + 1;
        if (at - start > DG_MAX_NAME - 1) return -1;
    }
}

/* Are the options of an OPT record whole? */
static inline int dg_optionsFit(const uint8_t *at, size_t size) {
    while (size) {
        size_t length;
        if (size < 4) return 0;
        length = dg_u16(at + 2);
        if (size - 4 < length) return 0;
        at += 4 + length;
        size -= 4 + length;
    }
    return 1;
}

/* Note the TTLs of a reply to `request` that is whole, not cut and well-formed.
 * Returns how many there are, or -1. `ttls` has room for DG_TTLS_MAX. TTLs with
 * the top bit set count as 0 (RFC 2181 section 8). */
static inline int dg_readReply(const uint8_t *reply, size_t size, const uint8_t *request,
                               size_t questionEnd, dg_ttl *ttls) {
    unsigned counts[3], count = 0, opts = 0;
    size_t at = questionEnd;
    if (size < questionEnd || size > DG_LIMIT_MAX) return -1;
    if (!(reply[2] & 0x80) || reply[2] & 0x02) return -1; /* QR set, TC clear */
    if (dg_u16(reply + 4) != 1) return -1;
    for (size_t i = DG_HEADER; i < questionEnd; i++)
        if (dg_lower(reply[i]) != dg_lower(request[i])) return -1;
    for (int i = 0; i < 3; i++) counts[i] = dg_u16(reply + 6 + 2 * i);
    for (int section = 0; section < 3; section++) {
        for (unsigned i = 0; i < counts[section]; i++) {
            size_t start = at, end;
            long behind = dg_skipName(reply, size, at);
            if (behind < 0 || (at = (size_t)behind) + 10 > size) return -1;
            end = at + 10 + dg_u16(reply + at + 8);
            if (end > size) return -1;
            if (dg_u16(reply + at) == 41) {
                /* RFC 6891 section 6.1.1: at most one, at the root. */
                if (section != 2 || opts++ || reply[start] != 0) return -1;
                if (!dg_optionsFit(reply + at + 10, end - at - 10)) return -1;
            } else {
                uint32_t seconds = dg_u32(reply + at + 4);
                if (count == DG_TTLS_MAX) return -1;
                ttls[count].offset = (uint16_t)(at + 4);
                ttls[count++].seconds = seconds > 0x7fffffff ? 0 : seconds;
            }
            at = end;
        }
    }
    return at == size ? (int)count : -1;
}

/* Write the reply to one request: a copy of the kept one with the request's id
 * and letter case, and TTLs that have counted down for `age` seconds. */
static inline void dg_patch(uint8_t *out, const uint8_t *reply, size_t size, const dg_ttl *ttls,
                            unsigned count, const uint8_t *request, size_t questionEnd,
                            uint32_t age) {
    memcpy(out, reply, size);
    out[0] = request[0];
    out[1] = request[1];
    memcpy(out + DG_HEADER, request + DG_HEADER, questionEnd - DG_HEADER);
    for (unsigned i = 0; i < count; i++)
        dg_put32(out + ttls[i].offset, ttls[i].seconds > age ? ttls[i].seconds - age : 0);
}

#endif
