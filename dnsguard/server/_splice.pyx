# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
A reply put together of request and answer in one copy.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

__all__ = ["splice"]

cdef enum:
    HEADER = 12
    TTL_LIMIT = 0x7FFFFFFF


def splice(
    bytes request not None, Py_ssize_t questionEnd, uint32_t flags, bytes wire not None,
    Py_ssize_t start, tuple ttls not None, long cap, bytes opt not None,
):
    """
    Make a reply.

    @param request: The request's octets; its id and question are taken.
    @param questionEnd: Where its question ends.
    @param flags: The reply's flags.
    @param wire: The answer's message: what is behind its question, and the
        numbers of records, are taken.
    @param start: Where its question ends: where the other one's does.
    @param ttls: Where its TTLs are.
    @param cap: The greatest TTL, or -1.
    @param opt: The reply's OPT record, or nothing.
    """
    cdef Py_ssize_t body = PyBytes_GET_SIZE(wire) - start
    cdef Py_ssize_t size = questionEnd + body + PyBytes_GET_SIZE(opt)
    cdef uint32_t additional, ttl
    cdef Py_ssize_t at
    cdef const uint8_t *answer = <const uint8_t *>PyBytes_AS_STRING(wire)
    cdef uint8_t *out
    if not HEADER <= questionEnd <= PyBytes_GET_SIZE(request) or start < HEADER or body < 0:
        raise ValueError("a question beyond its message")
    reply = PyBytes_FromStringAndSize(NULL, size)
    out = <uint8_t *>PyBytes_AS_STRING(reply)
    memcpy(out, PyBytes_AS_STRING(request), questionEnd)
    out[2] = flags >> 8
    out[3] = flags & 0xFF
    out[4] = 0
    out[5] = 1
    memcpy(out + 6, answer + 6, 6)
    if PyBytes_GET_SIZE(opt):
        additional = (<uint32_t>out[10] << 8 | out[11]) + 1
        out[10] = additional >> 8
        out[11] = additional & 0xFF
        memcpy(out + questionEnd + body, PyBytes_AS_STRING(opt), PyBytes_GET_SIZE(opt))
    memcpy(out + questionEnd, answer + start, body)
    if cap >= 0:
        for place in ttls:
            at = <Py_ssize_t>place - start + questionEnd
            if at < questionEnd or at + 4 > questionEnd + body:
                raise ValueError("a TTL beyond its message")
            ttl = (
                <uint32_t>out[at] << 24 | <uint32_t>out[at + 1] << 16
                | <uint32_t>out[at + 2] << 8 | out[at + 3]
            )
            if ttl > TTL_LIMIT:
                ttl = 0
            if ttl > cap:
                ttl = <uint32_t>cap
            out[at] = ttl >> 24
            out[at + 1] = ttl >> 16
            out[at + 2] = ttl >> 8
            out[at + 3] = ttl & 0xFF
    return reply
