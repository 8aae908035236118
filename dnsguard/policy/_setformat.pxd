# Copyright (c) The dnsguard developers. See LICENSE for details.
#
# What the compiled twins share: the arithmetic of L{dnsguard.policy.setformat},
# and encoding names letter by letter.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #define PRIME ((1ULL << 61) - 1)

    /* a * b modulo 2^61 - 1, for a below 2^62 and b below the prime. */
    static inline uint64_t mulmod(uint64_t a, uint64_t b)
    {
        unsigned __int128 product = (unsigned __int128)a * b;
        uint64_t sum = ((uint64_t)product & PRIME) + (uint64_t)(product >> 61);
        sum = (sum & PRIME) + (sum >> 61);
        return sum >= PRIME ? sum - PRIME : sum;
    }
    /* The number of each letter that names in a set may have; a dot only ever
       stands between labels, inside one it is no letter. */
    static const uint8_t CODES[256] = {
        ['-'] = 2, ['_'] = 3,
        ['0'] = 4, ['1'] = 5, ['2'] = 6, ['3'] = 7, ['4'] = 8,
        ['5'] = 9, ['6'] = 10, ['7'] = 11, ['8'] = 12, ['9'] = 13,
        ['a'] = 14, ['b'] = 15, ['c'] = 16, ['d'] = 17, ['e'] = 18, ['f'] = 19,
        ['g'] = 20, ['h'] = 21, ['i'] = 22, ['j'] = 23, ['k'] = 24, ['l'] = 25,
        ['m'] = 26, ['n'] = 27, ['o'] = 28, ['p'] = 29, ['q'] = 30, ['r'] = 31,
        ['s'] = 32, ['t'] = 33, ['u'] = 34, ['v'] = 35, ['w'] = 36, ['x'] = 37,
        ['y'] = 38, ['z'] = 39,
    };

    static inline uint64_t mixed(uint64_t value, uint64_t mix)
    {
        return (value ^ (value >> 29)) * mix;
    }
    static inline uint64_t place_of(uint64_t hash, uint64_t lines, int bits, uint32_t *mark)
    {
        unsigned __int128 product = (unsigned __int128)hash * lines;
        uint32_t upper = (uint32_t)((uint64_t)product >> (32 + bits));
        *mark = (upper ? upper : 1) << bits;
        return (uint64_t)(product >> 64);
    }
    #define prefetch(address) __builtin_prefetch(address)
    static inline uint32_t little(const uint8_t *p)
    {
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    static inline void put_little(uint8_t *p, uint32_t value)
    {
        p[0] = value; p[1] = value >> 8; p[2] = value >> 16; p[3] = value >> 24;
    }
    static inline uint64_t first_eight(const uint8_t *p, int size)
    {
        uint64_t value = 0;
        for (int i = 0; i < 8; i++)
            value = value << 8 | (i < size ? p[i] : 0);
        return value;
    }
    /* One bit for each of the 16 entries of a line that bears the mark. */
    static inline uint32_t marked(const uint8_t *line, uint32_t mask, uint32_t mark)
    {
        uint32_t found = 0;
        for (int i = 0; i < 16; i++)
            found |= (uint32_t)((little(line + 4 * i) & ~mask) == mark) << i;
        return found;
    }
    #define lowest_bit(bits) __builtin_ctz(bits)
    """
    uint64_t mulmod(uint64_t a, uint64_t b)
    uint64_t mixed(uint64_t value, uint64_t mix)
    uint64_t place_of(uint64_t hash, uint64_t lines, int bits, uint32_t *mark)
    void prefetch(const void *address)
    uint32_t little(const uint8_t *p)
    void put_little(uint8_t *p, uint32_t value)
    uint64_t first_eight(const uint8_t *p, int size)
    uint32_t marked(const uint8_t *line, uint32_t mask, uint32_t mark)
    int lowest_bit(uint32_t bits)
    const uint8_t CODES[256]


cdef enum:
    MAX_LABELS = 128
    MAX_ENCODED = 176
    MAX_SPILL = 16
    LINE_OCTETS = 64


cdef struct Encoder:
    uint8_t octets[MAX_ENCODED + 8]
    int size
    int letters
    uint32_t word
    uint64_t hash
    uint64_t key


cdef inline void push(Encoder *encoder, uint32_t code) noexcept nogil:
    """
    Append a letter.
    """
    encoder.word = encoder.word * 40 + code
    encoder.letters += 1
    if encoder.letters == 3:
        encoder.octets[encoder.size] = encoder.word >> 8
        encoder.octets[encoder.size + 1] = encoder.word & 255
        encoder.size += 2
        encoder.hash = mulmod(encoder.hash + encoder.word, encoder.key)
        encoder.word = 0
        encoder.letters = 0


cdef inline uint32_t tailOf(const Encoder *encoder) noexcept nogil:
    """
    The last word as it would be if the name ended here; 0 if there is none.
    """
    if encoder.letters == 0:
        return 0
    return encoder.word * (1600 if encoder.letters == 1 else 40)
