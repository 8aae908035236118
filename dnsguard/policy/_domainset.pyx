# cython: language_level=3, boundscheck=False, cdivision=True
# cython: initializedcheck=False, wraparound=False
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twins of L{dnsguard.policy.settable.Table} and
L{dnsguard.policy.setbuilder.Builder}.

They read and write the same octets; the format is described in
L{dnsguard.policy.setformat}. A mapped file may be damaged behind its header:
every offset read from it is checked before it is used, so that the worst that
damage does is a wrong answer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcmp, memcpy, memset

from dnsguard.errors import PolicyError
from dnsguard.policy import setbuilder, setformat

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


cdef enum:
    MAX_LABELS = 128
    MAX_ENCODED = 176
    MAX_SPILL = 16
    LINE_OCTETS = 64
    SLAB_SIZE = 1 << 20

cdef uint8_t CODES[256]
memset(CODES, 0, sizeof(CODES))
for _letter, _code in setformat.CODES.items():
    CODES[_letter] = _code
# A dot only ever stands between labels; inside one it is no letter.
CODES[0x2E] = 0
assert MAX_SPILL == setformat.MAX_SPILL and LINE_OCTETS == 4 * setformat.ENTRIES_A_LINE


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
        cdef uint32_t tail
        cdef uint8_t *entry
        if not encodeName(
            <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), &encoder
        ):
            raise PolicyError(self.sources[len(self.sources) - 1][0], f"line {line}: {name[:80]!r} can't be kept")
        if line < 0 or self.base + <uint64_t>line >= <uint64_t>setformat.MAX_PLACES:
            raise PolicyError(self.sources[len(self.sources) - 1][0], "too many lines in one set")
        if <uint64_t>line > self.highest:
            self.highest = line
        entry = self.reserve(encoder.size + 5)
        entry[0] = encoder.size
        memcpy(entry + 1, encoder.octets, encoder.size)
        put_little(entry + 1 + encoder.size, <uint32_t>(self.base + line) << 2 | (scope & 3))
        self.items[self.count].entry = entry
        self.items[self.count].first = first_eight(entry + 1, encoder.size)
        self.count += 1

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
        self.pageSize = setbuilder.Pages(sourceCount).size
        self.named = <Named *>malloc((self.count + 1) * sizeof(Named))
        try:
            if bases == NULL or names == NULL or self.named == NULL:
                raise MemoryError
            for number, (_, base) in enumerate(self.sources):
                bases[number] = base
            with nogil:
                qsort(self.items, self.count, sizeof(Item), compareItems)
                written = self.writePages(bases, names, sourceCount)
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
        See L{dnsguard.policy.setbuilder.Pages.index}.
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
