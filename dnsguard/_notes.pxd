# cython: language_level=3
# Copyright (c) The dnsguard developers. See LICENSE for details.
from libc.stdint cimport uint32_t, uint64_t


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
