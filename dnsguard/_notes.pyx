# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twin of L{dnsguard.notes}: a hash table of entry numbers, and an
array of counts.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
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
    FIRST_SLOTS = 64
    MOST = 1 << 24

cdef uint32_t SKIPPED = 0xFFFFFFFF


cdef inline uint64_t home(uint64_t number, uint64_t slotCount) noexcept nogil:
    # Numbers that follow each other are spread evenly by this, so that the
    # table can be rather full.
    return (number * <uint64_t>0x9E3779B97F4A7C15 >> 32) * slotCount >> 32


cdef inline uint32_t noteIn(const Slot *slot) noexcept nogil:
    """
    Give the note in a slot that is taken. It is held plus 1, so that what is
    all zero is free; but L{SKIPPED} is as it is.
    """
    return slot.held - 1 if slot.held != SKIPPED else SKIPPED


cdef class EntryNotes:
    """
    See L{dnsguard.notes.EntryNotes}.
    """

    def __cinit__(self, note, bint apart=False):
        self.note = note
        self.apart = apart
        self.slotCount = FIRST_SLOTS
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
        self.slotCount = FIRST_SLOTS
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
        prefetch(&self.slots[home(number, self.slotCount)])

    cdef Slot *slotOf(self, uint64_t number) noexcept:
        """
        Find where an entry's note is, or where it would be: that slot is free.
        """
        cdef uint64_t place = home(number, self.slotCount)
        while self.slots[place].held and self.slots[place].number != number:
            place += 1
            if place == self.slotCount:
                place = 0
        return &self.slots[place]

    cdef uint32_t at(self, uint64_t number, entries) except? 0xFFFFFFFE:
        cdef Slot *slot = self.slotOf(number)
        return noteIn(slot) if slot.held else self.learn(number, entries)

    cdef uint32_t learn(self, uint64_t number, entries) except? 0xFFFFFFFE:
        """
        Note an entry that wasn't met before.
        """
        cdef Slot *slot
        made = self.note(entries[number])
        if made != SKIPPED and not 0 <= made < MOST:
            raise ValueError(f"{made} is no note")
        # The table isn't looked at before: whoever was asked may have cleared it.
        if 8 * (self.used + 1) > 7 * self.slotCount:
            self.grow()
        slot = self.slotOf(number)
        self.used += not slot.held
        slot.number = number
        slot.held = SKIPPED if made == SKIPPED else <uint32_t>made + 1
        return made

    cdef int grow(self) except -1:
        """
        Make half as much room again: it is moved seldom enough, and most of it
        is in use.
        """
        cdef uint64_t before = self.slotCount, i
        cdef Slot *old = self.slots
        cdef Slot *slots = <Slot *>calloc(before + before // 2, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        self.slots = slots
        self.slotCount = before + before // 2
        for i in range(before):
            if old[i].held:
                self.slotOf(old[i].number)[0] = old[i]
        free(old)
        return 0

    def meet(self, batch, Py_ssize_t most):
        """
        Note entries of a batch that weren't met before, and count nothing.
        """
        cdef const uint8_t[::1] view = memoryview(batch.records).cast("B")
        cdef Py_ssize_t count = view.shape[0] // RECORD_SIZE, i, met = 0
        cdef const Record *record
        if view.shape[0] % RECORD_SIZE:
            raise ValueError("records are 40 octets each")
        if not count:
            return 0
        entries = batch.entries
        record = <const Record *>&view[0]
        for i in range(count):
            if self.slotOf(record[i].number).held:
                continue
            if met >= most:
                break
            self.learn(record[i].number, entries)
            met += 1
        return met

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
