# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twin of L{dnsguard.policy.setbuilder} and L{dnsguard.policy.setlines}:
it writes the same octets.

While names are collected and sorted, three letters are two octets: less to move
and to compare, and no pair of octets is zero.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from dnsguard.policy._setformat cimport (
    CODES,
    ENTRIES,
    LINE_OCTETS,
    MAX_LABELS,
    MAX_SPILL,
    SIZES,
    add_letter,
    begin_letters,
    end_letters,
    first_eight,
    hash_label,
    letters,
    line_place,
    little,
    prefetch,
    put_little,
)

from array import array

from dnsguard.errors import PolicyError
from dnsguard.policy import setbuilder, setformat, setletters

cdef enum:
    SLAB_SIZE = 1 << 20
    MAX_EASY = 512
    NOTHING = 0
    EASY = 1
    OTHER = 2
    MAX_ENCODED = 176
    MAX_SYMBOLS = 264
    LETTERS = 40
    AHEAD = 8
    ANOTHER = 0x80000000

# The letter of each symbol.
cdef const uint8_t *ALPHABET = b"\0.-_0123456789abcdefghijklmnopqrstuvwxyz"


cdef struct Encoder:
    uint8_t octets[MAX_ENCODED + 8]
    int size
    int count
    uint32_t word


cdef inline void push(Encoder *encoder, uint32_t code) noexcept nogil:
    """
    Append a letter.
    """
    encoder.word = encoder.word * 40 + code
    encoder.count += 1
    if encoder.count == 3:
        encoder.octets[encoder.size] = encoder.word >> 8
        encoder.octets[encoder.size + 1] = encoder.word & 255
        encoder.size += 2
        encoder.word = 0
        encoder.count = 0


cdef inline void finish(Encoder *encoder) noexcept nogil:
    """
    Append the last word, if one was begun.
    """
    cdef uint32_t word
    if encoder.count:
        word = encoder.word * (1600 if encoder.count == 1 else 40)
        encoder.octets[encoder.size] = word >> 8
        encoder.octets[encoder.size + 1] = word & 255
        encoder.size += 2


cdef inline void begin(Encoder *encoder) noexcept nogil:
    encoder.size = encoder.count = 0
    encoder.word = 0


cdef struct Item:
    uint64_t first
    const uint8_t *entry


cdef struct Named:
    const uint8_t *entry
    # As in the file, but that several stand in the order of names.
    uint32_t place


cdef struct Hashed:
    uint64_t hash
    uint32_t number


cdef struct Octets:
    uint8_t *start
    size_t size
    size_t room


cdef uint8_t *grown(Octets *octets, size_t more) noexcept nogil:
    """
    Make room behind some octets.

    @return: Where it is; C{NULL} when memory ran out.
    """
    cdef void *moved
    cdef size_t room
    if octets.start == NULL or octets.size + more > octets.room:
        room = octets.room + octets.room // 2 + more + 4096
        moved = realloc(octets.start, room)
        if moved == NULL:
            return NULL
        octets.start = <uint8_t *>moved
        octets.room = room
    octets.size += more
    return octets.start + octets.size - more


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
    return -1 if one.number < other.number else one.number > other.number


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
    cdef Octets several
    cdef uint64_t pairs[LETTERS * LETTERS]
    cdef int least, most

    def __cinit__(self):
        self.sources = []
        self.least = 255

    def __dealloc__(self):
        self.release()
        free(self.named)
        free(self.several.start)

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
        self.named = <Named *>malloc((self.count + 1) * sizeof(Named))
        try:
            if bases == NULL or names == NULL or self.named == NULL:
                raise MemoryError
            for number, (_, base) in enumerate(self.sources):
                bases[number] = base
            with nogil:
                if self.count:
                    qsort(self.items, self.count, sizeof(Item), compareItems)
                written = self.nameItems(bases, names, sourceCount)
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
            lengths=setletters.codeLengths([self.pairs[n] for n in range(LETTERS * LETTERS)]),
            leastLabels=self.least,
            mostLabels=self.most,
            names=self.namedCount,
            sources=setbuilder.numbered(self.sources, end, counts),
            facts=facts or {},
        )
        try:
            return setbuilder.assemble(parts, self.write, keys or setbuilder.randomKeys())
        finally:
            self.release()

    cdef bint nameItems(
        self, const uint32_t *bases, uint32_t *names, size_t sources
    ) noexcept nogil:
        """
        Note each of the sorted names once, and what is in them.

        @return: False when memory ran out.
        """
        cdef size_t at = 0, end, places, number
        cdef uint8_t *octets
        cdef uint32_t place
        cdef Named *named
        while at < self.count:
            end = at + 1
            while end < self.count and sameName(&self.items[at], &self.items[end]):
                end += 1
            places = dropRepeats(self.items + at, end - at, bases, names, sources)
            named = &self.named[self.namedCount]
            named.entry = self.items[at].entry
            named.place = scoped(placeAt(named.entry))
            if places > 1:
                named.place = <uint32_t>(self.several.size // 4) | ANOTHER
                octets = grown(&self.several, 4 * places)
                if octets == NULL:
                    return False
                for number in range(places):
                    place = scoped(placeAt(self.items[at + number].entry))
                    put_little(
                        octets + 4 * number, place | (ANOTHER if number + 1 < places else 0)
                    )
            self.namedCount += 1
            self.countLetters(named.entry)
            at = end
        return True

    cdef void countLetters(self, const uint8_t *entry) noexcept nogil:
        """
        Note how many labels a name has, and which letters follow which.
        """
        cdef uint8_t symbols[MAX_SYMBOLS]
        cdef int labels = 1, before = 0, number
        for number in range(symbolsOf(entry, symbols)):
            labels += symbols[number] == 1
            self.pairs[before * LETTERS + symbols[number]] += 1
            before = symbols[number]
        if labels > self.most:
            self.most = labels
        if labels < self.least:
            self.least = labels

    def write(self, uint64_t key, uint64_t mix, uint64_t lines, const uint16_t[::1] codes):
        """
        See L{dnsguard.policy.setlines.Lines.write}.
        """
        cdef Hashed *hashes = <Hashed *>malloc((self.namedCount + 1) * sizeof(Hashed))
        cdef Octets names = Octets(NULL, 0, 0), places = Octets(NULL, 0, 0)
        cdef uint8_t *octets
        cdef int written
        try:
            if hashes == NULL:
                raise MemoryError
            stored = PyBytes_FromStringAndSize(NULL, (lines + MAX_SPILL) * LINE_OCTETS)
            octets = <uint8_t *>PyBytes_AS_STRING(stored)
            with nogil:
                memset(octets, 0, (lines + MAX_SPILL) * LINE_OCTETS)
                self.hashNames(hashes, key, mix)
                qsort(hashes, self.namedCount, sizeof(Hashed), compareHashes)
                written = self.fillLines(octets, hashes, lines, &codes[0], &names, &places)
            if written < 0:
                raise MemoryError
            if not written:
                return None
            return (
                stored,
                PyBytes_FromStringAndSize(<char *>names.start, names.size),
                PyBytes_FromStringAndSize(<char *>places.start, places.size),
            )
        finally:
            free(hashes)
            free(names.start)
            free(places.start)

    cdef void hashNames(self, Hashed *hashes, uint64_t key, uint64_t mix) noexcept nogil:
        """
        Hash all names.
        """
        cdef size_t number
        cdef uint8_t symbols[MAX_SYMBOLS]
        cdef uint8_t label[72]
        cdef int count, at, end, size
        cdef uint64_t value
        for number in range(self.namedCount):
            count = symbolsOf(self.named[number].entry, symbols)
            value = key
            at = 0
            while at < count:
                end = at
                while end < count and symbols[end] != 1:
                    end += 1
                label[0] = end - at
                for size in range(1, end - at + 1):
                    label[size] = ALPHABET[symbols[end - size]]
                value = hash_label(label, value, mix)
                at = end + 1
            hashes[number].hash = value
            hashes[number].number = <uint32_t>number

    cdef int fillLines(
        self,
        uint8_t *stored,
        const Hashed *hashes,
        uint64_t lines,
        const uint16_t *codes,
        Octets *names,
        Octets *places,
    ) noexcept nogil:
        """
        Write the names, in the order of their hashes.

        @return: 0 if one would stand too far from its line, -1 when memory
            ran out.
        """
        cdef size_t number
        cdef uint64_t free = 0, line
        cdef uint8_t tag
        cdef uint8_t *octets
        cdef const Named *named
        cdef letters wanted
        cdef int size, entry
        cdef uint32_t place
        for number in range(self.namedCount):
            if number + AHEAD < self.namedCount:
                prefetch(&self.named[hashes[number + AHEAD].number])
            if number + AHEAD // 2 < self.namedCount:
                prefetch(self.named[hashes[number + AHEAD // 2].number].entry)
            line = line_place(hashes[number].hash, lines, &tag)
            if free < line * ENTRIES:
                free = line * ENTRIES
            elif free >= (line + MAX_SPILL) * ENTRIES:
                return 0
            octets = stored + free // ENTRIES * LINE_OCTETS
            entry = free % ENTRIES
            if entry == 0:
                put_little(octets, <uint32_t>names.size)
            named = &self.named[hashes[number].number]
            size = lettersOf(named.entry, codes, &wanted)
            octets[4 + entry] = tag
            octets[SIZES + entry] = size
            octets = grown(names, size + 4)
            if octets == NULL:
                return -1
            memcpy(octets, wanted.octets, size)
            place = named.place
            if place & ANOTHER:
                place = <uint32_t>(places.size // 4) | ANOTHER
                if not copyPlaces(self.several.start + 4 * <size_t>(named.place ^ ANOTHER), places):
                    return -1
            put_little(octets + size, place)
            free += 1
        size = -names.size & 3
        octets = grown(names, size)
        if octets == NULL:
            return -1
        memset(octets, 0, size)
        return 1


cdef inline uint32_t scoped(uint32_t place) noexcept nogil:
    """
    Give a place as it stands in the file.
    """
    return place >> 2 | (place & 3) << 29


cdef bint copyPlaces(const uint8_t *at, Octets *places) noexcept nogil:
    """
    Append one name's places.

    @return: False when memory ran out.
    """
    cdef uint8_t *octets
    while True:
        octets = grown(places, 4)
        if octets == NULL:
            return False
        memcpy(octets, at, 4)
        if not at[3] & 0x80:
            return True
        at += 4


cdef inline int symbolsOf(const uint8_t *entry, uint8_t *symbols) noexcept nogil:
    """
    Take an entry's name apart.

    @return: The number of its letters.
    """
    cdef int at, count = 0
    cdef uint32_t word
    for at in range(1, entry[0], 2):
        word = <uint32_t>entry[at] << 8 | entry[at + 1]
        symbols[count] = word // 1600
        symbols[count + 1] = word // 40 % 40
        symbols[count + 2] = word % 40
        count += 3
    while count and symbols[count - 1] == 0:
        count -= 1
    return count


cdef inline int lettersOf(
    const uint8_t *entry, const uint16_t *codes, letters *wanted
) noexcept nogil:
    """
    Write a name as it stands in the file.

    @return: The octets.
    """
    cdef uint8_t symbols[MAX_SYMBOLS]
    cdef int number
    begin_letters(wanted)
    for number in range(symbolsOf(entry, symbols)):
        add_letter(wanted, codes, symbols[number])
    return end_letters(wanted)


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
    cdef uint32_t code
    # What hosts files say of themselves is told apart with more care elsewhere.
    if end - name > 253 or (end - name >= 9 and memcmp(name, b"localhost", 9) == 0):
        return False
    begin(encoder)
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
    finish(encoder)
    return True


cdef bint encodeName(const uint8_t *name, Py_ssize_t size, Encoder *encoder) noexcept nogil:
    """
    Encode a whole name.

    @return: False if it is the root, malformed, or has other letters.
    """
    cdef int starts[MAX_LABELS]
    cdef int depth = 0, at = 0, letter, first
    cdef uint32_t code
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
    begin(encoder)
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
    finish(encoder)
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
