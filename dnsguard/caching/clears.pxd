# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{clears.py} as it is compiled: where its attributes are, and what of it is called
without looking it up.
"""


cdef class RecentClears:
    cdef long _capacity
    cdef double _everything
    cdef object _names

    cpdef bint overtook(self, bytes qname, double asked, double now) except? False
