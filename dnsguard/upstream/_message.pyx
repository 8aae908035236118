# Copyright (c) The dnsguard developers. See LICENSE for details.
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""
L{dnsguard.upstream.message.compose}, compiled.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy


def compose(
    bytes octets not None,
    Py_ssize_t start,
    bytes name not None,
    bytes tail not None,
    bint mix,
    bytes header not None,
    bytes opt not None,
):
    """
    See L{dnsguard.upstream.message.compose}.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    cdef Py_ssize_t asked = size + PyBytes_GET_SIZE(tail)
    cdef Py_ssize_t head = 2 + PyBytes_GET_SIZE(header)
    cdef const unsigned char* chance
    cdef bytes sent, message
    cdef unsigned char* out
    cdef Py_ssize_t at
    if not 0 <= start <= PyBytes_GET_SIZE(octets) - 5 - size:
        raise ValueError("too few octets")
    chance = <const unsigned char*> PyBytes_AS_STRING(octets) + start
    sent = PyBytes_FromStringAndSize(NULL, asked)
    out = <unsigned char*> PyBytes_AS_STRING(sent)
    memcpy(out, PyBytes_AS_STRING(name), size)
    memcpy(out + size, PyBytes_AS_STRING(tail), asked - size)
    if mix:
        for at in range(size):
            if 0x61 <= out[at] <= 0x7A:
                out[at] ^= chance[5 + at] & 0x20
    message = PyBytes_FromStringAndSize(NULL, head + asked + PyBytes_GET_SIZE(opt))
    memcpy(PyBytes_AS_STRING(message), chance + 3, 2)
    memcpy(PyBytes_AS_STRING(message) + 2, PyBytes_AS_STRING(header), head - 2)
    memcpy(PyBytes_AS_STRING(message) + head, PyBytes_AS_STRING(sent), asked)
    memcpy(PyBytes_AS_STRING(message) + head + asked, PyBytes_AS_STRING(opt), PyBytes_GET_SIZE(opt))
    return (
        (<int> chance[0] << 16) | (<int> chance[1] << 8) | chance[2],
        PyBytes_FromStringAndSize(<const char*> chance + 3, 2),
        sent,
        message,
    )
