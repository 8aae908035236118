# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.waiter} are where it is compiled.
"""


cdef class Waiter:
    cdef object _exchange, _receive

    cpdef cancel(self)
    cpdef tell(self, answer)
