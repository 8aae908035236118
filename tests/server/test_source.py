# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.source}.
"""

from __future__ import annotations

import socket
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.server.sockets import IP_PKTINFO
from dnsguard.server.source import Ancillary, Sources

V4 = bytes([2, 0, 0, 0]) + b"\xc0\0\2\x35" + b"\xff\xff\xff\xff"
V6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x35" + bytes([3, 0, 0, 0])


def control(level: int, kind: int, octets: bytes) -> bytes:
    """
    One part of ancillary data as the system writes it.
    """
    head = struct.pack("@Nii", socket.CMSG_LEN(len(octets)), level, kind)
    part = head.ljust(socket.CMSG_LEN(0), b"\0") + octets
    return part.ljust(socket.CMSG_SPACE(len(octets)), b"\0")


class SourcesTests(SynchronousTestCase):
    """
    Tests for L{Sources}. What L{Sources.find} says is tested with the listener.
    """

    if IP_PKTINFO is None:
        skip = "this system doesn't tell where datagrams were sent to"

    def test_octets(self) -> None:
        """
        From the octets of ancillary data comes what comes from its parts, also
        behind a part about something else; and octets again.
        """
        assert IP_PKTINFO is not None
        other = control(socket.SOL_SOCKET, 29, bytes(16))
        for level, kind, octets in [
            (socket.IPPROTO_IP, IP_PKTINFO, V4),
            (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, V6),
        ]:
            sources = Sources()
            expected: Ancillary | None = sources.find([(level, kind, octets)])
            assert expected is not None
            whole = control(level, kind, octets)
            self.assertEqual(sources.read(whole), expected)
            self.assertEqual(sources.read(whole), expected)
            self.assertEqual(sources.read(other + whole), expected)
            for _ in range(2):
                self.assertEqual(sources.write(expected), control(*expected[0]))

    def test_nothing(self) -> None:
        """
        Nothing comes from nothing.
        """
        sources = Sources()
        self.assertIsNone(sources.read(b""))
        self.assertEqual(sources.write(None), b"")

    def test_bounded(self) -> None:
        """
        However many addresses are asked, what is kept of them is bounded.
        """
        assert IP_PKTINFO is not None
        sources = Sources()
        for number in range(3000):
            octets = bytes(4) + number.to_bytes(4, "big") + bytes(4)
            sources.write(sources.read(control(socket.IPPROTO_IP, IP_PKTINFO, octets)))
        self.assertLessEqual(len(sources), 3 * 1024)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=64))
    def test_anyOctets(self, octets: bytes) -> None:
        """
        Octets that are no ancillary data are no trouble.
        """
        found = Sources().read(octets)
        if found is not None:
            self.assertEqual(len(found), 1)
