# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twin of L{dnsguard.policy.settable}.

A mapped file may be damaged behind its header: every offset read from it is
checked before it is used, so that the worst that damage does is a wrong answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from dnsguard.policy._setformat cimport (
    CODES,
    Encoder,
    LINE_OCTETS,
    MAX_ENCODED,
    MAX_LABELS,
    MAX_SPILL,
    little,
    lowest_bit,
    marked,
    mixed,
    mulmod,
    place_of,
    prefetch,
    push,
    tailOf,
)

from dnsguard.errors import PolicyError
from dnsguard.policy import setformat

assert MAX_SPILL == setformat.MAX_SPILL and LINE_OCTETS == 4 * setformat.ENTRIES_A_LINE
assert all(CODES[letter] == code for letter, code in setformat.CODES.items() if letter != 0x2E)


cdef struct Suffix:
    uint64_t line
    uint32_t mark
    uint16_t tail
    uint16_t size
    int start


cdef class Table:
    """
    See L{dnsguard.policy.settable.Table}.
    """

    cdef readonly object header
    cdef object selected
    cdef const uint8_t[::1] buffer
    cdef const uint8_t *index
    cdef const uint8_t *pages
    cdef const uint8_t *chosen
    cdef uint64_t key, mix, indexLines, storedLines
    cdef uint32_t pageCount, pageSize, mask
    cdef int bits, least, most, sourceCount
    cdef uint32_t *bases

    def __cinit__(self, buffer, header, bytes selected):
        self.bases = NULL
        self.header = header
        self.selected = selected
        self.buffer = buffer
        if self.buffer.shape[0] != header.size or len(selected) != len(header.sources):
            raise PolicyError("set of names", "a header that isn't this set's")
        self.index = &self.buffer[0] + <size_t>header.indexOffset
        self.pages = &self.buffer[0] + <size_t>header.pagesOffset
        self.chosen = <const uint8_t *>PyBytes_AS_STRING(selected)
        self.key = header.key
        self.mix = header.mix
        self.indexLines = header.indexLines
        self.storedLines = header.storedLines
        self.pageCount = header.pages
        self.pageSize = header.pageSize
        self.bits = header.pageBits
        self.mask = (<uint32_t>1 << self.bits) - 1
        self.least = header.leastLabels
        self.most = header.mostLabels if header.names else 0
        self.sourceCount = len(header.sources)
        self.bases = <uint32_t *>calloc(self.sourceCount + 1, sizeof(uint32_t))
        if self.bases == NULL:
            raise MemoryError
        for number, source in enumerate(header.sources):
            self.bases[number] = source.base

    def __dealloc__(self):
        free(self.bases)

    def lookup(self, bytes qname not None):
        """
        See L{dnsguard.policy.settable.Table.lookup}.
        """
        return self.find(qname, None)

    def matches(self, bytes qname not None):
        """
        See L{dnsguard.policy.settable.Table.matches}.
        """
        found = []
        self.find(qname, found)
        return found

    cdef object find(self, bytes qname, list every):
        """
        Find the first place of a name, or append all to a list.
        """
        cdef Encoder encoder
        cdef Suffix suffixes[MAX_LABELS]
        cdef int count = self.suffixesOf(
            <const uint8_t *>PyBytes_AS_STRING(qname), PyBytes_GET_SIZE(qname), &encoder, suffixes
        )
        cdef const uint8_t *place
        cdef const uint8_t *end
        while count:
            count -= 1
            place = self.entryOf(&suffixes[count], &encoder, &end)
            if place != NULL:
                found = self.placesAt(place, end, suffixes[count].start, every)
                if found is not None:
                    return found
        return None

    cdef int suffixesOf(
        self, const uint8_t *name, Py_ssize_t size, Encoder *encoder, Suffix *suffixes
    ) noexcept nogil:
        """
        Hash the name and its parents, in one pass from the last letter to the
        first, and call for their index lines.

        @return: How many of them the set could have; the shortest is first.
        """
        cdef int starts[MAX_LABELS]
        cdef int depth = 0, count = 0, number, at = 0, letter
        cdef uint32_t code
        cdef uint64_t hash
        cdef uint32_t tail
        if size > 255:
            return 0
        while at < size and name[at]:
            if depth == MAX_LABELS - 1 or at + name[at] + 1 >= size:
                return 0
            starts[depth] = at
            depth += 1
            at += name[at] + 1
        if at >= size:
            return 0
        encoder.size = encoder.letters = 0
        encoder.word = 0
        encoder.hash = 0
        encoder.key = self.key
        for number in range(min(depth, self.most)):
            at = starts[depth - 1 - number]
            if number:
                push(encoder, 1)
            letter = at + name[at]
            while letter > at:
                code = CODES[name[letter]]
                if code == 0:
                    return count
                push(encoder, code)
                letter -= 1
            if number + 1 >= self.least:
                tail = tailOf(encoder)
                hash = mulmod(encoder.hash + tail, self.key) if tail else encoder.hash
                suffixes[count].line = place_of(
                    mixed(hash, self.mix), self.indexLines, self.bits, &suffixes[count].mark
                )
                prefetch(self.index + suffixes[count].line * LINE_OCTETS)
                suffixes[count].tail = tail
                suffixes[count].size = encoder.size
                suffixes[count].start = at
                count += 1
        return count

    cdef const uint8_t *entryOf(
        self, const Suffix *suffix, const Encoder *encoder, const uint8_t **end
    ) noexcept nogil:
        """
        Find an entry's places.

        @param end: Is set to the end of the page they are on.
        """
        cdef uint64_t line = suffix.line, last = line + MAX_SPILL + 1
        cdef const uint8_t *entries
        cdef const uint8_t *found
        cdef uint32_t bits, entry
        cdef uint8_t wanted[MAX_ENCODED + 8]
        cdef int size = -1
        if last > self.storedLines:
            last = self.storedLines
        while line < last:
            entries = self.index + line * LINE_OCTETS
            bits = marked(entries, self.mask, suffix.mark)
            while bits:
                entry = little(entries + 4 * lowest_bit(bits)) & self.mask
                bits &= bits - 1
                if entry < self.pageCount:
                    callPage(self.pages + <size_t>entry * self.pageSize)
                if size < 0:
                    size = suffix.size
                    memcpy(wanted, encoder.octets, size)
                    if suffix.tail:
                        wanted[size] = suffix.tail >> 8
                        wanted[size + 1] = suffix.tail & 255
                        size += 2
                if entry < self.pageCount:
                    end[0] = self.pages + <size_t>(entry + 1) * self.pageSize
                    found = onPage(end[0] - self.pageSize, end[0], wanted, size)
                    if found != NULL:
                        return found
            if little(entries + LINE_OCTETS - 4) == 0:
                return NULL
            line += 1
        return NULL

    cdef object placesAt(
        self, const uint8_t *at, const uint8_t *end, int start, list every
    ):
        """
        Read an entry's places: the first selected one, or all into a list.
        """
        cdef uint32_t value, line, other = 1 if start else 2
        cdef int low, high, middle
        while at + 4 <= end:
            value = little(at)
            at += 4
            line = value & 0x1FFFFFFF
            if (value >> 29) & 3 != other:
                low = 0
                high = self.sourceCount
                while low < high:
                    middle = (low + high) >> 1
                    if self.bases[middle] <= line:
                        low = middle + 1
                    else:
                        high = middle
                low -= 1
                if low >= 0 and self.chosen[low]:
                    place = (low, line - self.bases[low], start)
                    if every is None:
                        return place
                    every.append(place)
            if not value >> 31:
                break
        return None


cdef inline void callPage(const uint8_t *page) noexcept nogil:
    """
    Call for a page's first octets, at once instead of line after line.
    """
    cdef int line
    for line in range(4):
        prefetch(page + line * LINE_OCTETS)


cdef const uint8_t *onPage(
    const uint8_t *at, const uint8_t *end, const uint8_t *wanted, int size
) noexcept nogil:
    """
    Look for a name on one page.

    @return: Where its places are.
    """
    cdef int matched = 0, shared, rest, same, limit
    cdef uint8_t head
    while at < end:
        head = at[0]
        if head == 0:
            return NULL
        at += 1
        shared = head >> 4
        rest = head & 15
        if end - at < 2:
            return NULL
        if shared == 15:
            shared = at[0]
            at += 1
        if rest == 15:
            rest = at[0]
            at += 1
        if shared < matched or end - at < rest + 4:
            return NULL
        if shared == matched:
            limit = size - matched
            if limit > rest:
                limit = rest
            same = 0
            while same < limit and at[same] == wanted[matched + same]:
                same += 1
            if same == rest and matched + same == size:
                return at + rest
            if same < limit:
                if at[same] > wanted[matched + same]:
                    return NULL
            elif rest > limit:
                return NULL
            matched += same
        at += rest
        while end - at >= 4 and at[3] & 0x80:
            at += 4
        at += 4
    return NULL
