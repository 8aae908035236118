# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{exchange.py} as it is compiled: where its attributes are.
"""

from dnsguard.query cimport QueryFacts


cdef class Exchange:
    cdef public object ending, policy, respond, answering, _layout
    cdef public bytes request
    cdef public QueryFacts query
    cdef public int flags
    cdef public Py_ssize_t questionEnd
