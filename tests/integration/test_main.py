# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The main job, as users see it: a process that is started, asked, told to reload
and stopped.
"""

from __future__ import annotations

import signal
import socket
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.names import dns
from twisted.trial.unittest import TestCase

from dnsguard.wire.edns import EDE_OPTION, EDNS
from dnsguard.wire.layout import AA, TC, Layout, scan
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askTCP, askUDP, request
from tests.support.responder import Responder

duckdb: Any
try:
    import duckdb
except ImportError:
    duckdb = None

PATIENCE = 60.0
"""Seconds that a busy machine gets for what takes a moment."""


def until(true: Callable[[], bool]) -> bool:
    """
    Wait for something to be true.
    """
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class MainTests(TestCase):
    """
    Tests for C{twistd dnsguard}.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.upstream = Responder()
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.port = freePort()

    def config(self, more: str = "", store: str = "query_store: {engine: none}") -> str:
        """
        A configuration for this test's port and upstream.
        """
        return (
            f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            f"control: {{enabled: false}}\n{store}\n{more}\n"
        )

    def start(self, config: str) -> DNSGuardProcess:
        """
        Start a process, and wait until it answers.
        """
        process = DNSGuardProcess(self.folder, config, self.port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        return process

    def ask(self, name: str, type: int = dns.A, edns: EDNS | None = None) -> tuple[bytes, Layout]:
        """
        Ask by UDP.
        """
        reply = askUDP(self.port, request(name, type, edns=edns))
        return reply, scan(reply)

    def rCode(self, name: str) -> int:
        """
        The response code for a name.
        """
        return self.ask(name)[1].rCode

    def test_answersFiltersCachesForwards(self) -> None:
        """
        Local records are answered, listed names blocked, with the list that
        did it, and other names forwarded once.
        """
        (self.folder / "ads.txt").write_text("0.0.0.0 ads.example\n0.0.0.0 track.example\n")
        self.start(
            self.config(
                "blocklists: {sources: [{name: household, url: ./ads.txt}]}\n"
                "local_records: [{name: nas.home.arpa, type: A, value: 192.0.2.10}]\n"
            )
        )
        reply, layout = self.ask("nas.home.arpa")
        self.assertEqual(reply[-4:], bytes([192, 0, 2, 10]))
        self.assertTrue(layout.flags & AA)
        self.assertTrue(until(lambda: self.rCode("ads.example") == dns.ENAME))
        _, layout = self.ask("pixel.track.example", edns=EDNS())
        self.assertEqual(layout.rCode, dns.ENAME)
        assert layout.edns is not None
        ((code, text),) = layout.edns.options
        self.assertEqual((code, text[:2]), (EDE_OPTION, b"\0\x0f"))
        self.assertIn(b"household", text)
        for _ in range(5):
            reply, layout = self.ask("www.example.com")
            self.assertEqual((layout.rCode, reply[-4:]), (0, bytes([192, 0, 2, 99])))
        self.assertEqual(self.upstream.names.count("www.example.com"), 1)
        self.assertNotIn("ads.example", self.upstream.names[-1])

    def test_restartFiltersAtOnce(self) -> None:
        """
        After a restart names are blocked from the first answer on, though the
        list can't be had any more.
        """
        path = self.folder / "ads.txt"
        path.write_text("ads.example\n")
        config = self.config("blocklists: {sources: [{name: household, url: ./ads.txt}]}\n")
        first = self.start(config)
        self.assertTrue(until(lambda: self.rCode("ads.example") == dns.ENAME))
        first.stop()
        path.unlink()
        process = DNSGuardProcess(self.folder, config, self.port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering("ads.example")
        self.assertEqual(self.rCode("ads.example"), dns.ENAME)

    def test_hangupReloads(self) -> None:
        """
        SIGHUP puts a changed configuration into force; a broken one leaves
        the old one in force, and says where it is broken.
        """
        process = self.start(self.config())
        self.assertEqual(self.rCode("bad.example"), dns.OK)
        process.config.write_text(self.config("blocklists: {denylist: [bad.example]}\n"))
        process.signal(signal.SIGHUP)
        self.assertTrue(until(lambda: self.rCode("bad.example") == dns.ENAME))
        process.config.write_text(self.config("blocklists: {denylst: []}\n"))
        process.signal(signal.SIGHUP)
        self.assertTrue(until(lambda: "denylst" in process.output()))
        self.assertIn("denylist", process.output())
        self.assertTrue(until(lambda: "old one stays" in process.output()))
        self.assertEqual(self.rCode("bad.example"), dns.ENAME)
        self.assertNotIn("Traceback", process.output())

    def test_reloadListensElsewhere(self) -> None:
        """
        A reload that changes the port stops answering on the old one; one that
        can't have its port goes on with the one it has.
        """
        process = self.start(self.config())
        before, self.port = self.port, freePort()
        process.config.write_text(self.config())
        process.signal(signal.SIGHUP)
        told = until(lambda: "configuration reloaded" in process.output())
        self.assertTrue(told, process.output())
        self.assertEqual(self.rCode("www.example.com"), dns.OK)
        self.assertRaises(OSError, askUDP, before, request("www.example.com"), 1.0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            have, self.port = self.port, taken.getsockname()[1]
            process.config.write_text(self.config())
            process.signal(signal.SIGHUP)
            told = until(lambda: "old one stays" in process.output())
            self.assertTrue(told, process.output())
            self.port = have
            self.assertEqual(self.rCode("www.example.com"), dns.OK)

    def test_stopFlushesTheRequestLog(self) -> None:
        """
        Every query answered is in the request log when the process has ended,
        those from the replay store included, each once.
        """
        process = self.start(
            self.config("request_log: {enabled: true, directory: logs}\ncache: {min_ttl: 1h}\n")
        )
        for _ in range(40):
            self.rCode("www.example.com")
        process.stop()
        (path,) = self.folder.rglob("dns-requests-*.log")
        lines = path.read_text().splitlines()
        asked = [line for line in lines if " qname=www.example.com " in line]
        self.assertEqual(len(asked), 40)
        self.assertEqual(sum("outcome=upstream" in line for line in asked), 1)
        self.assertEqual(sum("outcome=cached" in line for line in asked), 39)

    def test_portInUse(self) -> None:
        """
        A port that somebody has is one line naming it, and the process ends.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", self.port))
            process = DNSGuardProcess(self.folder, self.config(), self.port)
            self.addCleanup(process.stop)
            self.assertNotEqual(process.process.wait(PATIENCE), 0)
        self.assertIn(f"127.0.0.1:{self.port}", process.output())
        self.assertNotIn("Traceback", process.output())

    def test_twoProcessesDoNotShareAPort(self) -> None:
        """
        A second process on the same port is refused: half of all queries would
        go to one that nobody knows of.
        """
        self.start(self.config())
        folder = self.folder / "second"
        folder.mkdir()
        second = DNSGuardProcess(folder, self.config(), self.port)
        self.addCleanup(second.stop)
        self.assertNotEqual(second.process.wait(PATIENCE), 0)
        self.assertIn("in use", second.output())

    def test_brokenConfigurationEndsTheProcess(self) -> None:
        """
        All problems are told with their places, without a traceback; the exit
        status is 1.
        """
        process = DNSGuardProcess(
            self.folder,
            "upstreams: ['nonsense://x']\nblocklists:\n  denylist: ['/(/']\n"
            "local_records: [{name: a.example.org, type: A, value: 192.0.2.300}]\n",
            self.port,
        )
        self.addCleanup(process.stop)
        self.assertEqual(process.process.wait(PATIENCE), 1)
        output = process.output()
        for place in ("dnsguard.yaml:1:", "dnsguard.yaml:3:", "dnsguard.yaml:4:"):
            self.assertIn(place, output)
        self.assertNotIn("Traceback", output)

    def test_deadUpstreamIsPassedBy(self) -> None:
        """
        A silent upstream costs a moment, and the next one answers.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = silent.getsockname()[1]
            self.start(
                f"server: {{listen: ['127.0.0.1:{self.port}']}}\n"
                f"upstreams: ['127.0.0.1:{port}', '127.0.0.1:{self.upstream.port}']\n"
                "control: {enabled: false}\nquery_store: {engine: none}\n"
            )
            self.assertEqual(self.rCode("www.example.com"), dns.OK)

    def test_truncatedThenByTCP(self) -> None:
        """
        What doesn't fit is truncated over UDP, and whole over TCP, where
        several queries share a connection.
        """
        records = "".join(
            f"  - {{name: big.example.org, type: TXT, value: '{number:0200}'}}\n"
            for number in range(12)
        )
        self.start(self.config(f"local_records:\n{records}"))
        _, layout = self.ask("big.example.org", dns.TXT)
        self.assertTrue(layout.flags & TC)
        self.assertEqual(layout.counts[1], 0)
        query = request("big.example.org", dns.TXT)
        replies = askTCP(self.port, query, request("www.example.com", id=7), query)
        self.assertEqual(
            sorted((scan(reply).counts[1], scan(reply).id) for reply in replies),
            [(1, 7), (12, 0x1234), (12, 0x1234)],
        )

    def test_wildcardAnswersFromTheAddressAsked(self) -> None:
        """
        A listener on every address answers from the one that was asked, over
        IPv4 and IPv6, hot or cold.
        """
        config = self.config().replace(
            f"'127.0.0.1:{self.port}'", f"'0.0.0.0:{self.port}', '[::]:{self.port}'"
        )
        self.start(config)
        for address in ("127.0.0.1", "127.0.0.7", "::1"):
            for _ in range(4):
                # Connected sockets take nothing from another address.
                reply = askUDP(self.port, request("www.example.com"), host=address)
                self.assertEqual(scan(reply).rCode, dns.OK)

    def test_replaysWhatWasAsked(self) -> None:
        """
        What was asked before is answered from the replay store: it keeps what
        the chain's answers allow, under the policy in force.
        """
        process = self.start(
            self.config("request_log: {enabled: true, directory: logs, format: json}\n")
        )
        for _ in range(20):
            self.rCode("www.example.com")
        process.stop()
        (path,) = self.folder.rglob("dns-requests-*.log")
        replayed = [
            line
            for line in path.read_text().splitlines()
            if '"qname":"www.example.com"' in line and '"network_write_ms"' not in line
        ]
        self.assertGreaterEqual(len(replayed), 17, path.read_text())

    @unittest.skipIf(duckdb is None, "duckdb isn't installed")
    def test_everyQueryIsARow(self) -> None:
        """
        Without a word of configuration each query becomes one row of the query
        store, whether it was forwarded, cached, blocked or replayed.
        """
        process = self.start(self.config("blocklists: {denylist: [bad.example]}\n", store=""))
        for number in range(60):
            self.rCode(f"host{number % 6}.example.com")
            self.rCode("bad.example")
        process.stop()
        (path,) = self.folder.rglob("queries.duckdb")
        with duckdb.connect(str(path), read_only=True) as rows:
            found = rows.execute(
                "SELECT qname, outcome, count(*) FROM dns_queries"
                " WHERE qname <> 'localhost' GROUP BY ALL"
            ).fetchall()
        counts = {(name, outcome): count for name, outcome, count in found}
        self.assertEqual(counts.pop(("bad.example", "blocked")), 60)
        self.assertEqual(
            counts,
            {
                (f"host{number}.example.com", outcome): count
                for number in range(6)
                for outcome, count in [("upstream", 1), ("cached", 9)]
            },
        )
