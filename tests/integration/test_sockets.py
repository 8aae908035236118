# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.server.sockets}, on loopback.
"""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import ListenError
from dnsguard.server.address import ListenAddress
from dnsguard.server.sockets import bindDatagram, bindStream, isMissing

LOOPBACK = ListenAddress("127.0.0.1", 0)


class BindTests(SynchronousTestCase):
    """
    Tests for L{bindDatagram} and L{bindStream}.
    """

    def keep(self, bound: socket.socket) -> socket.socket:
        """
        Close a socket after the test.
        """
        self.addCleanup(bound.close)
        return bound

    def addressOf(self, bound: socket.socket) -> ListenAddress:
        """
        Where a socket is bound.
        """
        return ListenAddress(*bound.getsockname()[:2])

    def test_nonBlocking(self) -> None:
        """
        Sockets never block.
        """
        for bind in (bindDatagram, bindStream):
            bound = self.keep(bind(LOOPBACK))
            self.assertFalse(bound.getblocking())
            self.assertNotEqual(bound.getsockname()[1], 0)

    def test_inUse(self) -> None:
        """
        An address in use is one line that names it.
        """
        for bind, protocol in ((bindDatagram, "udp"), (bindStream, "tcp")):
            address = self.addressOf(self.keep(bind(LOOPBACK)))
            reason = self.assertRaises(ListenError, bind, address)
            self.assertEqual(
                str(reason), f"can't listen on {address} ({protocol}): address already in use"
            )

    def test_foreign(self) -> None:
        """
        An address that is another machine's is missing here.
        """
        reason = self.assertRaises(ListenError, bindDatagram, ListenAddress("192.0.2.1", 0))
        assert isinstance(reason.__cause__, OSError)
        self.assertTrue(isMissing(reason.__cause__))
        self.assertFalse(isMissing(OSError(errno.EACCES, "denied")))

    def test_reusePort(self) -> None:
        """
        A port can be shared by those who all want to share it.
        """
        for bind in (bindDatagram, bindStream):
            address = self.addressOf(self.keep(bind(LOOPBACK, reusePort=True)))
            self.keep(bind(address, reusePort=True))
            self.assertRaises(ListenError, bind, address)

    def test_receiveBuffer(self) -> None:
        """
        The system holds as much for us as we ask.
        """
        bound = self.keep(bindDatagram(LOOPBACK, receiveBuffer=65536))
        # Linux doubles it for its own needs.
        self.assertGreaterEqual(bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 65536)

    def test_bothWildcards(self) -> None:
        """
        The wildcards of both families can have the same port.
        """
        for bind in (bindDatagram, bindStream):
            first = self.keep(bind(ListenAddress("0.0.0.0", 0)))
            try:
                self.keep(bind(ListenAddress("::", first.getsockname()[1])))
            except ListenError as reason:
                assert isinstance(reason.__cause__, OSError)
                self.assertTrue(isMissing(reason.__cause__), reason)
