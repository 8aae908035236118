# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.reply} are where it is compiled.
"""

cimport cython


cdef class Reply:
    cdef readonly bytes wire
    cdef readonly object layout, edns
    cdef readonly int rCode


@cython.locals(bare=bytes)
cpdef Reply readReply(bytes wire, bytes question)
