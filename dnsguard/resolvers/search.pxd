# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{search.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""

cimport cython

from dnsguard.answer cimport Answer


cdef class Course:
    cdef public tuple elements, prompt, asks, cachesBefore, caches
    cdef public object clock
    cdef public double staleAfter, silentUntil
    cdef public long broken, offersFailed, hurried
    cdef object _throttle

    cpdef offer(self, tuple caches, query, answer)
    cpdef broke(self, Py_ssize_t place, query, failure=*)


cdef class Search:
    cdef public Course course
    cdef public object query, receive
    cdef Py_ssize_t _place, _failedAt
    cdef object _cancel, _arrived, _timer, _usable, _failed
    cdef bint _over, _asking, _raced

    cpdef begin(self)
    cpdef took(self, answer)
    cdef _tell(self, result)
    cdef _judge(self, answer)
    @cython.locals(course=Course, asks=tuple, prompt=tuple)
    cdef _goOn(self, Py_ssize_t place)
    cdef _await(self, answer)
    cdef _waited(self)
    cdef _keep(self, answer)
    @cython.locals(course=Course)
    cdef _decide(self, answer)
    @cython.locals(course=Course)
    cdef _makeDo(self)
