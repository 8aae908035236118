# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
The common case of L{dnsguard.upstream.reply.readReply}, compiled.

Only the plain and sound reply is dealt with here: at most one OPT record,
without options and last. Whatever is otherwise, broken messages above all, is
left to the Python code.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

cdef extern from "Python.h":
    object PyType_GenericAlloc(type, Py_ssize_t)
    void PyTuple_SET_ITEM(object, Py_ssize_t, object)


cdef enum:
    HEADER = 12
    SOA = 6
    CNAME = 5
    OPT = 41
    TTL_LIMIT = 0x7FFFFFFF
    MAX_OWNERS = 15
    POINTER_REACH = 0x4000


cdef inline uint32_t _two(const unsigned char* at) noexcept nogil:
    return (<uint32_t> at[0] << 8) | at[1]


cdef inline uint32_t _four(const unsigned char* at) noexcept nogil:
    return (_two(at) << 16) | _two(at + 2)


cdef inline void _put(layout, Py_ssize_t at, value):
    """
    Set an item of a tuple that nobody else knows yet.
    """
    Py_INCREF(value)
    PyTuple_SET_ITEM(layout, at, value)


cdef inline bint _isAmong(const uint32_t* owners, int count, uint32_t owner) noexcept nogil:
    cdef int at
    for at in range(count):
        if owners[at] == owner:
            return True
    return False


cdef Py_ssize_t _behindName(const unsigned char* wire, Py_ssize_t size, Py_ssize_t start) noexcept nogil:
    """
    The offset behind the name at C{start}, or -1.
    """
    cdef Py_ssize_t at = start
    cdef unsigned int length
    while at < size:
        length = wire[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            if at + 2 > size:
                return -1
            length = ((length & 0x3F) << 8) | wire[at + 1]
            if length < HEADER or length >= start:
                return -1
            return at + 2
        if length > 63:
            return -1
        at += length + 1
        if at - start > 254:
            return -1
    return -1


def measure(bytes message not None, bytes question not None, Layout):
    """
    Take a plain reply apart.

    @param message: The reply; that its question section is this question in
        whatever letter case has been checked.
    @param question: The question section, lower-cased.
    @param Layout: L{dnsguard.wire.layout.Layout}.
    @return: The reply without hop-by-hop parts, its layout, the offset that its
        bare OPT record had or -1, and
        whether all owners of answers are pointers to the question's name or to
        the targets of aliases before them; L{None} if the reply isn't plain.
    """
    cdef const unsigned char* wire = <const unsigned char*> PyBytes_AS_STRING(message)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef Py_ssize_t asked = PyBytes_GET_SIZE(question)
    cdef Py_ssize_t at, start, end, opt = -1
    cdef Py_ssize_t sections[3]
    cdef uint32_t counts[3]
    cdef uint32_t number, type, ttl, length, minimum
    cdef long long least = -1, negative = -1
    cdef int section
    cdef bint chained = True
    cdef uint32_t owners[MAX_OWNERS + 1]
    cdef int known = 1
    cdef unsigned char* out
    cdef bytes stripped
    cdef list ttls = []
    owners[0] = 0xC000 | HEADER
    at = HEADER + asked
    if size < at or _two(wire + 4) != 1:
        return None
    for section in range(3):
        sections[section] = at
        counts[section] = _two(wire + 6 + 2 * section)
        for number in range(counts[section]):
            if opt >= 0:
                return None
            start = at
            at = _behindName(wire, size, at)
            if at < 0 or at + 10 > size:
                return None
            type = _two(wire + at)
            ttl = _four(wire + at + 4)
            length = _two(wire + at + 8)
            end = at + 10 + length
            if end > size:
                return None
            if section == 0:
                if at - start != 2 or not _isAmong(owners, known, _two(wire + start)):
                    chained = False
                elif (
                    type == CNAME and length >= 2
                    and at + 10 < POINTER_REACH and known < MAX_OWNERS
                ):
                    owners[known] = 0xC000 | <uint32_t> (at + 10)
                    owners[known + 1] = _two(wire + at + 10)
                    known += 2 if wire[at + 10] >= 0xC0 else 1
            if type == OPT:
                if section != 2 or at - start != 1 or length:
                    return None
                opt = start
            else:
                ttls.append(at + 4)
                if ttl > TTL_LIMIT:
                    ttl = 0
                if section == 0 and (least < 0 or ttl < least):
                    least = ttl
                if section == 1 and type == SOA and length >= 22:
                    minimum = _four(wire + end - 4)
                    negative = ttl if ttl < minimum else minimum
            at = end
    if at != size:
        return None
    end = size
    if opt >= 0:
        end = opt
        counts[2] -= 1
    stripped = PyBytes_FromStringAndSize(NULL, end)
    out = <unsigned char*> PyBytes_AS_STRING(stripped)
    memcpy(out, wire, end)
    out[0] = out[1] = 0
    out[10] = counts[2] >> 8
    out[11] = counts[2] & 0xFF
    memcpy(out + HEADER, PyBytes_AS_STRING(question), asked)
    # tuple.__new__() would make a tuple of these first.
    layout = PyType_GenericAlloc(Layout, 15)
    _put(layout, 0, 0)
    _put(layout, 1, _two(wire + 2))
    _put(layout, 2, (1, counts[0], counts[1], counts[2]))
    _put(layout, 3, PyBytes_FromStringAndSize(PyBytes_AS_STRING(question), asked - 4))
    _put(layout, 4, _two(wire + HEADER + asked - 4))
    _put(layout, 5, _two(wire + HEADER + asked - 2))
    _put(layout, 6, HEADER + asked)
    _put(layout, 7, tuple(ttls))
    _put(layout, 8, None if least < 0 else least)
    _put(layout, 9, None if negative < 0 else negative)
    _put(layout, 10, None)
    _put(layout, 11, False)
    _put(layout, 12, None)
    _put(layout, 13, (sections[0], sections[1], sections[2]))
    _put(layout, 14, end)
    return stripped, layout, opt, chained
