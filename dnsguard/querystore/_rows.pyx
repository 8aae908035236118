# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twins of L{dnsguard.querystore.encoding}.

Neither makes an object a row. Offsets into the input are bounded by its length,
and references between its parts are checked before they are followed.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    ROW_SIZE = 32
    RECORD_SIZE = 40
    CLIENT_SLOTS = 4096
    SKIPPED = 0xFFFFFFFF


cdef packed struct Record:
    int64_t when
    uint64_t number
    uint32_t took
    uint16_t octets
    uint8_t transport
    uint8_t family
    uint8_t address[16]


cdef packed struct Row:
    int64_t when
    uint32_t client
    uint32_t fact
    uint32_t took
    uint32_t cache
    uint32_t write
    uint8_t protocol
    uint8_t padding[3]


cdef struct FactSlot:
    uint64_t number
    uint32_t fact
    uint32_t used


cdef struct ClientSlot:
    uint8_t key[17]
    uint8_t used
    uint32_t client


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


def translate(records, dict facts, clientIndex, bytearray rows, Py_ssize_t room,
              uint32_t threshold, uint64_t seed):
    """
    See L{dnsguard.querystore.encoding.translate}.
    """
    cdef const uint8_t[::1] view = memoryview(records).cast("B")
    if view.shape[0] == 0:
        return 0, 0
    if view.shape[0] % RECORD_SIZE:
        raise ValueError("records are 40 octets each")
    cdef Py_ssize_t count = view.shape[0] // RECORD_SIZE
    cdef const Record *record = <const Record *>&view[0]
    cdef size_t slots = 16
    while slots < 2 * <size_t>len(facts) + 1:
        slots *= 2
    cdef FactSlot *table = <FactSlot *>calloc(slots, sizeof(FactSlot))
    cdef ClientSlot *clients = <ClientSlot *>calloc(CLIENT_SLOTS, sizeof(ClientSlot))
    cdef size_t made = <size_t>min(count, max(room, 0))
    cdef Row *out = <Row *>malloc((made + 1) * sizeof(Row))
    cdef Row *row = out
    cdef Row *end = out + made
    cdef Py_ssize_t leftOut = 0, dropped = 0, i, before
    cdef uint64_t state = seed | 1
    cdef size_t at
    cdef uint32_t fact, client
    cdef ClientSlot *slot
    try:
        if table == NULL or clients == NULL or out == NULL:
            raise MemoryError
        fillFacts(table, slots - 1, facts)
        for i in range(count):
            if threshold < <uint32_t>SKIPPED:
                state ^= state << 13
                state ^= state >> 7
                state ^= state << 17
                if <uint32_t>(state >> 32) >= threshold:
                    leftOut += 1
                    record += 1
                    continue
            at = mix(record.number) & (slots - 1)
            while table[at].used and table[at].number != record.number:
                at = (at + 1) & (slots - 1)
            if not table[at].used:
                raise KeyError(record.number)
            fact = table[at].fact
            # One slot a hash: a client that shares one is only asked for again.
            slot = &clients[clientHash(record) & (CLIENT_SLOTS - 1)]
            if not slot.used or memcmp(slot.key, &record.family, 17):
                slot.client = clientIndex(
                    PyBytes_FromStringAndSize(<const char *>&record.family, 17)
                )
                memcpy(slot.key, &record.family, 17)
                slot.used = 1
            client = slot.client
            if fact == <uint32_t>SKIPPED or client == <uint32_t>SKIPPED:
                leftOut += 1
            elif row == end:
                dropped += 1
            else:
                row.when = floorDivide(record.when, 1000000)
                row.client = client
                row.fact = fact
                row.took = <uint32_t>((<uint64_t>record.took + 500) // 1000)
                row.cache = row.write = 0
                row.protocol = record.transport
                memset(row.padding, 0, 3)
                row += 1
            record += 1
        before = len(rows)
        PyByteArray_Resize(rows, before + (row - out) * ROW_SIZE)
        memcpy(PyByteArray_AS_STRING(rows) + before, out, (row - out) * ROW_SIZE)
    finally:
        free(table)
        free(clients)
        free(out)
    return leftOut, dropped


cdef fillFacts(FactSlot *table, size_t mask, dict facts):
    cdef size_t at
    cdef uint64_t number
    for key, fact in facts.items():
        number = key
        at = mix(number) & mask
        while table[at].used:
            at = (at + 1) & mask
        table[at].number = number
        table[at].fact = fact
        table[at].used = 1


cdef inline uint64_t clientHash(const Record *record) noexcept nogil:
    cdef uint64_t high, low
    memcpy(&high, record.address, 8)
    memcpy(&low, record.address + 8, 8)
    return mix(high ^ mix(low + record.family))


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


def rowBinary(bytes rows, tuple clients, tuple facts, tuple protocols, bytes instance):
    """
    See L{dnsguard.querystore.encoding.rowBinary}. Other threads run meanwhile.
    """
    cdef Py_ssize_t count = PyBytes_GET_SIZE(rows) // ROW_SIZE
    cdef const Row *first = <const Row *>PyBytes_AS_STRING(rows)
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
