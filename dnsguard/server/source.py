# -*- test-case-name: tests.server.test_source -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Which of a machine's addresses a reply leaves from: the one that was asked.

A socket on a wildcard address stands for all of them. The system tells with each
datagram which one it was sent to, and wants to be told with each reply: clients,
and every firewall before them, ignore replies from others.
"""

from __future__ import annotations

import socket
import struct

from dnsguard.server.sockets import IP_PKTINFO

__all__ = ["Ancillary", "Sources"]

Ancillary = list[tuple[int, int, bytes]]
"""Ancillary data as Python's sockets have it: level, kind and octets of each part."""

_MAX_SOURCES = 1024
"""Destination addresses whose ancillary data is kept."""

_HEAD = struct.Struct("@Nii")
"""C{struct cmsghdr}: octets with this, level, kind."""


class Sources:
    """
    Turns what is told of requests into what is to be told of replies.
    """

    def __init__(self) -> None:
        self._sources: dict[bytes, Ancillary] = {}
        self._read: dict[bytes, Ancillary | None] = {}
        self._written: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._sources) + len(self._read) + len(self._written)

    def find(self, told: Ancillary) -> Ancillary | None:
        """
        Say with what to send the reply to a request that came with C{told};
        L{None}: with nothing.
        """
        for level, kind, octets in told:
            source = self._sources.get(octets)
            if source is not None:
                return source
            if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                # struct in_pktinfo: interface, local address, destination.
                # Without the interface, so that the routes decide.
                reply = bytes(4) + octets[4:8] + bytes(4)
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                # struct in6_pktinfo: address, interface, which only the same
                # address on every link (fe80::/10) can't do without.
                linkLocal = octets[0] == 0xFE and octets[1] & 0xC0 == 0x80
                reply = octets if linkLocal else octets[:16] + bytes(4)
            else:
                continue
            if len(self._sources) >= _MAX_SOURCES:
                self._sources.clear()
            source = self._sources[octets] = [(level, kind, reply)]
            return source
        return None

    def read(self, control: bytes) -> Ancillary | None:
        """
        As L{find}, from the octets that the system has written.
        """
        if control in self._read:
            return self._read[control]
        told: Ancillary = []
        rest = control
        while len(rest) >= _HEAD.size:
            size, level, kind = _HEAD.unpack_from(rest)
            if not _HEAD.size <= size <= len(rest):
                break
            told.append((level, kind, rest[socket.CMSG_LEN(0) : size]))
            rest = rest[socket.CMSG_SPACE(size - socket.CMSG_LEN(0)) :]
        if len(self._read) >= _MAX_SOURCES:
            self._read.clear()
        source = self._read[control] = self.find(told)
        return source

    def write(self, source: Ancillary | None) -> bytes:
        """
        The octets that the system reads: those of what L{find} or L{read} gave.
        """
        if source is None:
            return b""
        ((level, kind, octets),) = source
        written = self._written.get(octets)
        if written is None:
            head = _HEAD.pack(socket.CMSG_LEN(len(octets)), level, kind)
            written = head.ljust(socket.CMSG_LEN(0), b"\0") + octets
            if len(self._written) >= _MAX_SOURCES:
                self._written.clear()
            written = written.ljust(socket.CMSG_SPACE(len(octets)), b"\0")
            self._written[octets] = written
        return written
