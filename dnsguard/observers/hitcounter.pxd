# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{hitcounter.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

from dnsguard.caching.sliding cimport SlidingCounts
from dnsguard.observers.event cimport QueryEvent


cdef class Noting:
    cdef public long _capacity, uncounted
    cdef public object _clock, _onStale, _random, _store
    cdef public SlidingCounts _counts
    cdef public double _sampleRate
    cdef public dict _waiting

    cpdef queryAnswered(self, QueryEvent event)
    cpdef _sampled(self, long hits)
    cpdef _note(self, key, long hits, double now)
