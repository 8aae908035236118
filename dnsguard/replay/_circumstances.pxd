# cython: language_level=3
# Copyright (c) The dnsguard developers. See LICENSE for details.
from libc.stdint cimport uint32_t


cdef class Circumstances:
    cdef list held, vacant
    cdef dict places
    cdef uint32_t *uses
    cdef size_t room
    cdef uint32_t use(self, object circumstances) except 0
    cdef object at(self, uint32_t place)
    cdef int unuse(self, uint32_t place) except -1
