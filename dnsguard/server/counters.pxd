# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{counters.py} as it is compiled: where its attributes are.
"""


cdef class ServerCounters:
    cdef public long received, dropped, malformed, refused, answered, undelivered
    cdef public long truncated, failed, overloaded, expired, unobserved
