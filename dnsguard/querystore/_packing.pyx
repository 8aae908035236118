# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The compiled twins of L{dnsguard.querystore.packing}.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    ROW_SIZE = 32
    PACKED_HEADER = 36


def packed(const uint8_t[::1] rows):
    """
    See L{dnsguard.querystore.packing.packed}. Other threads run meanwhile.
    """
    cdef Py_ssize_t count = rows.shape[0] // ROW_SIZE
    cdef uint8_t *planes[ROW_SIZE]
    cdef uint8_t places[ROW_SIZE]
    cdef const uint8_t *first
    cdef char *out
    cdef uint32_t mask
    cdef int differing = 0, i
    if rows.shape[0] % ROW_SIZE:
        raise ValueError("rows are 32 octets each")
    if not count:
        return b""
    first = &rows[0]
    with nogil:
        mask = differences(first, count)
    for i in range(ROW_SIZE):
        if mask >> i & 1:
            places[differing] = i
            differing += 1
    made = PyBytes_FromStringAndSize(NULL, PACKED_HEADER + count * differing)
    out = PyBytes_AS_STRING(made)
    memcpy(out, &mask, 4)
    memcpy(out + 4, first, ROW_SIZE)
    for i in range(differing):
        planes[i] = <uint8_t *>out + PACKED_HEADER + i * count
    with nogil:
        for i in range(differing):
            gather(first + places[i], count, planes[i])
    return made


cdef uint32_t differences(const uint8_t *rows, Py_ssize_t count) noexcept nogil:
    """
    Tell which octets aren't the same in all rows: a bit each.
    """
    cdef uint64_t head[4]
    cdef uint64_t row[4]
    cdef uint64_t seen[4]
    cdef uint32_t mask = 0
    cdef Py_ssize_t i
    cdef int at
    memcpy(head, rows, ROW_SIZE)
    memset(seen, 0, ROW_SIZE)
    for i in range(1, count):
        memcpy(row, rows + i * ROW_SIZE, ROW_SIZE)
        for at in range(4):
            seen[at] |= row[at] ^ head[at]
    for at in range(ROW_SIZE):
        # In memory's order, whichever that is.
        if (<uint8_t *>seen)[at]:
            mask |= <uint32_t>1 << at
    return mask


cdef void gather(const uint8_t *octet, Py_ssize_t count, uint8_t *plane) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        plane[i] = octet[i * ROW_SIZE]


def unpacked(const uint8_t[::1] octets, Py_ssize_t count):
    """
    See L{dnsguard.querystore.packing.unpacked}. Other threads run meanwhile.
    """
    cdef uint32_t mask = 0
    cdef int differing = 0, place
    cdef Py_ssize_t i, size = octets.shape[0]
    cdef const uint8_t *plane
    cdef uint8_t *rows
    if not count and not size:
        return b""
    if size >= PACKED_HEADER:
        memcpy(&mask, &octets[0], 4)
    for place in range(ROW_SIZE):
        differing += mask >> place & 1
    # Divided, as a product might be too large for its type.
    if (count < 0 or size < PACKED_HEADER or (not differing and size != PACKED_HEADER)
            or (differing and ((size - PACKED_HEADER) // differing != count
                               or (size - PACKED_HEADER) % differing))):
        raise ValueError("packed rows of another number")
    made = PyBytes_FromStringAndSize(NULL, count * ROW_SIZE)
    rows = <uint8_t *>PyBytes_AS_STRING(made)
    plane = &octets[0] + PACKED_HEADER
    with nogil:
        for i in range(count):
            memcpy(rows + i * ROW_SIZE, &octets[4], ROW_SIZE)
        for place in range(ROW_SIZE):
            if mask >> place & 1:
                for i in range(count):
                    rows[i * ROW_SIZE + place] = plane[i]
                plane += count
    return made
