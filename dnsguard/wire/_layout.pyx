# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
The common case of L{dnsguard.wire.layout.scan}, compiled.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

__all__ = ["scanPlain"]


cdef extern from "scan.h" nogil:
    ctypedef struct dg_scan:
        uint32_t counts[4]
        uint32_t type, cls
        size_t nameEnd, questionEnd
        size_t sections[3]
        int64_t least, negative
        size_t optStart, optEnd
        unsigned int ttlCount
        uint16_t ttls[256]

    enum:
        DG_HEADER

    uint32_t dg_two(const uint8_t *)
    int dg_scanMessage(const uint8_t *, size_t, dg_scan *)


cdef bytes lowered(const uint8_t *octets, Py_ssize_t size):
    """
    A name in lower case. Lengths of labels are below the letters.
    """
    cdef bytes name = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(name)
    cdef Py_ssize_t at
    cdef uint8_t octet
    for at in range(size):
        octet = octets[at]
        out[at] = octet + 32 if 65 <= octet <= 90 else octet
    return name


def scanPlain(bytes message not None, Layout, decode):
    """
    Note where everything stands in a message.

    @param message: The message.
    @param Layout: The class of what is returned.
    @param decode: Reads an OPT record, see L{dnsguard.wire.edns.EDNS.decode}.
    @return: L{None} if it hasn't one question, or is in any way unsound.
    """
    cdef dg_scan found
    cdef const uint8_t *wire = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef size_t size = PyBytes_GET_SIZE(message)
    cdef unsigned int at
    if not dg_scanMessage(wire, size, &found):
        return None
    ttls = ()
    if found.ttlCount:
        ttls = tuple([found.ttls[at] for at in range(found.ttlCount)])
    opt = edns = None
    if found.optEnd:
        opt = (found.optStart, found.optEnd)
        edns = decode(message, found.optStart, found.optEnd)
    return tuple.__new__(Layout, (
        dg_two(wire),
        dg_two(wire + 2),
        (found.counts[0], found.counts[1], found.counts[2], found.counts[3]),
        lowered(wire + DG_HEADER, found.nameEnd - DG_HEADER),
        found.type,
        found.cls,
        found.questionEnd,
        ttls,
        None if found.least < 0 else found.least,
        None if found.negative < 0 else found.negative,
        opt,
        found.optEnd != 0 and found.optEnd == size,
        edns,
        (found.sections[0], found.sections[1], found.sections[2]),
        size,
    ))
