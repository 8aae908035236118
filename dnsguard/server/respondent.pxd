# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{respondent.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

cimport cython

from dnsguard.answer cimport Answer
from dnsguard.observers.event cimport QueryEvent
from dnsguard.query cimport QueryFacts
from dnsguard.server.counters cimport ServerCounters
from dnsguard.server.exchange cimport Exchange
from dnsguard.server.pending cimport PendingQueries
from dnsguard.server.reply cimport composePlain, isTruncated


cdef class Respondent:
    cdef public object limits
    cdef public ServerCounters counters
    cdef public PendingQueries pending
    cdef object _resolver, _answerInto, _policies, _replay, _seconds, _wallClock
    cdef dict _throttles
    cdef tuple _observers, _tells

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
