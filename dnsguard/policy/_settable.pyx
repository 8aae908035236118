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
from libc.string cimport memcmp, memcpy, memset

from dnsguard.policy._setformat cimport (
    CODES,
    ENTRIES,
    LINE_OCTETS,
    MAX_LABELS,
    MAX_NAME,
    MAX_SPILL,
    SIZES,
    add_letter,
    begin_letters,
    end_letters,
    hash_label,
    letters,
    line_place,
    little,
    lowest_bit,
    octets_before,
    prefetch,
    tagged,
)

from dnsguard.errors import PolicyError
from dnsguard.policy import setformat, setletters

assert MAX_SPILL == setformat.MAX_SPILL and LINE_OCTETS == setformat.LINE_SIZE
assert ENTRIES == setformat.ENTRIES_A_LINE and SIZES == 4 + ENTRIES
assert all(CODES[letter] == code for letter, code in setletters.CODES.items() if letter != 0x2E)


cdef struct Asked:
    # The name, zeros behind, and where each label starts.
    uint8_t name[MAX_NAME + 9]
    int starts[MAX_LABELS]
    int depth


cdef struct Suffix:
    uint64_t line
    int depth
    uint8_t tag


cdef class Table:
    """
    See L{dnsguard.policy.settable.Table}.
    """

    cdef readonly object header
    cdef object selected
    cdef const uint8_t[::1] buffer
    cdef const uint16_t[::1] codeBuffer
    cdef const uint16_t *codes
    cdef const uint8_t *lines
    cdef const uint8_t *names
    cdef const uint8_t *places
    cdef const uint8_t *chosen
    cdef uint64_t key, mix, hashedLines, storedLines, namesSize, placeCount
    cdef int least, most, sourceCount
    cdef uint32_t *bases

    def __cinit__(self, buffer, header, bytes selected):
        self.bases = NULL
        self.header = header
        self.selected = selected
        self.buffer = buffer
        if self.buffer.shape[0] != header.size or len(selected) != len(header.sources):
            raise PolicyError("set of names", "a header that isn't this set's")
        self.codeBuffer = header.codes
        if self.codeBuffer.shape[0] != setletters.LETTERS * setletters.LETTERS:
            raise PolicyError("set of names", "a header that isn't this set's")
        self.codes = &self.codeBuffer[0]
        self.lines = &self.buffer[0] + <size_t>header.linesOffset
        self.names = &self.buffer[0] + <size_t>header.namesOffset
        self.places = &self.buffer[0] + <size_t>header.placesOffset
        self.namesSize = header.placesOffset - header.namesOffset
        self.placeCount = (header.size - header.placesOffset) // 4
        self.chosen = <const uint8_t *>PyBytes_AS_STRING(selected)
        self.key = header.key
        self.mix = header.mix
        self.hashedLines = header.lines
        self.storedLines = header.storedLines
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
        cdef Asked asked
        cdef Suffix suffixes[MAX_LABELS]
        cdef const uint8_t *place
        cdef int count, start
        if not readName(
            <const uint8_t *>PyBytes_AS_STRING(qname), PyBytes_GET_SIZE(qname), &asked
        ):
            return None
        count = self.suffixesOf(&asked, suffixes)
        while count:
            count -= 1
            place = self.placeOf(&suffixes[count], &asked)
            if place != NULL:
                start = asked.starts[asked.depth - suffixes[count].depth]
                found = self.placesAt(little(place), start, every)
                if found is not None:
                    return found
        return None

    cdef int suffixesOf(self, const Asked *asked, Suffix *suffixes) noexcept nogil:
        """
        Hash the name and its parents, in one pass from the last label to the
        first, and call for their lines.

        @return: How many of them the set could have; the shortest is first.
        """
        cdef int depth, count = 0
        cdef uint64_t value = self.key
        for depth in range(1, min(asked.depth, self.most) + 1):
            value = hash_label(asked.name + asked.starts[asked.depth - depth], value, self.mix)
            if depth >= self.least:
                suffixes[count].line = line_place(value, self.hashedLines, &suffixes[count].tag)
                suffixes[count].depth = depth
                prefetch(self.lines + suffixes[count].line * LINE_OCTETS)
                count += 1
        return count

    cdef const uint8_t *placeOf(self, const Suffix *suffix, const Asked *asked) noexcept nogil:
        """
        Find what stands behind a name; C{NULL} if it isn't there.
        """
        cdef uint64_t line = suffix.line, last = line + MAX_SPILL + 1, at
        cdef const uint8_t *octets
        cdef letters wanted
        cdef uint32_t bits
        cdef int size = -1, entry
        if last > self.storedLines:
            last = self.storedLines
        while line < last:
            octets = self.lines + line * LINE_OCTETS
            bits = tagged(octets, suffix.tag)
            while bits:
                entry = lowest_bit(bits)
                bits &= bits - 1
                at = <uint64_t>little(octets) + octets_before(octets, entry)
                if at + octets[SIZES + entry] + 4 > self.namesSize:
                    continue
                prefetch(self.names + at)
                prefetch(self.names + at + octets[SIZES + entry] + 3)
                if size < 0:
                    # While the name is on its way from memory.
                    size = lettersOf(asked, suffix.depth, self.codes, &wanted)
                    if size == 0:
                        return NULL
                if octets[SIZES + entry] == size and memcmp(
                    self.names + at, wanted.octets, size
                ) == 0:
                    return self.names + at + size
            if octets[LINE_OCTETS - 1] == 0:
                return NULL
            line += 1
        return NULL

    cdef object placesAt(self, uint32_t value, int start, list every):
        """
        Read a name's places: the first selected one, or all into a list.
        """
        cdef uint64_t at
        if value >> 31 == 0:
            return self.placeIn(value, start, every)
        at = value & 0x7FFFFFFF
        while at < self.placeCount:
            value = little(self.places + 4 * at)
            found = self.placeIn(value, start, every)
            if found is not None or value >> 31 == 0:
                return found
            at += 1
        return None

    cdef inline object placeIn(self, uint32_t value, int start, list every):
        """
        Give a place, if it is selected and speaks of the name asked for.
        """
        cdef uint32_t line = value & 0x1FFFFFFF
        cdef int low = 0, high = self.sourceCount, middle
        if (value >> 29) & 3 == <uint32_t>(1 if start else 2):
            return None
        while low < high:
            middle = (low + high) >> 1
            if self.bases[middle] <= line:
                low = middle + 1
            else:
                high = middle
        low -= 1
        if low < 0 or not self.chosen[low]:
            return None
        place = (low, line - self.bases[low], start)
        if every is None:
            return place
        every.append(place)
        return None


cdef inline bint readName(const uint8_t *name, Py_ssize_t size, Asked *asked) noexcept nogil:
    """
    Copy a name, and find its labels.

    @return: False if it isn't one.
    """
    cdef int at = 0, depth = 0
    if size > MAX_NAME or size < 1:
        return False
    while name[at]:
        if depth == MAX_LABELS - 1 or at + name[at] + 1 >= size:
            return False
        asked.starts[depth] = at
        depth += 1
        at += name[at] + 1
    if at != size - 1:
        return False
    memcpy(asked.name, name, size)
    memset(asked.name + size, 0, 8)
    asked.depth = depth
    return True


cdef inline int lettersOf(
    const Asked *asked, int depth, const uint16_t *codes, letters *wanted
) noexcept nogil:
    """
    Write the last so many labels as they stand in the file.

    @return: The octets; 0 if no name in the file has such letters in a row.
    """
    cdef int number, at, letter, symbol
    begin_letters(wanted)
    for number in range(depth):
        at = asked.starts[asked.depth - 1 - number]
        if number and not add_letter(wanted, codes, 1):
            return 0
        letter = at + asked.name[at]
        while letter > at:
            symbol = CODES[asked.name[letter]]
            if symbol == 0 or not add_letter(wanted, codes, symbol):
                return 0
            letter -= 1
    return end_letters(wanted)
