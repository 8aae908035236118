# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
The common cases of L{dnsguard.wire.layout.scan}, compiled.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from dnsguard.wire._scan cimport DG_HEADER, dg_scan, dg_scanMessage, dg_two

__all__ = ["scanPlain", "scanRequest"]


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


cdef enum:
    QUERY = 0xF800  # QR and the opcode
    IN = 1
    OPT = 41
    FIRST_META = 128
    LAST_META = 255
    OPT_VERSION = 6  # where it is behind the owner's octet


def scanRequest(bytes message not None, decode):
    """
    Take apart a request that is to be asked of the chain: a standard query, one
    question for data of class IN, and at most an OPT record of version 0.

    @param message: Any octets.
    @param decode: As for L{scanPlain}.
    @return: The flags, the name in lower case, its type, the offset behind the
        question, and what the OPT record says; L{None} if it is another request
        or none: then L{dnsguard.server.admission} knows what to do with it.
    """
    cdef dg_scan found
    cdef const uint8_t *wire = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef size_t size = PyBytes_GET_SIZE(message)
    if size < DG_HEADER or dg_two(wire + 2) & QUERY:
        return None
    if not dg_scanMessage(wire, size, &found):
        return None
    if found.counts[1] or found.counts[2] or found.cls != IN:
        return None
    if FIRST_META <= found.type <= LAST_META or found.type == 0 or found.type == OPT:
        return None
    edns = None
    if found.optEnd:
        if found.optEnd < found.optStart + 11 or wire[found.optStart]:
            return None
        if wire[found.optStart + OPT_VERSION]:
            return None
        try:
            edns = decode(message, found.optStart, found.optEnd)
        except ValueError:
            return None
    return (
        dg_two(wire + 2), lowered(wire + DG_HEADER, found.nameEnd - DG_HEADER), found.type,
        found.questionEnd, edns,
    )
