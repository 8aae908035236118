# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{query.py} as it is compiled: where its attributes are.
"""

cimport cython


cdef class QueryFacts:
    cdef public bytes qname
    cdef public int type, cls
    cdef public bint recursionDesired, checkingDisabled, wantsAD
    cdef public double received
    cdef public tuple key
    cdef public object asker, transport, edns, timeout, view, _name


@cython.locals(query=QueryFacts, keyFlags=int)
cpdef newQuery(
    bytes qname, int type, int cls, asker, transport, edns, int flags, double received, view
)
