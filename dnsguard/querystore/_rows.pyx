# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twins of L{dnsguard.querystore.encoding}.

None makes an object a row. Offsets into the input are bounded by its length, and
references between its parts are checked before they are followed.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject_Hash
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from dnsguard._notes cimport AHEAD, RECORD_SIZE, EntryNotes, Record
from dnsguard.querystore.encoding import SHARED_OVERHEAD

cdef Py_ssize_t sharedOverhead = SHARED_OVERHEAD

cdef enum:
    ROW_SIZE = 32
    FIRST_SLOTS = 64
    SKIPPED = 0xFFFFFFFF


cdef packed struct Row:
    int64_t when
    uint32_t client
    uint32_t fact
    uint32_t took
    uint32_t cache
    uint32_t write
    uint8_t protocol
    uint8_t padding[3]


cdef struct ClientSlot:
    uint8_t key[17]
    uint8_t used
    uint32_t client


cdef struct FragmentSlot:
    uint32_t hash
    uint32_t number  # plus 1; 0: the slot is free


cdef struct Piece:
    const char *start
    size_t size


cdef inline uint64_t mix(uint64_t value) noexcept nogil:
    value ^= value >> 33
    value *= <uint64_t>0xFF51AFD7ED558CCD
    value ^= value >> 33
    return value


cdef inline int64_t floorDivide(int64_t value, int64_t by) noexcept nogil:
    # As Python divides: times before 1970 included.
    cdef int64_t quotient = value // by
    if value % by < 0:
        quotient -= 1
    return quotient


cdef class ReplayedRows:
    """
    See L{dnsguard.querystore.encoding.ReplayedRows}.
    """

    cdef object encode
    cdef EntryNotes notes
    cdef list fragments, facts
    # Where fragments are found by what they are.
    cdef FragmentSlot *slots
    cdef uint64_t slotCount
    # Clients and their places in the block.
    cdef ClientSlot *clients
    cdef uint64_t clientSlots, clientCount
    # By fragment number: its place in the block, plus 1.
    cdef uint32_t *places
    cdef size_t room
    cdef readonly Py_ssize_t octets, placed

    def __cinit__(self, encode):
        self.encode = encode
        self.facts = []
        self.forget()
        self.forgetClients()

    def __dealloc__(self):
        free(self.places)
        free(self.slots)
        free(self.clients)

    cdef int forget(self) except -1:
        self.notes = EntryNotes(self._number)
        self.fragments = []
        free(self.slots)
        self.slotCount = 0
        self.slots = <FragmentSlot *>calloc(FIRST_SLOTS, sizeof(FragmentSlot))
        if self.slots == NULL:
            raise MemoryError
        self.slotCount = FIRST_SLOTS
        free(self.places)
        self.places = NULL
        self.room = 0
        return 0

    cdef int forgetClients(self) except -1:
        free(self.clients)
        self.clientSlots = self.clientCount = 0
        self.clients = <ClientSlot *>calloc(FIRST_SLOTS, sizeof(ClientSlot))
        if self.clients == NULL:
            raise MemoryError
        self.clientSlots = FIRST_SLOTS
        return 0

    def __len__(self):
        return len(self.fragments)

    @property
    def met(self):
        """
        How many entries it knows.
        """
        return len(self.notes)

    def begin(self, list facts not None, bint anew=False):
        """
        Go on in another block.
        """
        self.facts = facts
        self.placed = self.octets = 0
        self.forgetClients()
        if anew:
            self.forget()
        elif self.room:
            memset(self.places, 0, self.room * sizeof(uint32_t))

    def _number(self, entry):
        """
        Number an entry's fragment.
        """
        cdef FragmentSlot *slot
        cdef uint32_t hash
        made = <bytes?>self.encode(entry)
        if not made:
            return <uint32_t>SKIPPED
        hash = <uint32_t>PyObject_Hash(made)
        slot = self.fragmentSlot(made, hash)
        if not slot.number:
            if 8 * (<uint64_t>len(self.fragments) + 1) > 7 * self.slotCount:
                self.growFragments()
                slot = self.fragmentSlot(made, hash)
            self.fragments.append(made)
            slot.hash = hash
            slot.number = len(self.fragments)
        return slot.number - 1

    cdef FragmentSlot *fragmentSlot(self, bytes made, uint32_t hash) except NULL:
        """
        Find where a fragment's number is, or where it would be.
        """
        cdef uint64_t at = <uint64_t>hash * self.slotCount >> 32
        cdef FragmentSlot *slot
        cdef bytes other
        while True:
            slot = &self.slots[at]
            if not slot.number:
                return slot
            if slot.hash == hash:
                other = <bytes>PyList_GET_ITEM(self.fragments, slot.number - 1)
                if (
                    PyBytes_GET_SIZE(other) == PyBytes_GET_SIZE(made)
                    and not memcmp(
                        PyBytes_AS_STRING(other), PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made)
                    )
                ):
                    return slot
            at += 1
            if at == self.slotCount:
                at = 0

    cdef int growFragments(self) except -1:
        cdef uint64_t slotCount = self.slotCount + self.slotCount // 2, i, at
        cdef FragmentSlot *slots = <FragmentSlot *>calloc(slotCount, sizeof(FragmentSlot))
        if slots == NULL:
            raise MemoryError
        for i in range(self.slotCount):
            if not self.slots[i].number:
                continue
            at = <uint64_t>self.slots[i].hash * slotCount >> 32
            while slots[at].number:
                at += 1
                if at == slotCount:
                    at = 0
            slots[at] = self.slots[i]
        free(self.slots)
        self.slots = slots
        self.slotCount = slotCount
        return 0

    cdef ClientSlot *clientSlot(self, const uint8_t *key, uint64_t hash) noexcept:
        """
        Find where a client is, or where it would be.
        """
        cdef uint64_t at = (hash >> 32) * self.clientSlots >> 32
        while self.clients[at].used and memcmp(self.clients[at].key, key, 17):
            at += 1
            if at == self.clientSlots:
                at = 0
        return &self.clients[at]

    cdef int growClients(self) except -1:
        cdef uint64_t before = self.clientSlots, i
        cdef ClientSlot *old = self.clients
        cdef ClientSlot *clients = <ClientSlot *>calloc(2 * before, sizeof(ClientSlot))
        if clients == NULL:
            raise MemoryError
        self.clients = clients
        self.clientSlots = 2 * before
        for i in range(before):
            if old[i].used:
                self.clientSlot(old[i].key, clientHash(old[i].key))[0] = old[i]
        free(old)
        return 0

    cdef int learnClient(self, const uint8_t *key, clientIndex) except -1:
        """
        Ask for a client's place. This may begin another block.
        """
        cdef ClientSlot *slot
        cdef uint32_t client = clientIndex(PyBytes_FromStringAndSize(<const char *>key, 17))
        if 4 * (self.clientCount + 1) > 3 * self.clientSlots:
            self.growClients()
        slot = self.clientSlot(key, clientHash(key))
        self.clientCount += not slot.used
        memcpy(slot.key, key, 17)
        slot.used = 1
        slot.client = client
        return 0

    cdef uint32_t clientAt(self, const uint8_t *key, clientIndex) except? 0xFFFFFFFE:
        cdef ClientSlot *slot = self.clientSlot(key, clientHash(key))
        if not slot.used:
            self.learnClient(key, clientIndex)
            slot = self.clientSlot(key, clientHash(key))
        return slot.client

    def meet(self, batch, clientIndex, Py_ssize_t most):
        """
        Get ready for some of a batch's entries and clients.
        """
        cdef const uint8_t[::1] view = memoryview(batch.records).cast("B")
        cdef Py_ssize_t count = view.shape[0] // RECORD_SIZE, i
        cdef Py_ssize_t met = self.notes.meet(batch, most)
        cdef const uint8_t *key
        for i in range(count):
            if met >= most:
                break
            key = &(<const Record *>&view[i * RECORD_SIZE]).family
            if not self.clientSlot(key, clientHash(key)).used:
                self.learnClient(key, clientIndex)
                met += 1
        return met

    cdef uint32_t place(self, uint32_t number) except 0:
        """
        Give a fragment's place in the block, plus 1.
        """
        cdef size_t room
        cdef uint32_t *places
        if number >= self.room:
            room = 64
            while room <= number:
                room *= 2
            places = <uint32_t *>realloc(self.places, room * sizeof(uint32_t))
            if places == NULL:
                raise MemoryError
            memset(places + self.room, 0, (room - self.room) * sizeof(uint32_t))
            self.places = places
            self.room = room
        if not self.places[number]:
            made = <bytes>PyList_GET_ITEM(self.fragments, number)
            self.facts.append(made)
            self.places[number] = len(self.facts)
            self.octets += PyBytes_GET_SIZE(made) + sharedOverhead
            self.placed += 1
        return self.places[number]

    def translate(self, batch, clientIndex, bytearray rows not None, Py_ssize_t room,
                  uint32_t threshold, uint64_t seed):
        """
        Append the rows of replayed queries.
        """
        cdef const uint8_t[::1] view = memoryview(batch.records).cast("B")
        if view.shape[0] == 0:
            return 0, 0
        if view.shape[0] % RECORD_SIZE:
            raise ValueError("records are 40 octets each")
        cdef Py_ssize_t count = view.shape[0] // RECORD_SIZE
        cdef Py_ssize_t before = len(rows), made = 0
        cdef Py_ssize_t most = min(count, max(room, 0))
        cdef Py_ssize_t leftOut = 0, dropped = 0, i
        cdef const Record *record = <const Record *>&view[0]
        cdef uint64_t state = seed | 1
        cdef uint32_t fact, client
        entries = batch.entries
        try:
            # The rows are written where they stay.
            PyByteArray_Resize(rows, before + most * ROW_SIZE)
            for i in range(count):
                record = <const Record *>&view[i * RECORD_SIZE]
                if i + AHEAD < count:
                    self.notes.expect((<const Record *>&view[(i + AHEAD) * RECORD_SIZE]).number)
                if threshold < <uint32_t>SKIPPED:
                    state ^= state << 13
                    state ^= state >> 7
                    state ^= state << 17
                    if <uint32_t>(state >> 32) >= threshold:
                        leftOut += 1
                        continue
                fact = self.notes.at(record.number, entries)
                client = self.clientAt(&record.family, clientIndex)
                if fact == <uint32_t>SKIPPED or client == <uint32_t>SKIPPED:
                    leftOut += 1
                elif made == most:
                    dropped += 1
                else:
                    writeRow(
                        <Row *>(PyByteArray_AS_STRING(rows) + before) + made,
                        record, client, self.place(fact) - 1,
                    )
                    made += 1
        except:
            made = 0
            raise
        finally:
            PyByteArray_Resize(rows, before + made * ROW_SIZE)
        return leftOut, dropped


cdef inline void writeRow(
    Row *row, const Record *record, uint32_t client, uint32_t fact
) noexcept nogil:
    row.when = floorDivide(record.when, 1000000)
    row.client = client
    row.fact = fact
    row.took = <uint32_t>((<uint64_t>record.took + 500) // 1000)
    row.cache = row.write = 0
    row.protocol = record.transport
    memset(row.padding, 0, 3)


cdef inline uint64_t clientHash(const uint8_t *key) noexcept nogil:
    """
    Mix the octet of the address family and the address behind it.
    """
    cdef uint64_t high, low
    memcpy(&high, key + 1, 8)
    memcpy(&low, key + 9, 8)
    return mix(high ^ mix(low + key[0]))


cdef Piece *pieces(parts) except NULL:
    """
    Note where some C{bytes} are; they must outlive this.
    """
    cdef Piece *made = <Piece *>malloc((len(parts) + 1) * sizeof(Piece))
    if made == NULL:
        raise MemoryError
    cdef Py_ssize_t i = 0
    for part in parts:
        if type(part) is not bytes:
            free(made)
            raise TypeError("fragments are bytes")
        made[i].start = PyBytes_AS_STRING(part)
        made[i].size = PyBytes_GET_SIZE(part)
        i += 1
    return made


def rowBinary(const uint8_t[::1] rows, tuple clients, tuple facts, tuple protocols, bytes instance):
    """
    See L{dnsguard.querystore.encoding.rowBinary}. Other threads run meanwhile.
    """
    cdef Py_ssize_t count = rows.shape[0] // ROW_SIZE
    cdef const Row *first = <const Row *>&rows[0] if count else NULL
    cdef uint32_t clientCount = len(clients), factCount = len(facts)
    cdef uint32_t protocolCount = len(protocols)
    cdef Piece *client = NULL
    cdef Piece *fact = NULL
    cdef Piece *protocol = NULL
    cdef Piece last
    cdef Py_ssize_t total
    last.start = PyBytes_AS_STRING(instance)
    last.size = PyBytes_GET_SIZE(instance)
    try:
        client = pieces(clients)
        fact = pieces(facts)
        protocol = pieces(protocols)
        with nogil:
            total = measured(first, count, client, clientCount, fact, factCount,
                             protocol, protocolCount, last.size)
        if total < 0:
            raise IndexError("a row refers to a fragment that isn't there")
        made = PyBytes_FromStringAndSize(NULL, total)
        write(first, count, client, fact, protocol, last, PyBytes_AS_STRING(made))
        return made
    finally:
        free(client)
        free(fact)
        free(protocol)


cdef Py_ssize_t measured(const Row *row, Py_ssize_t count,
                         Piece *client, uint32_t clientCount,
                         Piece *fact, uint32_t factCount,
                         Piece *protocol, uint32_t protocolCount,
                         size_t instance) noexcept nogil:
    cdef Py_ssize_t i
    cdef size_t total = 0
    for i in range(count):
        if (row.client >= clientCount or row.fact >= factCount
                or row.protocol >= protocolCount):
            return -1
        total += (32 + client[row.client].size + fact[row.fact].size
                  + protocol[row.protocol].size + instance)
        row += 1
    return total


cdef void write(const Row *row, Py_ssize_t count, Piece *client, Piece *fact,
                Piece *protocol, Piece instance, char *out) noexcept:
    cdef Py_ssize_t i
    cdef double times[3]
    with nogil:
        for i in range(count):
            memcpy(out, &row.when, 8)
            out = copied(out + 8, client[row.client])
            out = copied(out, fact[row.fact])
            out = copied(out, protocol[row.protocol])
            times[0] = row.took / 1000.0
            times[1] = row.cache / 1000.0
            times[2] = row.write / 1000.0
            memcpy(out, times, 24)
            out = copied(out + 24, instance)
            row += 1


cdef inline char *copied(char *out, Piece piece) noexcept nogil:
    memcpy(out, piece.start, piece.size)
    return out + piece.size
