# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the numbers of L{dnsguard.upstream.selection} are where it is compiled.
"""

cimport cython

from dnsguard.histogram cimport Histogram


cdef class Standing:
    cdef public double backoff, backoffUntil, lastReply, latency, plainUntil
    cdef public long long caseChanged, late, malformed, mismatched, plain, queries
    cdef public long long reconnects, refusals, replies, retransmissions, truncated, unsent
    cdef public dict failures
    cdef public Histogram times

    cpdef replied(self, double seconds, double now)
    cpdef failed(self, kind, double asked, double now)
    cpdef bint usable(self, double now)


cdef class Selector:
    cdef public object strategy
    cdef public tuple standings
    cdef object _random
    cdef Py_ssize_t _turn

    @cython.locals(standing=Standing)
    cpdef pick(self, double now, tried=*, Py_ssize_t last=*)
    @cython.locals(standing=Standing, place=Py_ssize_t)
    cdef _inOrder(self, double now, tried)
    @cython.locals(standing=Standing, place=Py_ssize_t, count=Py_ssize_t, step=Py_ssize_t)
    cdef _inTurn(self, double now, tried, Py_ssize_t last)
