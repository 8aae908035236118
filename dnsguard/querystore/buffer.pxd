# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{buffer.py} as it is compiled: where its attributes are, and what of it is called
without looking it up.
"""

cimport cython

from dnsguard.answer cimport Answer
from dnsguard.observers.event cimport QueryEvent
from dnsguard.query cimport QueryFacts
from dnsguard.querystore.rows cimport framedFact


cdef class RowBuffer:
    cdef public long capacity, recorded, dropped, leftOut
    cdef public object _random
    cdef long _maxOctets, _octets, _lastClient, _threshold
    cdef object _clientOf, _nameOf, _excludesName, _upstreamTransport, _instance, _lastAsker
    cdef public object _replayed
    cdef bytearray _rows
    cdef list _clients, _facts
    cdef dict _clientIndexes, _packedIndexes, _factIndexes, _frames

    cdef _begin(self)
    @cython.locals(query=QueryFacts, client=long, fact=long, size=long)
    cpdef add(self, QueryEvent event)
    @cython.locals(query=QueryFacts, answer=Answer)
    cdef _eventIndex(self, QueryEvent event)
    @cython.locals(query=QueryFacts, answer=Answer, plain=bint)
    cdef _frame(self, QueryEvent event)
    cdef _append(self, list fragments, bytes made)
    cdef _clientIndex(self, address, name)
    cpdef take(self)
