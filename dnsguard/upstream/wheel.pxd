# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.wheel} are where it is compiled.
"""


cdef class TimerWheel:
    cdef object _clock, _call
    cdef double _tick, _rate
    cdef dict _slots

    cpdef add(self, timed)
    cpdef close(self)
