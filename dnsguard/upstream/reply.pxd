# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.reply} are where it is compiled.
"""


cdef class Reply:
    cdef readonly bytes wire
    cdef readonly object layout, edns
    cdef readonly int rCode


cpdef Reply readReply(bytes wire, bytes question)
cdef _bareEDNS(bytes octets)
