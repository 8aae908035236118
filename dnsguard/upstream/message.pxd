# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.message} are where it is compiled.
"""


cdef class Entropy:
    cdef Py_ssize_t _batch, _at
    cdef bytes _octets

    cpdef bytes take(self, Py_ssize_t count)
