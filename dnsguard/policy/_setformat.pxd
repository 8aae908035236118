# Copyright (c) The dnsguard developers. See LICENSE for details.
#
# What the compiled twins share: the arithmetic of L{dnsguard.policy.setformat}.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif

    /* The symbol of each letter that names in a set may have; a dot only ever
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

    #define prefetch(address) __builtin_prefetch(address)
    #define lowest_bit(bits) __builtin_ctz(bits)
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

    /* Hash a label behind those that were hashed before. Eight octets behind it
       must be there to be read. */
    static inline uint64_t hash_label(const uint8_t *label, uint64_t value, uint64_t mix)
    {
        int left = label[0] + 1;
        for (; left > 0; left -= 8, label += 8) {
            uint64_t piece;
            memcpy(&piece, label, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            piece = __builtin_bswap64(piece);
    #endif
            if (left < 8)
                piece &= ((uint64_t)1 << 8 * left) - 1;
            unsigned __int128 product = (unsigned __int128)(value ^ piece) * mix;
            value = (uint64_t)product ^ (uint64_t)(product >> 64);
        }
        return value;
    }
    static inline uint64_t line_place(uint64_t hash, uint64_t lines, uint8_t *tag)
    {
        unsigned __int128 product = (unsigned __int128)hash * lines;
        *tag = (uint8_t)((uint64_t)product >> 56);
        return (uint64_t)(product >> 64);
    }

    /* One bit for each of the 30 entries of a line that bears the tag. */
    static inline uint32_t tagged(const uint8_t *line, uint8_t tag)
    {
    #ifdef __SSE2__
        __m128i wanted = _mm_set1_epi8((char)tag);
        __m128i low = _mm_loadu_si128((const __m128i *)(line + 4));
        __m128i high = _mm_loadu_si128((const __m128i *)(line + 18));
        uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted));
        return found | (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) << 14;
    #else
        uint32_t found = 0;
        for (int i = 0; i < 30; i++)
            found |= (uint32_t)(line[4 + i] == tag) << i;
        return found;
    #endif
    }
    /* The octets of the first so many names of a line. */
    static inline uint32_t octets_before(const uint8_t *line, int count)
    {
        uint32_t sum = 4 * count;
        for (int i = 0; i < count; i++)
            sum += line[34 + i];
        return sum;
    }

    typedef struct {
        uint8_t octets[272];
        uint8_t *at;
        uint64_t bits;
        int held;
        int before;
    } letters;

    static inline void begin_letters(letters *to)
    {
        to->at = to->octets;
        to->bits = 0;
        to->held = 0;
        to->before = 0;
    }
    /* Append a letter. 0: no name has these two in a row. */
    static inline int add_letter(letters *to, const uint16_t *codes, int symbol)
    {
        uint32_t code = codes[to->before * 40 + symbol];
        int length = code & 15;
        to->bits = to->bits << length | code >> 4;
        to->held += length;
        to->before = symbol;
        if (to->held >= 32) {
            to->held -= 32;
            uint32_t word = (uint32_t)(to->bits >> to->held);
            to->at[0] = word >> 24; to->at[1] = word >> 16; to->at[2] = word >> 8; to->at[3] = word;
            to->at += 4;
        }
        return length;
    }
    /* Fill up with ones. Gives the number of octets. */
    static inline int end_letters(letters *to)
    {
        int fill = -to->held & 7;
        to->bits = ((to->bits + 1) << fill) - 1;
        to->held += fill;
        while (to->held) {
            to->held -= 8;
            *to->at++ = to->bits >> to->held;
        }
        return to->at - to->octets;
    }
    """
    void prefetch(const void *address)
    int lowest_bit(uint32_t bits)
    uint32_t little(const uint8_t *p)
    void put_little(uint8_t *p, uint32_t value)
    uint64_t first_eight(const uint8_t *p, int size)
    uint64_t hash_label(const uint8_t *label, uint64_t value, uint64_t mix)
    uint64_t line_place(uint64_t hash, uint64_t lines, uint8_t *tag)
    uint32_t tagged(const uint8_t *line, uint8_t tag)
    uint32_t octets_before(const uint8_t *line, int count)
    ctypedef struct letters:
        uint8_t *octets
    void begin_letters(letters *to)
    int add_letter(letters *to, const uint16_t *codes, int symbol)
    int end_letters(letters *to)
    const uint8_t CODES[256]


cdef enum:
    MAX_LABELS = 128
    MAX_NAME = 255
    MAX_SPILL = 16
    LINE_OCTETS = 64
    ENTRIES = 30
    SIZES = 34
