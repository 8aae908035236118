# cython: language_level=3
# Copyright (c) The dnsguard developers. See LICENSE for details.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    RECORD_SIZE = 40
    # Records between one that is at hand and one whose note is fetched.
    AHEAD = 8


# See dnsguard.interfaces.IReplayBatch.
cdef packed struct Record:
    int64_t when
    uint64_t number
    uint32_t took
    uint16_t octets
    uint8_t transport
    uint8_t family
    uint8_t address[16]


cdef packed struct Slot:
    uint64_t number
    uint32_t held


cdef class EntryNotes:
    cdef object note
    cdef bint apart
    cdef Slot *slots
    cdef uint64_t slotCount
    cdef size_t used
    cdef uint64_t *counts
    cdef size_t room, counted
    cdef void expect(self, uint64_t number) noexcept nogil
    cdef uint32_t at(self, uint64_t number, entries) except? 0xFFFFFFFE
    cdef Slot *slotOf(self, uint64_t number) noexcept
    cdef uint32_t learn(self, uint64_t number, entries) except? 0xFFFFFFFE
    cdef int grow(self) except -1
    cdef int makeRoom(self, size_t place) except -1
