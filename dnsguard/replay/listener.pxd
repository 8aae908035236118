# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{listener.py} as it is compiled: where its attributes are, and what of it is
called without looking it up.
"""


cdef class _Way:
    cdef CompiledDatagramListener _listener
    cdef bytes _peer


cdef class CompiledDatagramListener:
    cdef object _socket, _door, _reactor, _mode, _worker, _wake, _outgoing
    cdef public object _thread
    cdef bint _reading, _flushing, _full, _closed
    cdef long _queued, _dropped
    cdef object __weakref__

    cpdef bint respond(self, bytes peer, bytes reply) except? False
    cdef _take(self)
    cdef _flush(self)
