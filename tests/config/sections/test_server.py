# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.config.sections.server}.
"""

from __future__ import annotations

import sys

from dnsguard.config.sections.server import (
    AUTO,
    Listen,
    ListenAddress,
    ListenProtocol,
    Processes,
)
from tests.config.sections.cases import SectionCase
from tests.config.test_kinds import KindCase


class ListenTests(KindCase):
    """
    Tests for L{Listen}.
    """

    def test_read(self) -> None:
        """
        Addresses are canonical; no address, or a star, is every IPv4 address.
        """
        for text, host, port in [
            ("127.0.0.1:53", "127.0.0.1", 53),
            ("'[::1]:5300'", "::1", 5300),
            ("'[2001:DB8:0::1]:53'", "2001:db8::1", 53),
            ("'[::]:53'", "::", 53),
            ("':53'", "0.0.0.0", 53),
            ("'*:53'", "0.0.0.0", 53),
            ("'[fe80::1%eth0]:53'", "fe80::1%eth0", 53),
        ]:
            self.assertEqual(self.read(Listen(), text), ListenAddress(host, port))

    def test_refused(self) -> None:
        """
        Names, missing or impossible ports, and brackets in the wrong place are
        refused.
        """
        for text in [
            "127.0.0.1", "53", "'::1'", "'::1:53'", "'[::1]'", "'[127.0.0.1]:53'", "127.0.0.1:0",
            "127.0.0.1:65536", "localhost:53", "127.0.0.1:dns", "127.0.0.256:53", "'[]:53'",
            "'[::1]:53:53'", "127.0.0.1:-1", "a.b:53", "127.0.0.1:٥٣",
        ]:  # fmt: skip
            self.assertTrue(self.refuse(Listen(), text))

    def test_written(self) -> None:
        """
        An address is written as it is read.
        """
        self.assertEqual(str(ListenAddress("::1", 53)), "[::1]:53")
        self.assertEqual(Listen().show(ListenAddress("192.0.2.1", 53)), '"192.0.2.1:53"')


class ServerTests(SectionCase):
    """
    Tests for C{server}.
    """

    def test_read(self) -> None:
        """
        Its keys are read.
        """
        server = self.config(
            "server: {listen: '192.0.2.1:53', protocols: [tcp], reuse_port_listeners: 4,"
            " tcp_idle_timeout: 3s, max_udp_size: 4096}"
        ).server
        self.assertEqual(server.listen, (ListenAddress("192.0.2.1", 53),))
        self.assertEqual(server.protocols, (ListenProtocol.TCP,))
        self.assertEqual(server.reusePortListeners, 4)
        self.assertEqual(server.tcpIdleTimeout, 3.0)
        self.assertEqual(server.maxUDPSize, 4096)

    def test_processes(self) -> None:
        """
        Processes are counted, or as many as there are CPUs; several of them
        need ports that can be shared, and a system that shares them out.
        """
        self.assertEqual(self.config("").server.processes, 1)
        self.assertEqual(self.config("server: {processes: 4}").server.processes, 4)
        self.assertEqual(self.config("server: {processes: Auto}").server.processes, AUTO)
        self.assertEqual((Processes().show(AUTO), Processes().show(3)), ("auto", "3"))
        for text in ("0", "65", "-1", "many", "1.5"):
            self.assertEqual(self.paths(f"server: {{processes: {text}}}"), ["server.processes"])
        (message,) = self.messages("server: {processes: 2, reuse_port: false}")
        self.assertIn("which reuse_port: false forbids", message)
        self.config("server: {processes: 1, reuse_port: false}")
        self.patch(sys, "platform", "darwin")
        (message,) = self.messages("server: {processes: auto}")
        self.assertIn("need Linux", message)

    def test_refused(self) -> None:
        """
        Nothing to listen on or over, twice the same, and values out of range
        are refused.
        """
        for text, path in [
            ("listen: []", "server.listen"),
            ("protocols: []", "server.protocols"),
            ("protocols: [udp, dot]", "server.protocols[1]"),
            ("protocols: [udp, UDP]", "server.protocols[1]"),
            ("listen: ['127.0.0.1:53', '127.0.0.1:53']", "server.listen[1]"),
            ("reuse_port_listeners: 0", "server.reuse_port_listeners"),
            ("reuse_port_listeners: 65", "server.reuse_port_listeners"),
            ("max_udp_size: 511", "server.max_udp_size"),
            ("tcp_idle_timeout: 0", "server.tcp_idle_timeout"),
        ]:
            self.assertEqual(self.paths(f"server: {{{text}}}"), [path], text)
