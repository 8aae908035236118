# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{sliding.py} as it is compiled: where its attributes are, and what of it is called
without looking it up.
"""

cimport cython


cdef class SlidingCounts:
    cdef public double window
    cdef public long uncounted
    cdef long _capacity
    cdef double _slice, _began
    cdef object _since
    cdef list _slices

    @cython.locals(newest=dict)
    cpdef add(self, key, double hits, double now)
    @cython.locals(passed=long)
    cdef _turn(self, double now)
