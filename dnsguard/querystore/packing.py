# -*- test-case-name: tests.querystore.test_packing -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Rows that travel are packed.

The octets of a row that are the same in all rows are there once, the others as
columns of octets: of the 32, six or eight are left of a busy server's, at a tenth of
the time that a general compressor takes for half as much. These are the Python twins
of functions in C{_packing.pyx}: used where that isn't built, and what they are tested
against.
"""

from __future__ import annotations

import struct

from dnsguard.querystore.rows import ROW

__all__ = ["packed", "unpacked"]

_PLANES = struct.Struct("=I32s")


def packed(rows: bytes | bytearray) -> bytes:
    """
    Make rows less: four octets with a bit for each octet of a row that differs among
    them, the lowest for the first; the first row; then those octets of all rows, place
    by place.

    @param rows: Records of L{ROW}.
    @return: Nothing for no rows.
    """
    if not rows:
        return b""
    count = len(rows) // ROW.size
    mask, planes = 0, []
    for place in range(ROW.size):
        plane = rows[place :: ROW.size]
        if plane != plane[:1] * count:
            mask |= 1 << place
            planes.append(plane)
    return b"".join((_PLANES.pack(mask, rows[: ROW.size]), *planes))


def unpacked(octets: bytes, count: int) -> bytes:
    """
    Give what L{packed} was given.

    @param count: The number of rows.
    @raise ValueError: That isn't what there is.
    """
    if not count and not octets:
        return b""
    mask, first = _PLANES.unpack_from(octets) if len(octets) >= _PLANES.size else (0, b"")
    size = _PLANES.size
    if not first or len(octets) != size + count * mask.bit_count():
        raise ValueError("packed rows of another number")
    rows = bytearray(first * count)
    for place in range(ROW.size):
        if mask >> place & 1:
            rows[place :: ROW.size] = octets[size : size + count]
            size += count
    return bytes(rows)
