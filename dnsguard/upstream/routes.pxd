# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.routes} are where it is compiled.
"""


cdef class UpstreamSet:
    cdef public dict groups
    cdef public tuple upstreams
    cdef public object timers
    cdef object _default
    cdef Py_ssize_t _routed

    cpdef find(self, bytes qname, int type)
