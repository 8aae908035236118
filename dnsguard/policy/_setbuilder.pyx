# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twin of L{dnsguard.policy.setbuilder} and L{dnsguard.policy.setpages}:
it writes the same octets.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from dnsguard.policy._setformat cimport (
    CODES,
    Encoder,
    LINE_OCTETS,
    MAX_LABELS,
    MAX_SPILL,
    first_eight,
    little,
    mixed,
    mulmod,
    place_of,
    push,
    put_little,
    tailOf,
)

from dnsguard.errors import PolicyError
from dnsguard.policy import setbuilder, setformat, setpages

cdef enum:
    SLAB_SIZE = 1 << 20
    MAX_EASY = 512
    NOTHING = 0
    EASY = 1
    OTHER = 2


cdef struct Item:
    uint64_t first
    const uint8_t *entry


cdef struct Named:
    const uint8_t *entry
    uint32_t page


cdef struct Hashed:
    uint64_t hash
    uint32_t page


cdef inline uint32_t placeAt(const uint8_t *entry) noexcept nogil:
    return little(entry + 1 + entry[0])


cdef int compareItems(const void *a, const void *b) noexcept nogil:
    """
    Order by name, then by line.
    """
    cdef const Item *one = <const Item *>a
    cdef const Item *other = <const Item *>b
    if one.first != other.first:
        return -1 if one.first < other.first else 1
    cdef int size = one.entry[0], otherSize = other.entry[0]
    cdef int order = memcmp(one.entry + 1, other.entry + 1, min(size, otherSize))
    if order:
        return order
    if size != otherSize:
        return size - otherSize
    cdef uint32_t place = placeAt(one.entry), otherPlace = placeAt(other.entry)
    return -1 if place < otherPlace else place > otherPlace


cdef int compareHashes(const void *a, const void *b) noexcept nogil:
    cdef const Hashed *one = <const Hashed *>a
    cdef const Hashed *other = <const Hashed *>b
    if one.hash != other.hash:
        return -1 if one.hash < other.hash else 1
    return -1 if one.page < other.page else one.page > other.page


cdef struct Slab:
    uint8_t *octets
    size_t used


cdef class Builder:
    """
    See L{dnsguard.policy.setbuilder.Builder}. Sorting, writing and hashing
    let other threads run.
    """

    cdef list sources
    cdef uint64_t base
    cdef uint64_t highest
    cdef Slab *slabs
    cdef size_t slabCount, slabRoom
    cdef Item *items
    cdef size_t count, room
    cdef Named *named
    cdef size_t namedCount
    cdef uint8_t *pages
    cdef size_t pageOctets, pageRoom
    cdef uint32_t pageSize
    cdef int least, most

    def __cinit__(self):
        self.sources = []
        self.least = 255

    def __dealloc__(self):
        self.release()
        free(self.named)
        free(self.pages)

    cdef void release(self) noexcept:
        """
        Let go of the names.
        """
        cdef size_t number
        for number in range(self.slabCount):
            free(self.slabs[number].octets)
        free(self.slabs)
        free(self.items)
        self.slabs = NULL
        self.items = NULL
        self.slabCount = self.slabRoom = self.count = self.room = 0

    def addSource(self, str name not None):
        """
        See L{dnsguard.policy.setbuilder.Builder.addSource}.
        """
        if len(self.sources) >= setformat.MAX_SOURCES:
            raise PolicyError(name, f"more than {setformat.MAX_SOURCES} lists in one set")
        if self.sources:
            self.base += self.highest + 1
        self.highest = 0
        self.sources.append((name, self.base))
        return len(self.sources) - 1

    def add(self, bytes name not None, long line, int scope=0):
        """
        See L{dnsguard.policy.setbuilder.Builder.add}.
        """
        cdef Encoder encoder
        if not encodeName(
            <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), &encoder
        ):
            raise PolicyError(
                self.sources[len(self.sources) - 1][0], f"line {line}: {name[:80]!r} can't be kept"
            )
        self.store(&encoder, line, scope)

    cdef int store(self, const Encoder *encoder, long line, int scope) except -1:
        """
        Keep an encoded name.
        """
        cdef uint8_t *entry
        if line < 0 or self.base + <uint64_t>line >= <uint64_t>setformat.MAX_PLACES:
            raise PolicyError(
                self.sources[len(self.sources) - 1][0], "too many lines in one set"
            )
        if <uint64_t>line > self.highest:
            self.highest = line
        entry = self.reserve(encoder.size + 5)
        entry[0] = encoder.size
        memcpy(entry + 1, encoder.octets, encoder.size)
        put_little(entry + 1 + encoder.size, <uint32_t>(self.base + line) << 2 | (scope & 3))
        self.items[self.count].entry = entry
        self.items[self.count].first = first_eight(entry + 1, encoder.size)
        self.count += 1
        return 0

    def scan(self, bytes block not None, long first):
        """
        Add the names of the lines that are easy: be a
        L{Scan <dnsguard.policy.listparser.Scan>}.
        """
        cdef Encoder encoder
        cdef const uint8_t *octets = <const uint8_t *>PyBytes_AS_STRING(block)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(block), start = 0, end
        cdef long number = first, entries = 0
        cdef const uint8_t *found
        cdef int kind
        others = []
        while True:
            found = <const uint8_t *>memchr(octets + start, 0x0A, size - start)
            end = size if found == NULL else found - octets
            kind = scanLine(octets + start, octets + end, &encoder)
            if kind == EASY:
                self.store(&encoder, number, 0)
                entries += 1
            elif kind == OTHER:
                others.append((number, block[start:end]))
            number += 1
            if found == NULL:
                break
            start = end + 1
        return number - first, entries, others

    cdef uint8_t *reserve(self, size_t size) except NULL:
        """
        Make room for one more name of so many octets.
        """
        cdef void *moved
        if self.count == self.room:
            moved = realloc(self.items, (self.room * 2 + 1024) * sizeof(Item))
            if moved == NULL:
                raise MemoryError
            self.items = <Item *>moved
            self.room = self.room * 2 + 1024
        if self.slabCount == 0 or self.slabs[self.slabCount - 1].used + size > SLAB_SIZE:
            if self.slabCount == self.slabRoom:
                moved = realloc(self.slabs, (self.slabRoom * 2 + 16) * sizeof(Slab))
                if moved == NULL:
                    raise MemoryError
                self.slabs = <Slab *>moved
                self.slabRoom = self.slabRoom * 2 + 16
            self.slabs[self.slabCount].octets = <uint8_t *>malloc(SLAB_SIZE)
            if self.slabs[self.slabCount].octets == NULL:
                raise MemoryError
            self.slabs[self.slabCount].used = 0
            self.slabCount += 1
        cdef Slab *slab = &self.slabs[self.slabCount - 1]
        slab.used += size
        return slab.octets + slab.used - size

    def build(self, facts=None, keys=None):
        """
        See L{dnsguard.policy.setbuilder.Builder.build}.
        """
        cdef size_t sourceCount = len(self.sources)
        cdef uint32_t *bases = <uint32_t *>calloc(sourceCount + 1, sizeof(uint32_t))
        cdef uint32_t *names = <uint32_t *>calloc(sourceCount + 1, sizeof(uint32_t))
        cdef bint written = False
        self.pageSize = setpages.pageSizeFor(sourceCount)
        self.named = <Named *>malloc((self.count + 1) * sizeof(Named))
        try:
            if bases == NULL or names == NULL or self.named == NULL:
                raise MemoryError
            for number, (_, base) in enumerate(self.sources):
                bases[number] = base
            with nogil:
                if self.count:
                    qsort(self.items, self.count, sizeof(Item), compareItems)
                written = self.writePages(bases, names, sourceCount)
                free(self.items)
                self.items = NULL
                self.count = self.room = 0
            if not written:
                raise MemoryError
            counts = [names[number] for number in range(sourceCount)]
        finally:
            free(bases)
            free(names)
        end = self.base + self.highest + 1
        parts = setbuilder.Parts(
            pages=PyBytes_FromStringAndSize(<char *>self.pages, self.pageOctets),
            pageSize=self.pageSize,
            leastLabels=self.least,
            mostLabels=self.most,
            names=self.namedCount,
            sources=setbuilder.numbered(self.sources, end, counts),
            facts=facts or {},
        )
        free(self.pages)
        self.pages = NULL
        try:
            return setbuilder.assemble(parts, self.index, keys or setbuilder.randomKeys())
        finally:
            self.release()

    cdef bint writePages(
        self, const uint32_t *bases, uint32_t *names, size_t sources
    ) noexcept nogil:
        """
        Write the sorted names to pages, each once.

        @return: False when memory ran out.
        """
        cdef size_t at = 0, end
        cdef size_t used = self.pageSize
        cdef const uint8_t *last = NULL
        cdef size_t room, needed, places
        cdef uint8_t *octets
        cdef int shared
        while at < self.count:
            end = at + 1
            while end < self.count and sameName(&self.items[at], &self.items[end]):
                end += 1
            places = dropRepeats(self.items + at, end - at, bases, names, sources)
            shared = sharedOctets(last, self.items[at].entry) if used < self.pageSize else 0
            needed = entryOctets(self.items[at].entry, shared) + 4 * places
            if used + needed > self.pageSize:
                if not self.newPage():
                    return False
                used = 0
                shared = 0
            octets = self.pages + self.pageOctets - self.pageSize + used
            used += writeEntry(octets, self.items + at, places, shared)
            last = self.items[at].entry
            self.named[self.namedCount].entry = last
            self.named[self.namedCount].page = self.pageOctets // self.pageSize - 1
            self.namedCount += 1
            self.countLabels(last)
            at = end
        return True

    cdef bint newPage(self) noexcept nogil:
        """
        Begin a page.

        @return: False when memory ran out.
        """
        cdef void *moved
        if self.pageOctets + self.pageSize > self.pageRoom:
            self.pageRoom = self.pageRoom + self.pageRoom // 2 + 64 * self.pageSize
            moved = realloc(self.pages, self.pageRoom)
            if moved == NULL:
                return False
            self.pages = <uint8_t *>moved
        memset(self.pages + self.pageOctets, 0, self.pageSize)
        self.pageOctets += self.pageSize
        return True

    cdef void countLabels(self, const uint8_t *entry) noexcept nogil:
        """
        Note how many labels a name has.
        """
        cdef int labels = 1, at
        cdef uint32_t word
        for at in range(1, entry[0], 2):
            word = <uint32_t>entry[at] << 8 | entry[at + 1]
            labels += (word // 1600 == 1) + (word // 40 % 40 == 1) + (word % 40 == 1)
        if labels > self.most:
            self.most = labels
        if labels < self.least:
            self.least = labels

    def index(self, uint64_t key, uint64_t mix, int bits, uint64_t lines):
        """
        See L{dnsguard.policy.setpages.Pages.index}.
        """
        cdef Hashed *hashes = <Hashed *>malloc((self.namedCount + 1) * sizeof(Hashed))
        if hashes == NULL:
            raise MemoryError
        cdef bint fits
        cdef uint8_t *octets
        try:
            stored = PyBytes_FromStringAndSize(NULL, (lines + MAX_SPILL) * LINE_OCTETS)
            octets = <uint8_t *>PyBytes_AS_STRING(stored)
            with nogil:
                memset(octets, 0, (lines + MAX_SPILL) * LINE_OCTETS)
                self.hashNames(hashes, key, mix)
                qsort(hashes, self.namedCount, sizeof(Hashed), compareHashes)
                fits = fillIndex(octets, hashes, self.namedCount, lines, bits)
            return stored if fits else None
        finally:
            free(hashes)

    cdef void hashNames(self, Hashed *hashes, uint64_t key, uint64_t mix) noexcept nogil:
        cdef size_t number
        cdef const uint8_t *entry
        cdef uint64_t value
        cdef int at
        for number in range(self.namedCount):
            entry = self.named[number].entry
            value = 0
            for at in range(1, entry[0], 2):
                value = mulmod(value + (<uint32_t>entry[at] << 8 | entry[at + 1]), key)
            hashes[number].hash = mixed(value, mix)
            hashes[number].page = self.named[number].page


cdef int scanLine(const uint8_t *at, const uint8_t *end, Encoder *encoder) noexcept nogil:
    """
    Read a line: is it to be passed over, encoded, or somebody else's affair?
    """
    cdef const uint8_t *name
    if at == end or at[0] == 0x21 or (end - at >= 2 and at[0] == 0x23 and at[1] == 0x20):
        return NOTHING if end - at <= MAX_EASY else OTHER
    if end - at > MAX_EASY:
        return OTHER
    if (end - 1)[0] == 0x0D:
        end -= 1
    name = at
    if end - at >= 2 and memcmp(at, b"||", 2) == 0:
        name += 2
        end -= 1
        if end <= name or end[0] != 0x5E:
            return OTHER
    else:
        while end > at and ((end - 1)[0] == 0x20 or (end - 1)[0] == 0x09):
            end -= 1
        if end - at >= 2 and memcmp(at, b"*.", 2) == 0:
            name += 2
        elif end - at >= 8 and memcmp(at, b"0.0.0.0", 7) == 0:
            name += 7
        elif end - at >= 10 and memcmp(at, b"127.0.0.1", 9) == 0:
            name += 9
        if name - at > 2:
            if name[0] != 0x20 and name[0] != 0x09:
                name = at
            while name < end and (name[0] == 0x20 or name[0] == 0x09):
                name += 1
    return EASY if encodeText(name, end, encoder) else OTHER


cdef bint encodeText(const uint8_t *name, const uint8_t *end, Encoder *encoder) noexcept nogil:
    """
    Encode a name of two labels or more.

    @return: False unless it is certainly one to list.
    """
    cdef const uint8_t *at = end
    cdef int label = 0, dots = 0
    cdef uint32_t code, tail
    # What hosts files say of themselves is told apart with more care elsewhere.
    if end - name > 253 or (end - name >= 9 and memcmp(name, b"localhost", 9) == 0):
        return False
    encoder.size = encoder.letters = 0
    encoder.word = 0
    encoder.hash = encoder.key = 0
    while at > name:
        at -= 1
        if at[0] == 0x2E:
            # The last label begins with a letter: 192.0.2.1 is no name.
            if label == 0 or (dots == 0 and not 0x61 <= at[1] <= 0x7A):
                return False
            push(encoder, 1)
            label = 0
            dots += 1
            continue
        code = CODES[at[0]]
        label += 1
        if code == 0 or label > 63 or (dots == 0 and at[0] == 0x5F):
            return False
        push(encoder, code)
    if label == 0 or dots == 0:
        return False
    tail = tailOf(encoder)
    if tail:
        encoder.octets[encoder.size] = tail >> 8
        encoder.octets[encoder.size + 1] = tail & 255
        encoder.size += 2
    return True


cdef bint encodeName(const uint8_t *name, Py_ssize_t size, Encoder *encoder) noexcept nogil:
    """
    Encode a whole name.

    @return: False if it is the root, malformed, or has other letters.
    """
    cdef int starts[MAX_LABELS]
    cdef int depth = 0, at = 0, letter, first
    cdef uint32_t code, tail
    if size > 255 or size < 3:
        return False
    while at < size and name[at]:
        if depth == MAX_LABELS - 1 or name[at] > 63 or at + name[at] + 1 >= size:
            return False
        starts[depth] = at
        depth += 1
        at += name[at] + 1
    if at != size - 1:
        return False
    encoder.size = encoder.letters = 0
    encoder.word = 0
    encoder.hash = encoder.key = 0
    first = depth
    while depth:
        if depth != first:
            push(encoder, 1)
        depth -= 1
        at = starts[depth]
        letter = at + name[at]
        while letter > at:
            code = CODES[name[letter]]
            if code == 0:
                return False
            push(encoder, code)
            letter -= 1
    tail = tailOf(encoder)
    if tail:
        encoder.octets[encoder.size] = tail >> 8
        encoder.octets[encoder.size + 1] = tail & 255
        encoder.size += 2
    return True


cdef inline bint sameName(const Item *one, const Item *other) noexcept nogil:
    return (
        one.first == other.first
        and one.entry[0] == other.entry[0]
        and memcmp(one.entry + 1, other.entry + 1, one.entry[0]) == 0
    )


cdef size_t dropRepeats(
    Item *items, size_t count, const uint32_t *bases, uint32_t *names, size_t sources
) noexcept nogil:
    """
    Keep of one name's entries the first of each source and scope.

    @param items: Entries of one name, by line; those kept are moved forward.
    @param names: Has the name counted for each source that has it.
    @return: How many are kept.
    """
    cdef size_t kept = 0, number, source = 0
    cdef uint32_t place, line
    cdef uint32_t scopes = 0
    cdef bint fresh = True
    for number in range(count):
        place = placeAt(items[number].entry)
        line = place >> 2
        while source + 1 < sources and bases[source + 1] <= line:
            source += 1
            fresh = True
        if fresh:
            scopes = 0
            fresh = False
            names[source] += 1
        if scopes & (<uint32_t>1 << (place & 3)):
            continue
        scopes |= <uint32_t>1 << (place & 3)
        items[kept] = items[number]
        kept += 1
    return kept


cdef inline int sharedOctets(const uint8_t *one, const uint8_t *other) noexcept nogil:
    """
    How many octets a name shares with the one before it; never all.
    """
    cdef int limit = min(<int>one[0], <int>other[0] - 1), count = 0
    while count < limit and one[count + 1] == other[count + 1]:
        count += 1
    return count


cdef inline size_t entryOctets(const uint8_t *entry, int shared) noexcept nogil:
    cdef int rest = entry[0] - shared
    return 1 + (shared >= 15) + (rest >= 15) + rest


cdef size_t writeEntry(
    uint8_t *octets, const Item *items, size_t places, int shared
) noexcept nogil:
    """
    Write one name and its places.

    @return: The octets written.
    """
    cdef const uint8_t *entry = items[0].entry
    cdef int rest = entry[0] - shared
    cdef uint8_t *at = octets + 1
    cdef size_t number
    cdef uint32_t place
    octets[0] = min(shared, 15) << 4 | min(rest, 15)
    if shared >= 15:
        at[0] = shared
        at += 1
    if rest >= 15:
        at[0] = rest
        at += 1
    memcpy(at, entry + 1 + shared, rest)
    at += rest
    for number in range(places):
        place = placeAt(items[number].entry)
        place = place >> 2 | (place & 3) << 29
        if number + 1 < places:
            place |= <uint32_t>1 << 31
        put_little(at, place)
        at += 4
    return at - octets


cdef bint fillIndex(
    uint8_t *octets, const Hashed *hashes, size_t count, uint64_t lines, int bits
) noexcept nogil:
    """
    Write sorted hashes to the index.

    @return: False if one would stand too far from its line.
    """
    cdef size_t number
    cdef uint64_t slot = 0, line
    cdef uint32_t mark
    for number in range(count):
        line = place_of(hashes[number].hash, lines, bits, &mark)
        if slot < line * 16:
            slot = line * 16
        elif slot >= (line + MAX_SPILL) * 16:
            return False
        put_little(octets + 4 * slot, mark | hashes[number].page)
        slot += 1
    return True
