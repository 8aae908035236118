# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{corridor.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

cimport cython

from dnsguard.query cimport newQuery
from dnsguard.server.exchange cimport Exchange
from dnsguard.server.respondent cimport Respondent


cdef class Corridor(Respondent):
    cdef object _policy
    cdef dict _known

    @cython.locals(flags=int, type=int, questionEnd=Py_ssize_t)
    cdef _receive(self, bytes request, bytes address, transport, respond)
    cdef _receiveAny(self, bytes request, bytes address, transport, respond)
    cdef Exchange _made(
        self, bytes request, int flags, bytes name, int type, int cls, Py_ssize_t questionEnd,
        edns, bytes address, transport, respond, layout
    )
    cdef _identify(self, policy, bytes address)
