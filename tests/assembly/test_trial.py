# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.trial}, over loopback.
"""

from __future__ import annotations

import socket

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from dnsguard.assembly import trial
from dnsguard.assembly.trial import tryUpstream
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.wire.names import fromText
from tests.support.ports import freePort
from tests.support.responder import Responder


class TrialTests(TestCase):
    """
    Tests for L{tryUpstream}.
    """

    async def test_answers(self) -> None:
        """
        A server that answers is told so, with what it said.
        """
        responder = Responder()
        responder.start()
        self.addCleanup(responder.stop)
        address = UpstreamAddress.parse(f"127.0.0.1:{responder.port}")
        found = await tryUpstream(reactor, address, fromText("example.org"), 1)
        self.assertEqual((found.rCode, found.answers, found.problem), (0, 1, ""))
        self.assertEqual([name.lower() for name in responder.names], ["example.org"])

    async def test_nobodyThere(self) -> None:
        """
        Where nobody listens that is told, and nothing is left open.
        """
        address = UpstreamAddress.parse(f"127.0.0.1:{freePort()}")
        found = await tryUpstream(reactor, address, fromText("example.org"), 1)
        self.assertEqual((found.rCode, found.problem), (None, "unreachable"))

    async def test_silence(self) -> None:
        """
        A server that says nothing is given up after a while.
        """
        self.patch(trial, "SECONDS", 0.2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            address = UpstreamAddress.parse(f"127.0.0.1:{silent.getsockname()[1]}")
            found = await tryUpstream(reactor, address, fromText("example.org"), 1)
        self.assertIsNone(found.rCode)
        self.assertTrue(found.problem)
