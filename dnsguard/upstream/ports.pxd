# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.ports} are where it is compiled.
"""

cimport cython


cdef class Port:
    cdef public object socket, receive, send
    cdef public int number
    cdef public dict waiting
    cdef public set late
    cdef public Py_ssize_t guesses, uses
    cdef public bint fresh

    cpdef giveUp(self, bytes id)


cdef class PortPool:
    cdef public Py_ssize_t opened, shortages, size
    cdef public dict ports
    cdef public object reader
    cdef object _family, _flushing, _peer, _pruning, _reactor, _watch
    cdef list _outbox, _slots

    @cython.locals(place=Py_ssize_t, port=Port)
    cpdef Port draw(self, long chance)
    cpdef post(self, Port port, bytes message)
    cpdef received(self, list arrived)
