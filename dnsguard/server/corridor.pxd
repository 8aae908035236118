# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{corridor.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

cimport cython

from dnsguard.answer cimport Answer
from dnsguard.observers.event cimport QueryEvent
from dnsguard.query cimport QueryFacts, newQuery
from dnsguard.server.counters cimport ServerCounters
from dnsguard.server.exchange cimport Exchange
from dnsguard.server.pending cimport PendingQueries
from dnsguard.server.reply cimport composePlain, isTruncated


cdef class Corridor:
    cdef public object limits
    cdef public ServerCounters counters
    cdef public PendingQueries pending
    cdef object _resolver, _answerInto, _policies, _policy, _replay, _seconds, _wallClock
    cdef dict _known, _throttles
    cdef tuple _observers, _tells

    @cython.locals(flags=int, type=int, questionEnd=Py_ssize_t)
    cdef _receive(self, bytes request, bytes address, transport, respond)
    cdef _receiveAny(self, bytes request, bytes address, transport, respond)
    cdef Exchange _made(
        self, bytes request, int flags, bytes name, int type, int cls, Py_ssize_t questionEnd,
        edns, bytes address, transport, respond
    )
    cdef _identify(self, policy, bytes address)
    cdef _ask(self, Exchange exchange)
    cdef _await(self, Exchange exchange, result)
    cdef _wait(self, Exchange exchange, answering)
    cpdef answered(self, Exchange exchange, answer)
    @cython.locals(
        query=QueryFacts, answer=Answer, began=double, finished=double, event=QueryEvent,
        counters=ServerCounters
    )
    cpdef _finish(self, Exchange exchange, result, str error=*)
    @cython.locals(query=QueryFacts)
    cdef _reply(self, Exchange exchange, result)
