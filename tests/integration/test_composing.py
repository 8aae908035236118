# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Each example of C{docs/composing.rst}, started by twistd and asked over sockets.

An example is changed in nothing but its ports and its upstream's address, which
are made ones on loopback: a responder in this process stands for the upstream.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import TestCase

from dnsguard.wire.layout import Layout, scan
from tests.support.ports import freePort
from tests.support.process import ROOT, askUDP, request
from tests.support.responder import Responder

EXAMPLES = ROOT / "docs" / "examples"

STARTING = 60.0


class ComposingTests(TestCase):
    """
    The cookbook.
    """

    def setUp(self) -> None:
        self.responder = Responder()
        self.responder.start()
        self.addCleanup(self.responder.stop)

    def start(self, name: str, first: str) -> int:
        """
        Start an example, and wait for its first answer.

        @param first: The name to ask for until there is an answer.
        @return: Its port.
        """
        port = freePort()
        text = (EXAMPLES / name).read_text("utf-8")
        self.assertIn("5353", text)
        text = text.replace("5353", str(port)).replace("9.9.9.9", "127.0.0.1")
        text = text.replace('("127.0.0.1", 53)', f'("127.0.0.1", {self.responder.port})')
        text = text.replace('"192.0.2.53"', '"127.0.0.1:9"')
        text = text.replace('parse("127.0.0.1")', f'parse("127.0.0.1:{self.responder.port}")')
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / name).write_text(text, "utf-8")
        self.log = folder / "output.log"
        with self.log.open("wb") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from twisted.scripts.twistd import run; run()",
                    "--nodaemon",
                    "--pidfile=",
                    "--python",
                    name,
                ],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(process.wait, 15)
        self.addCleanup(process.terminate)
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and process.poll() is None:
            try:
                askUDP(port, request(first), timeout=0.5)
            except OSError:
                time.sleep(0.02)
            else:
                return port
        raise AssertionError(f"{name} doesn't answer:\n{self.log.read_text('utf-8')}")

    def ask(self, port: int, name: str, address: str = "") -> tuple[Layout, list[str]]:
        """
        Ask for a name's addresses.

        @param address: The address to ask from.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            if address:
                client.bind((address, 0))
            client.connect(("127.0.0.1", port))
            client.send(request(name))
            reply = client.recv(65535)
        message = dns.Message()
        message.fromStr(reply)
        payloads: list[Any] = [record.payload for record in message.answers]
        addresses = [each.dottedQuad() for each in payloads if isinstance(each, dns.Record_A)]
        return scan(reply), addresses

    def test_stockClient(self) -> None:
        """
        Twisted's client answers through our server, the second time from our
        cache.
        """
        port = self.start("stock-client.tac", "example.org")
        layout, addresses = self.ask(port, "example.org")
        self.assertEqual((layout.rCode, addresses), (0, ["192.0.2.99"]))
        asked = len(self.responder.names)
        self.ask(port, "example.org")
        self.assertEqual(len(self.responder.names), asked)

    def test_blockedHosts(self) -> None:
        """
        Names below a listed domain are blocked, others are found in the hosts
        file.
        """
        port = self.start("blocked-hosts.tac", "localhost")
        layout, addresses = self.ask(port, "localhost")
        self.assertEqual((layout.rCode, addresses), (0, ["127.0.0.1"]))
        layout, addresses = self.ask(port, "banner.ads.example")
        self.assertEqual((layout.rCode, addresses), (3, []))

    def test_stockChain(self) -> None:
        """
        In Twisted's chain our elements answer, block, and pass on.
        """
        port = self.start("stock-chain.tac", "nas.example.org")
        self.assertEqual(self.ask(port, "nas.example.org")[1], ["192.0.2.10"])
        self.assertEqual(self.ask(port, "tracker.example")[0].rCode, 3)
        self.assertEqual(self.ask(port, "example.com")[1], ["192.0.2.99"])

    def test_groups(self) -> None:
        """
        Who asks decides what is blocked.
        """
        port = self.start("groups.tac", "example.org")
        self.assertEqual(self.ask(port, "games.example")[1], ["192.0.2.99"])
        self.assertEqual(self.ask(port, "games.example", "127.0.0.2")[0].rCode, 3)
        for address in ("127.0.0.1", "127.0.0.2"):
            self.assertEqual(self.ask(port, "ads.example", address)[0].rCode, 3)

    def test_memoryZone(self) -> None:
        """
        The zone answers, with its SOA record for what it hasn't got; a slow
        element only delays; the observer sees each query.
        """
        port = self.start("memory-zone.tac", "www.example.org")
        self.assertEqual(self.ask(port, "www.example.org")[1], ["192.0.2.80"])
        self.assertEqual(self.ask(port, "slow.example.org")[1], ["192.0.2.81"])
        layout, _ = self.ask(port, "missing.example.org")
        self.assertEqual((layout.rCode, layout.negativeTTL is not None), (3, True))
        self.assertRegex(self.log.read_text("utf-8"), r"slow\.example\.org local \d+\.\d ms")

    def test_forwarder(self) -> None:
        """
        Local records, blocked names and everything else come from where they
        should, the third time without asking anybody.
        """
        port = self.start("forwarder.tac", "printer.example.org")
        self.assertEqual(self.ask(port, "printer.example.org")[1], ["192.0.2.11"])
        self.assertEqual(self.ask(port, "www.ads.example")[0].rCode, 3)
        self.assertEqual(self.ask(port, "example.com")[1], ["192.0.2.99"])
        asked = len(self.responder.names)
        for _ in range(2):
            self.assertEqual(self.ask(port, "example.com")[1], ["192.0.2.99"])
        self.assertEqual(len(self.responder.names), asked)

    def test_allExamplesAreTested(self) -> None:
        """
        No example goes without a test, and the page shows them all.
        """
        page = (ROOT / "docs" / "composing.rst").read_text("utf-8")
        shown = set(re.findall(r"include:: examples/(\S+)", page))
        tested = set(re.findall(r'start\("(\S+?)"', Path(__file__).read_text("utf-8")))
        self.assertEqual({path.name for path in EXAMPLES.iterdir()}, shown)
        self.assertEqual(shown, tested)
