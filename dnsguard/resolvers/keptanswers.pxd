# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{keptanswers.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

cimport cython

from dnsguard.caching.clears cimport RecentClears
from dnsguard.query cimport QueryFacts
from dnsguard.resolvers.cached cimport entryOf


cdef class KeptAnswers:
    cdef public object _entries, _latestAnswer, _latestEntry, _now, _onDue, _policy, _rates
    cdef public object _refresh
    cdef public RecentClears clears
    cdef public dict _firstDue
    cdef public long _expiredEntryTTL, _hits, _misses, _refused, _staleHits
    cdef public double _latestKept, _staleTTL

    @cython.locals(now=double, remaining=double)
    cpdef answer(self, QueryFacts query)
    cpdef cacheResult(self, QueryFacts query, payload)
    @cython.locals(now=double)
    cpdef bint keep(self, QueryFacts query, payload, bint hot=*) except? False
    cpdef bint keepEntry(self, key, entry, bint touch=*) except? False
