# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.exchange} are where it is compiled.
"""

cimport cython

from dnsguard.upstream.attempt cimport Attempt
from dnsguard.upstream.reply cimport Reply
from dnsguard.upstream.selection cimport Selector
from dnsguard.upstream.waiter cimport Waiter


cdef class Group:
    cdef readonly tuple upstreams
    cdef readonly Selector selector


cdef class Exchange:
    cdef public tuple question
    cdef public bytes qname, tail
    cdef public bint checkingDisabled, dnssecOK
    cdef public Group group
    cdef public double deadline
    cdef public list waiters
    cdef public object answer
    cdef object _ended, _trace, _tried
    cdef list _attempts
    cdef Py_ssize_t _last
    cdef tuple _fallback
    cdef str _reason
    cdef bint _over

    cpdef Waiter join(self, receive)
    cpdef leave(self, Waiter waiter)
    cpdef start(self, double now)
    cpdef replied(self, Attempt attempt, Reply reply, double now)
    cpdef failed(self, Attempt attempt, str reason, double now)
    cpdef abandon(self)
    cdef _goOn(self, double now)
    @cython.locals(group=Group, remaining=double, left=Py_ssize_t)
    cdef _askNext(self, double now)
    @cython.locals(group=Group)
    cdef Attempt _attempt(self, place, double now, double deadline)
    cpdef giveUp(self)
    @cython.locals(waiter=Waiter)
    cdef _finish(self, answer)


cdef bint _isVerdict(Reply reply) except *
cdef _answer(Reply reply, str upstream)
