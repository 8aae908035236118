# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
L{dnsguard.caching.sieve.Sieve}, compiled, for L{dnsguard.caching.key.Key}s.

An entry is 40 octets in one array, and its key is taken apart: three numbers,
and a name that most messages have in them already, so that it isn't held again.
Places in the array are found by an open hash table of theirs, with probing in a
line and without tombstones.

The garbage collector isn't shown what is in here: values must not refer back to
who holds them.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyObject_Hash
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp

__all__ = ["CompiledSieve"]

STEPS = 1000
EVICTIONS = 256
"""As in L{dnsguard.caching.sieve}."""

cdef enum:
    HEADER = 12
    LEAST_ROOM = 64

cdef uint32_t NONE = 0xFFFFFFFF


cdef struct Node:
    PyObject *holder  # has the name in it
    PyObject *value
    uint32_t hash
    uint32_t size
    uint32_t older
    uint32_t newer
    uint16_t type
    uint16_t cls
    uint8_t nameAt
    uint8_t nameSize
    uint8_t flags
    uint8_t visited


cdef struct Parts:
    const char *name
    uint32_t hash
    uint16_t type
    uint16_t cls
    uint8_t nameSize
    uint8_t flags


cdef int takeApart(tuple key, Parts *parts) except -1:
    """
    Read a key.
    """
    cdef bytes name
    cdef uint64_t mixed
    if len(key) != 4:
        raise ValueError("no key")
    name = key[0]
    if name is None or PyBytes_GET_SIZE(name) > 255:
        raise ValueError("no name")
    parts.name = PyBytes_AS_STRING(name)
    parts.nameSize = <uint8_t>PyBytes_GET_SIZE(name)
    parts.type = key[1]
    parts.cls = key[2]
    parts.flags = key[3]
    mixed = <uint64_t>PyObject_Hash(name) ^ (
        <uint64_t>parts.type << 24 | <uint64_t>parts.cls << 8 | parts.flags
    )
    mixed *= 0x9E3779B97F4A7C15ULL
    parts.hash = <uint32_t>(mixed >> 32)
    return 0


cdef class CompiledSieve:
    """
    A mapping that holds at most so many entries and so many octets. See
    L{dnsguard.caching.sieve.Sieve}; the methods are the same.
    """

    cdef readonly int64_t maxEntries, maxBytes, bytes, evictions
    cdef Node *nodes
    cdef uint32_t *places
    cdef uint32_t mask, room, used, count, unused, oldest, newest, hand

    def __cinit__(self, maxEntries, maxBytes):
        self.oldest = self.newest = self.hand = self.unused = NONE
        self.resize(maxEntries, maxBytes)
        self.mask = LEAST_ROOM - 1
        self.places = <uint32_t *>calloc(LEAST_ROOM, sizeof(uint32_t))
        if self.places == NULL:
            raise MemoryError

    def __dealloc__(self):
        while self.oldest != NONE:
            self.remove(self.oldest)
        free(self.places)
        free(self.nodes)

    def __len__(self):
        return self.count

    def __contains__(self, key):
        cdef Parts parts
        takeApart(key, &parts)
        return self.find(&parts) != NONE

    cdef uint32_t find(self, const Parts *parts) noexcept:
        """
        Find a key's place in the array, or C{NONE}.
        """
        cdef uint32_t at = parts.hash & self.mask, place
        cdef Node *node
        while self.places[at]:
            place = self.places[at] - 1
            node = &self.nodes[place]
            if (
                node.hash == parts.hash
                and node.nameSize == parts.nameSize
                and node.type == parts.type
                and node.cls == parts.cls
                and node.flags == parts.flags
                and not memcmp(
                    PyBytes_AS_STRING(<object>node.holder) + node.nameAt, parts.name,
                    parts.nameSize,
                )
            ):
                return place
            at = (at + 1) & self.mask
        return NONE

    def get(self, tuple key not None):
        """
        Give the value for a key, and mark its entry; L{None} without one.
        """
        cdef Parts parts
        cdef uint32_t place
        takeApart(key, &parts)
        place = self.find(&parts)
        if place == NONE:
            return None
        self.nodes[place].visited = 1
        return <object>self.nodes[place].value

    def peek(self, tuple key not None):
        """
        Give the value for a key without marking its entry.
        """
        cdef Parts parts
        cdef uint32_t place
        takeApart(key, &parts)
        place = self.find(&parts)
        return None if place == NONE else <object>self.nodes[place].value

    def put(self, tuple key not None, value, int64_t size, bint touch=True):
        """
        Keep a value. See L{dnsguard.caching.sieve.Sieve.put}.
        """
        cdef Parts parts
        cdef uint32_t place
        cdef Node *node
        takeApart(key, &parts)
        place = self.find(&parts)
        if size > self.maxBytes or size > <int64_t>0xFFFFFFFF:
            if place != NONE:
                self.remove(place)
            return False
        if place != NONE:
            node = &self.nodes[place]
            self.bytes += size - <int64_t>node.size
            node.size = <uint32_t>size
            node.visited = node.visited or touch
            self.hold(place, key[0], &parts, value)
            self.makeRoom(0, 0, place)
            return True
        self.makeRoom(1, size, NONE)
        place = self.newPlace()
        node = &self.nodes[place]
        node.hash = parts.hash
        node.type = parts.type
        node.cls = parts.cls
        node.flags = parts.flags
        node.nameSize = parts.nameSize
        node.size = <uint32_t>size
        node.visited = 0
        node.holder = node.value = NULL
        self.hold(place, key[0], &parts, value)
        node.newer = NONE
        node.older = self.newest
        if self.newest == NONE:
            self.oldest = place
        else:
            self.nodes[self.newest].newer = place
        self.newest = place
        self.file(place)
        self.count += 1
        self.bytes += size
        return True

    cdef int hold(self, uint32_t place, name, const Parts *parts, value) except -1:
        """
        Have an entry hold a value, and its name where there is one already.
        """
        cdef Node *node = &self.nodes[place]
        cdef PyObject *oldHolder = node.holder
        cdef PyObject *oldValue = node.value
        cdef Py_ssize_t size
        wire = getattr(value, "wire", None)
        node.nameAt = 0
        if type(wire) is bytes:
            size = PyBytes_GET_SIZE(wire)
            if size >= HEADER + parts.nameSize and not memcmp(
                PyBytes_AS_STRING(wire) + HEADER, parts.name, parts.nameSize
            ):
                name = wire
                node.nameAt = HEADER
        Py_INCREF(name)
        Py_INCREF(value)
        node.holder = <PyObject *>name
        node.value = <PyObject *>value
        if oldHolder != NULL:
            Py_DECREF(<object>oldHolder)
            Py_DECREF(<object>oldValue)
        return 0

    cdef uint32_t newPlace(self) except? 0xFFFFFFFF:
        """
        Find room for one more entry.
        """
        cdef uint32_t place = self.unused, room
        cdef void *more
        if self.count >= (self.mask >> 2) * 3:
            self.widen()
        if place != NONE:
            self.unused = self.nodes[place].older
            return place
        if self.used == self.room:
            # What isn't used yet of it takes no memory.
            room = self.room + (self.room >> 1) + LEAST_ROOM
            more = realloc(self.nodes, room * sizeof(Node))
            if more == NULL:
                raise MemoryError
            self.nodes = <Node *>more
            self.room = room
        place = self.used
        self.used += 1
        return place

    cdef int widen(self) except -1:
        """
        Make the hash table twice as large.
        """
        cdef uint32_t *old = self.places
        cdef uint32_t was = self.mask, i
        cdef uint32_t *places = <uint32_t *>calloc(2 * (<size_t>was + 1), sizeof(uint32_t))
        if places == NULL:
            raise MemoryError
        self.places = places
        self.mask = 2 * was + 1
        for i in range(was + 1):
            if old[i]:
                self.file(old[i] - 1)
        free(old)
        return 0

    cdef void file(self, uint32_t place) noexcept:
        """
        Put a place into the hash table.
        """
        cdef uint32_t at = self.nodes[place].hash & self.mask
        while self.places[at]:
            at = (at + 1) & self.mask
        self.places[at] = place + 1

    cdef void unfile(self, uint32_t place) noexcept:
        """
        Take a place out of the hash table, and move up what was put behind it
        for want of room.
        """
        cdef uint32_t at = self.nodes[place].hash & self.mask, next, home
        while self.places[at] != place + 1:
            at = (at + 1) & self.mask
        next = at
        while True:
            next = (next + 1) & self.mask
            if not self.places[next]:
                break
            home = self.nodes[self.places[next] - 1].hash & self.mask
            if ((next - home) & self.mask) >= ((next - at) & self.mask):
                self.places[at] = self.places[next]
                at = next
        self.places[at] = 0

    def discard(self, tuple key not None):
        """
        Drop a key. That doesn't count as an eviction.

        @return: Was it there?
        """
        cdef Parts parts
        cdef uint32_t place
        takeApart(key, &parts)
        place = self.find(&parts)
        if place == NONE:
            return False
        self.remove(place)
        return True

    def clear(self):
        """
        Drop everything.

        @return: How many entries there were.
        """
        cdef uint32_t count = self.count
        while self.oldest != NONE:
            self.remove(self.oldest)
        return count

    def keys(self):
        """
        Copy the keys of this moment, the oldest first.
        """
        cdef uint32_t place = self.oldest
        cdef Node *node
        found = []
        while place != NONE:
            node = &self.nodes[place]
            name = PyBytes_FromStringAndSize(
                PyBytes_AS_STRING(<object>node.holder) + node.nameAt, node.nameSize
            )
            found.append((name, node.type, node.cls, node.flags))
            place = node.newer
        return found

    def slices(self, uint32_t most):
        """
        Give the keys, some at a time. See L{dnsguard.caching.sieve.Sieve.slices}.
        """
        # An entry stays in its place for as long as it is there.
        cdef uint32_t place = 0
        while place < self.used:
            yield self.keysFrom(place, most)
            place += most

    cdef list keysFrom(self, uint32_t place, uint32_t most):
        """
        Copy the keys in a part of the array.
        """
        cdef uint32_t end = min(place + most, self.used)
        cdef Node *node
        found = []
        while place < end:
            node = &self.nodes[place]
            if node.value != NULL:
                name = PyBytes_FromStringAndSize(
                    PyBytes_AS_STRING(<object>node.holder) + node.nameAt, node.nameSize
                )
                found.append((name, node.type, node.cls, node.flags))
            place += 1
        return found

    def resize(self, int64_t maxEntries, int64_t maxBytes):
        """
        Set other bounds. See L{dnsguard.caching.sieve.Sieve.resize}.
        """
        if maxEntries < 1 or maxBytes < 1:
            raise ValueError("a cache must have room for something")
        self.maxEntries = maxEntries
        self.maxBytes = maxBytes

    cdef int makeRoom(self, int64_t entries, int64_t size, uint32_t spared) except -1:
        """
        Evict until so many more entries and octets fit.
        """
        cdef int i
        for i in range(<int>EVICTIONS):
            if self.count + entries <= self.maxEntries and self.bytes + size <= self.maxBytes:
                return 0
            self.evict(spared)
        return 0

    cdef int evict(self, uint32_t spared) except -1:
        """
        Let the hand walk to the next victim.
        """
        cdef uint32_t place = self.hand if self.hand != NONE else self.oldest
        cdef int64_t steps = STEPS
        while place != NONE and (
            place == spared or (self.nodes[place].visited and steps > 0)
        ):
            if place != spared:
                self.nodes[place].visited = 0
                steps -= 1
            place = self.nodes[place].newer
            if place == NONE:
                place = self.oldest
        if place != NONE:
            self.hand = place
            self.remove(place)
            self.evictions += 1
        return 0

    cdef int remove(self, uint32_t place) except -1:
        """
        Let an entry go.
        """
        cdef Node *node = &self.nodes[place]
        cdef PyObject *holder = node.holder
        cdef PyObject *value = node.value
        if self.hand == place:
            # NONE stands for the oldest: the hand wraps.
            self.hand = node.newer
        if node.newer == NONE:
            self.newest = node.older
        else:
            self.nodes[node.newer].older = node.older
        if node.older == NONE:
            self.oldest = node.newer
        else:
            self.nodes[node.older].newer = node.newer
        self.unfile(place)
        self.count -= 1
        self.bytes -= node.size
        node.older = self.unused
        node.holder = node.value = NULL
        self.unused = place
        Py_DECREF(<object>holder)
        Py_DECREF(<object>value)
        return 0
