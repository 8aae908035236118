# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
A key's text in a shared store, for names of the usual letters.

Once for each lookup there: see L{dnsguard.caching.key.storeText}.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

__all__ = ["plainText"]


cdef enum:
    MOST = 255
    # "dns:", the name, two numbers with their colons, ":do:cd".
    ROOM = 4 + MOST + 2 * 6 + 6

cdef const char **SUFFIXES = [b"", b":do", b":cd", b":do:cd"]
cdef Py_ssize_t *SUFFIX_SIZES = [0, 3, 3, 6]


cdef inline bint isPlain(uint8_t octet) noexcept nogil:
    return (
        97 <= octet <= 122  # Letters, in lower case.
        or 48 <= octet <= 57
        or octet == 45
        or octet == 95
    )


cdef Py_ssize_t putNumber(char *out, unsigned int number) noexcept nogil:
    """
    Write a colon and a number of up to five digits.
    """
    cdef char reversed[5]
    cdef Py_ssize_t count = 0, place
    while True:
        reversed[count] = 48 + number % 10
        count += 1
        number //= 10
        if not number:
            break
    out[0] = 58
    for place in range(count):
        out[1 + place] = reversed[count - 1 - place]
    return 1 + count


def plainText(tuple key not None):
    """
    Give a key's text, or L{None} if its name has other letters than most have,
    is the root, or no whole name.
    """
    cdef bytes qname = key[0]
    cdef unsigned int type = key[1], cls = key[2], flags = key[3]
    cdef const uint8_t *wire = <const uint8_t *>PyBytes_AS_STRING(qname)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(qname), at = 0, end, written = 4
    cdef char out[ROOM]
    if not 1 < size <= MOST or type > 0xFFFF or cls > 0xFFFF or flags > 3:
        return None
    memcpy(out, b"dns:", 4)
    while wire[at]:
        end = at + 1 + wire[at]
        if end >= size:
            return None
        if at:
            out[written] = 46
            written += 1
        for at in range(at + 1, end):
            if not isPlain(wire[at]):
                return None
            out[written] = wire[at]
            written += 1
        at = end
    if at + 1 != size:
        return None
    written += putNumber(out + written, type)
    written += putNumber(out + written, cls)
    memcpy(out + written, SUFFIXES[flags], SUFFIX_SIZES[flags])
    return PyBytes_FromStringAndSize(out, written + SUFFIX_SIZES[flags])
