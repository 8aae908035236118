# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{answer.py} as it is compiled: where its attributes are.
"""


cdef class Answer:
    cdef public int rCode
    cdef public object outcome, extendedError, attribution
    cdef public str upstream
    cdef public bint authoritative, authenticData, final
    cdef public long cacheSeconds
    cdef public double replaySeconds
    cdef public bytes _wire
    cdef public object _layout, _sections
