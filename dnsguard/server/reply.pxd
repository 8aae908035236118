# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{reply.py} as it is compiled: what of it is called without looking it up.
"""

cimport cython

from dnsguard.answer cimport Answer
from dnsguard.query cimport QueryFacts


cpdef bytes composePlain(
    bytes request, int flags, Py_ssize_t questionEnd, QueryFacts query, Answer answer, limits
)
@cython.locals(rCode=int)
cdef tuple _edges(
    int flags, Py_ssize_t questionEnd, QueryFacts query, Answer answer, limits
)
cdef bint _fits(QueryFacts query, found) except? False
cdef Py_ssize_t _room(transport, edns, limits) except? -1
cdef bytes _opt(edns, int rCode, transport, limits)
cpdef bint isTruncated(bytes reply) except? False
