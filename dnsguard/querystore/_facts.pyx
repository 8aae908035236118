# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The common case of L{dnsguard.querystore.rows.factFragment}, compiled: a name of
letters, digits and hyphens, answered with addresses or aliases.

Whatever is otherwise is left to the Python code.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset, strlen

__all__ = ["appendRow", "plainFragment"]


cdef extern from "<arpa/inet.h>" nogil:
    enum:
        AF_INET
        AF_INET6
    const char *inet_ntop(int, const void *, char *, unsigned int)


cdef extern from "<stdio.h>" nogil:
    int snprintf(char *, size_t, const char *, ...)


cdef enum:
    MAX_RECORDS = 4
    MAX_SUMMARY = 250
    NAME_TEXT = 256
    HEADER = 12
    A = 1
    NS = 2
    CNAME = 5
    PTR = 12
    AAAA = 28
    DNAME = 39


cdef packed struct Row:
    int64_t when
    uint32_t client
    uint32_t fact
    uint32_t took
    uint32_t cache
    uint32_t write
    uint8_t protocol
    uint8_t padding[3]


cdef inline uint32_t microseconds(double seconds) noexcept nogil:
    """
    Give a time as a row has it; an hour and more is as good as an hour.
    """
    cdef double value = seconds * 1e6 + 0.5
    if not value >= 1.0:
        return 0
    return 0xFFFFFFFF if value >= 4294967295.0 else <uint32_t>value


def appendRow(
    bytearray rows not None, double finished, double duration, double cacheSeconds,
    double writeSeconds, uint32_t client, uint32_t fact, uint8_t protocol,
):
    """
    Append one row, see L{dnsguard.querystore.encoding.appendRow}.
    """
    cdef Row row
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(rows)
    row.when = <int64_t>(finished * 1000 - duration * 1000)
    row.client = client
    row.fact = fact
    row.took = microseconds(duration)
    row.cache = microseconds(cacheSeconds)
    row.write = microseconds(writeSeconds)
    row.protocol = protocol
    memset(row.padding, 0, 3)
    PyByteArray_Resize(rows, size + sizeof(Row))
    memcpy(PyByteArray_AS_STRING(rows) + size, &row, sizeof(Row))


cdef inline uint32_t two(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 8 | at[1]


cdef int nameText(const uint8_t *wire, Py_ssize_t size, Py_ssize_t at, char *out) noexcept nogil:
    """
    Write a name's presentation form, lower-cased; its length, or -1 if it is
    the root, broken, or has letters that are told otherwise.
    """
    cdef int written = 0
    cdef Py_ssize_t limit = at, target
    cdef int left
    cdef uint8_t octet
    while at < size and wire[at]:
        if wire[at] >= 0xC0:
            if at + 2 > size:
                return -1
            target = (wire[at] & 0x3F) << 8 | wire[at + 1]
            if target < HEADER or target >= limit:
                return -1
            at = limit = target
            continue
        left = wire[at]
        if left > 63 or at + 1 + left > size or written + left + 1 >= NAME_TEXT:
            return -1
        if written:
            out[written] = b'.'
            written += 1
        at += 1
        while left:
            octet = wire[at]
            if 65 <= octet <= 90:
                octet += 32
            if not (97 <= octet <= 122 or 48 <= octet <= 57 or octet == 45 or octet == 95):
                return -1
            out[written] = octet
            written += 1
            at += 1
            left -= 1
    return written if at < size and written else -1


cdef const char *nameWord(uint32_t type) noexcept nogil:
    if type == CNAME:
        return b"CNAME "
    if type == NS:
        return b"NS "
    if type == PTR:
        return b"PTR "
    if type == DNAME:
        return b"DNAME "
    return NULL


cdef int summary(
    const uint8_t *wire, Py_ssize_t size, Py_ssize_t at, uint32_t count, char *out
) noexcept nogil:
    """
    Write what L{dnsguard.wire.summary.summarize} tells; its length, or -1 if it
    has to tell something else.
    """
    cdef int written = 0, length
    cdef uint32_t number, type, octets
    cdef const char *word
    for number in range(min(count, <uint32_t>MAX_RECORDS)):
        if written > MAX_SUMMARY:
            return -1
        while at < size and 0 < wire[at] < 0xC0:
            at += wire[at] + 1
        if at >= size:
            return -1
        at += 2 if wire[at] else 1
        if at + 10 > size:
            return -1
        type, octets = two(wire + at), two(wire + at + 8)
        at += 10
        if at + octets > size:
            return -1
        if written:
            memcpy(out + written, b", ", 2)
            written += 2
        if type == A and octets == 4:
            memcpy(out + written, b"A ", 2)
            inet_ntop(AF_INET, wire + at, out + written + 2, 16)
            written += 2 + <int>strlen(out + written + 2)
        elif type == AAAA and octets == 16:
            memcpy(out + written, b"AAAA ", 5)
            inet_ntop(AF_INET6, wire + at, out + written + 5, 46)
            written += 5 + <int>strlen(out + written + 5)
        else:
            word = nameWord(type)
            if word == NULL:
                return -1
            length = <int>strlen(word)
            memcpy(out + written, word, length)
            written += length
            length = nameText(wire, size, at, out + written)
            if length < 0:
                return -1
            written += length
        at += octets
    if count > MAX_RECORDS:
        written += snprintf(out + written, 16, b", +%u", count - MAX_RECORDS)
    return written if written <= MAX_SUMMARY else -1


cdef inline char *sized(char *out, const char *text, int length) noexcept nogil:
    """
    Write a text behind its length in LEB128.
    """
    if length < 128:
        out[0] = length
        out += 1
    else:
        out[0] = length & 127 | 128
        out[1] = length >> 7
        out += 2
    memcpy(out, text, length)
    return out + length


def plainFragment(
    bytes qname not None, bytes words not None, bytes wire not None, Py_ssize_t start,
    uint32_t answers, bytes rest not None,
):
    """
    Encode what a query shares with others that were answered alike.

    @param words: What stands between the name and the summary, encoded.
    @param wire: The answer's message.
    @param start: Where its answer section starts.
    @param answers: How many records are in it.
    @param rest: What stands behind the summary, encoded.
    @return: L{None} if it isn't the common case.
    """
    cdef char name[NAME_TEXT]
    # Checked before each record: what one can add fits behind MAX_SUMMARY.
    cdef char told[2 * MAX_SUMMARY + NAME_TEXT]
    cdef int nameSize, toldSize
    cdef Py_ssize_t size
    cdef char *out
    nameSize = nameText(
        <const uint8_t *>PyBytes_AS_STRING(qname), PyBytes_GET_SIZE(qname), 0, name
    )
    if nameSize < 0:
        return None
    toldSize = summary(
        <const uint8_t *>PyBytes_AS_STRING(wire), PyBytes_GET_SIZE(wire), start, answers, told
    )
    if toldSize < 0:
        return None
    size = (
        nameSize + (1 if nameSize < 128 else 2) + PyBytes_GET_SIZE(words)
        + toldSize + (1 if toldSize < 128 else 2) + PyBytes_GET_SIZE(rest)
    )
    made = PyBytes_FromStringAndSize(NULL, size)
    out = sized(PyBytes_AS_STRING(made), name, nameSize)
    memcpy(out, PyBytes_AS_STRING(words), PyBytes_GET_SIZE(words))
    out = sized(out + PyBytes_GET_SIZE(words), told, toldSize)
    memcpy(out, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
    return made
