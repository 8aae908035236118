# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{event.py} as it is compiled: where its attributes are.
"""

from dnsguard.answer cimport Answer
from dnsguard.query cimport QueryFacts


cdef class QueryEvent:
    cdef public QueryFacts query
    cdef public Answer answer
    cdef public double finished, duration, cacheSeconds, writeSeconds
    cdef public long replySize
    cdef public str error
