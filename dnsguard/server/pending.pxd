# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{pending.py} as it is compiled: where its attributes are.
"""


cdef class PendingQueries:
    cdef double _seconds
    cdef object _expire, _clock, _timer
    cdef dict _deadlines
    cdef list _waiters

    cpdef add(self, waiting, double now)
    cpdef remove(self, waiting)
