# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.message} are where it is compiled.
"""


cdef class Entropy:
    cdef public bytes octets
    cdef Py_ssize_t _batch, _at

    cpdef Py_ssize_t draw(self, Py_ssize_t count) except -1
    cpdef bytes take(self, Py_ssize_t count)
