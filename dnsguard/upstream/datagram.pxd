# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What the attributes of L{dnsguard.upstream.datagram} are where it is compiled.
"""

cimport cython

from dnsguard.upstream.attempt cimport Attempt
from dnsguard.upstream.exchange cimport Exchange
from dnsguard.upstream.message cimport Entropy
from dnsguard.upstream.ports cimport Port, PortPool
from dnsguard.upstream.reply cimport Reply
from dnsguard.upstream.selection cimport Standing
from dnsguard.upstream.wheel cimport TimerWheel


cdef class DatagramUpstream:
    cdef public str name
    cdef public object address
    cdef public Standing standing
    cdef public Py_ssize_t inFlight
    cdef object _clock, _connections, _seconds
    cdef PortPool _ports
    cdef TimerWheel _wheel
    cdef Entropy _entropy
    cdef bint _closed, _mixCase, _retired
    cdef readonly double _foldsUntil
    cdef Py_ssize_t _maxInFlight, _strikes

    @cython.locals(now=double, wait=double, least=double, most=double)
    cpdef send(self, Attempt attempt)
    @cython.locals(exchange=Exchange, entropy=Entropy, port=Port, name=bytes)
    cdef _transmit(self, Attempt attempt, double now)
    @cython.locals(attempt=Attempt, exchange=Exchange, sent=bytes, reply=Reply, now=double)
    cpdef datagramReceived(self, Port port, bytes datagram)
    cpdef portFailed(self, Port port, error)
    cpdef sendFailed(self, Port port, bytes message, error)
    cpdef attemptTimedOut(self, Attempt attempt, double now)
    cpdef abandon(self, Attempt attempt)
    @cython.locals(port=Port)
    cdef _release(self, Attempt attempt, bint late=*)
