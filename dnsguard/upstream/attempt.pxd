# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.attempt} are where it is compiled.
"""

from dnsguard.upstream.selection cimport Standing


cdef class Attempt:
    cdef public object carrier, exchange, via
    cdef public Standing standing
    cdef public double asked, deadline, due
    cdef public Py_ssize_t place, sends
    cdef public bint plain
    cdef public bytes id, message, sent

    cpdef timedOut(self, double now)
    cpdef succeed(self, reply, double now)
    cpdef fail(self, kind, str reason, double now)
    cpdef abandon(self)
