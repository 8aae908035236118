# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{metrics.py} as it is compiled: where its attributes are.
"""

cimport cython

from dnsguard.answer cimport Answer
from dnsguard.histogram cimport Histogram
from dnsguard.observers.event cimport QueryEvent
from dnsguard.query cimport QueryFacts


cdef class Series:
    cdef public object key
    cdef public long place, chained


cdef class QueryMetrics:
    cdef public dict durations
    cdef public dict _series, _known, _kindOf, _owed
    cdef public list _replayed, _kinds
    cdef public object _notes
    cdef public long _batches

    @cython.locals(query=QueryFacts, answer=Answer, series=Series, took=Histogram)
    cpdef queryAnswered(self, QueryEvent event)
