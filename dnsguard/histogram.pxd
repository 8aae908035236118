# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{histogram.py} as it is compiled: where its attributes are.
"""


cdef class Histogram:
    cdef public tuple bounds
    cdef public list counts
    cdef public double total

    cpdef add(self, double seconds, long times=*)
