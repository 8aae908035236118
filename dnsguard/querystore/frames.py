# -*- test-case-name: tests.querystore.test_frames -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How the embedded engine's process is spoken to: over its standard input and
output, in frames of some JSON and some octets.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, TypeAlias

__all__ = ["HEADER", "BrokenFrame", "FrameReader", "frame"]

HEADER = struct.Struct("!II")
"""Octets of JSON, then octets behind it."""

MAX_FRAME = 1 << 30

Frame: TypeAlias = tuple[dict[str, Any], bytes]


class BrokenFrame(ValueError):
    """
    What came is no frame.
    """


def frame(fields: dict[str, Any], payload: bytes = b"") -> bytes:
    """
    Make a frame.
    """
    text = json.dumps(fields, separators=(",", ":")).encode("ascii")
    return HEADER.pack(len(text), len(payload)) + text + payload


class FrameReader:
    """
    Puts frames together out of octets as they arrive.
    """

    def __init__(self) -> None:
        self._octets = bytearray()

    def feed(self, octets: bytes) -> Iterator[Frame]:
        """
        Take octets and give the frames they complete.

        @raise BrokenFrame: No frame can come of this any more.
        """
        self._octets += octets
        while len(self._octets) >= HEADER.size:
            text, payload = HEADER.unpack_from(self._octets)
            if text + payload > MAX_FRAME:
                raise BrokenFrame(f"a frame of {text + payload} octets")
            end = HEADER.size + text + payload
            if len(self._octets) < end:
                return
            try:
                fields = json.loads(self._octets[HEADER.size : HEADER.size + text])
            except ValueError as reason:
                raise BrokenFrame(str(reason)) from None
            if not isinstance(fields, dict):
                raise BrokenFrame("no object in a frame")
            body = bytes(self._octets[HEADER.size + text : end])
            del self._octets[:end]
            yield fields, body
