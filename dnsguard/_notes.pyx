# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twin of L{dnsguard.notes}: a hash table of entry numbers, and an
array of counts.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

__all__ = ["EntryNotes"]

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define prefetch(address) __builtin_prefetch(address)
    #else
    #define prefetch(address) ((void)(address))
    #endif
    """
    void prefetch(const void *address) noexcept nogil

cdef enum:
    RECORD_SIZE = 40
    FIRST_SLOTS = 64
    MOST = 1 << 24
    # Records between one that is at hand and one whose note is fetched.
    AHEAD = 8

cdef uint32_t SKIPPED = 0xFFFFFFFF


cdef packed struct Record:
    uint64_t when
    uint64_t number
    uint32_t took
    uint16_t octets
    uint8_t transport
    uint8_t family
    uint8_t address[16]


cdef inline size_t home(uint64_t number, size_t mask) noexcept nogil:
    return (number * <uint64_t>0x9E3779B97F4A7C15 >> 32) & mask


cdef class EntryNotes:
    """
    See L{dnsguard.notes.EntryNotes}.
    """

    def __cinit__(self, note, bint apart=False):
        self.note = note
        self.apart = apart
        self.mask = FIRST_SLOTS - 1
        self.slots = <Slot *>calloc(FIRST_SLOTS, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.slots)
        free(self.counts)

    def __len__(self):
        return self.used

    def clear(self):
        """
        Forget all entries; what was counted stays.
        """
        cdef Slot *slots = <Slot *>calloc(FIRST_SLOTS, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        free(self.slots)
        self.slots = slots
        self.mask = FIRST_SLOTS - 1
        self.used = 0

    def find(self, uint64_t number, entries):
        """
        Give an entry's note.
        """
        return self.at(number, entries)

    cdef void expect(self, uint64_t number) noexcept nogil:
        """
        Have the memory at hand that an entry's note is in, which will be asked for in a
        moment: those of many entries don't fit into a core's caches.
        """
        prefetch(&self.slots[home(number, self.mask)])

    cdef uint32_t at(self, uint64_t number, entries) except? 0xFFFFFFFE:
        cdef size_t place = home(number, self.mask)
        while self.slots[place].used:
            if self.slots[place].number == number:
                return self.slots[place].note
            place = (place + 1) & self.mask
        return self.learn(number, entries)

    cdef uint32_t learn(self, uint64_t number, entries) except? 0xFFFFFFFE:
        """
        Note an entry that wasn't met before.
        """
        cdef size_t place
        made = self.note(entries[number])
        if made != SKIPPED and not 0 <= made < MOST:
            raise ValueError(f"{made} is no note")
        # The table isn't looked at before: whoever was asked may have cleared it.
        if 2 * (self.used + 1) > self.mask:
            self.grow()
        place = home(number, self.mask)
        while self.slots[place].used and self.slots[place].number != number:
            place = (place + 1) & self.mask
        self.used += not self.slots[place].used
        self.slots[place].used = 1
        self.slots[place].number = number
        self.slots[place].note = made
        return self.slots[place].note

    cdef int grow(self) except -1:
        cdef size_t mask = 2 * self.mask + 1, i, place
        cdef Slot *slots = <Slot *>calloc(mask + 1, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        for i in range(self.mask + 1):
            if not self.slots[i].used:
                continue
            place = home(self.slots[i].number, mask)
            while slots[place].used:
                place = (place + 1) & mask
            slots[place] = self.slots[i]
        free(self.slots)
        self.slots = slots
        self.mask = mask
        return 0

    cdef int makeRoom(self, size_t place) except -1:
        """
        Let there be a count in a place.
        """
        cdef size_t room = 64
        cdef uint64_t *counts
        if place >= self.room:
            while room <= place:
                room *= 2
            counts = <uint64_t *>realloc(self.counts, room * sizeof(uint64_t))
            if counts == NULL:
                raise MemoryError
            memset(counts + self.room, 0, (room - self.room) * sizeof(uint64_t))
            self.counts = counts
            self.room = room
        self.counted = place + 1
        return 0

    def count(self, batch):
        """
        Count the queries of a batch.
        """
        cdef const uint8_t[::1] view = memoryview(batch.records).cast("B")
        cdef Py_ssize_t count = view.shape[0] // RECORD_SIZE, i
        cdef const Record *record
        cdef size_t place
        cdef uint32_t note
        if view.shape[0] % RECORD_SIZE:
            raise ValueError("records are 40 octets each")
        if not count:
            return
        entries = batch.entries
        record = <const Record *>&view[0]
        for i in range(count):
            if i + AHEAD < count:
                self.expect(record[i + AHEAD].number)
            note = self.at(record[i].number, entries)
            if note == SKIPPED:
                continue
            place = 2 * <size_t>note + (record[i].transport != 0) if self.apart else note
            if place >= self.counted:
                self.makeRoom(place)
            self.counts[place] += 1

    def take(self):
        """
        Give what was counted since the last call.
        """
        cdef size_t i
        taken = [self.counts[i] for i in range(self.counted)]
        memset(self.counts, 0, self.counted * sizeof(uint64_t))
        self.counted = 0
        return taken
