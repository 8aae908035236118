# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.coalesce} are where it is compiled.
"""

cimport cython

from dnsguard.upstream.exchange cimport Exchange, Group


cdef class Coalescer:
    cdef public Py_ssize_t joined, refused
    cdef public object trace
    cdef object _clock, _end
    cdef Py_ssize_t _maxExchanges, _maxWaiters
    cdef dict _underWay

    @cython.locals(exchange=Exchange, now=double)
    cpdef askInto(self, tuple question, Group group, double timeout, receive)
