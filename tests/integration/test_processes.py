# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Several processes that serve as one, as users see them.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import tempfile
import time
import unittest
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.names import dns
from twisted.trial.unittest import TestCase

from dnsguard.wire.layout import scan
from tests.support.flood import Flood
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askTCP, askUDP, request
from tests.support.redisserver import MISSING, RedisServer
from tests.support.responder import Responder

duckdb: Any
try:
    import duckdb
except ImportError:
    duckdb = None

PATIENCE = 60.0
"""Seconds that a busy machine gets for what takes a moment."""

TOKEN = "a-token-for-tests"


def until(true: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """
    Wait for something to be true.
    """
    deadline = time.monotonic() + patience
    while not (found := true()):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return found


def isRunning(pid: int) -> bool:
    """
    Does the process run? One that waits to be buried doesn't.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@unittest.skipUnless(os.path.exists("/proc/self/smaps"), "needs Linux")
class ProcessesTests(TestCase):
    """
    Tests for C{server.processes}.
    """

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.upstream = Responder()
        self.upstream.start()
        self.addCleanup(self.upstream.stop)
        self.port, self.control = freePort(), freePort()
        (self.folder / "ads.txt").write_text(
            "".join(f"0.0.0.0 ads{number}.example\n" for number in range(20_000))
        )

    def config(self, more: str = "", processes: int = 2, threads: int = 1) -> str:
        """
        A configuration for this test's ports and upstream.
        """
        store = "" if "query_store" in more else "query_store: {engine: none}"
        return (
            f"server: {{listen: ['127.0.0.1:{self.port}'], processes: {processes},"
            f" reuse_port_listeners: {threads}}}\n"
            f"upstreams: ['127.0.0.1:{self.upstream.port}']\n"
            f"control: {{enabled: true, listen: '127.0.0.1:{self.control}', token: {TOKEN}}}\n"
            f"blocklists:\n  sources: [{{name: household, url: ./ads.txt}}]\n{more}\n{store}\n"
        )

    def start(self, more: str = "", processes: int = 2, threads: int = 1) -> DNSGuardProcess:
        """
        Start, and wait until all processes serve.
        """
        process = self.begin(lambda: self.config(more, processes, threads))
        if processes > 1:
            wanted = f"{processes} of {processes} processes serve"
            self.assertTrue(until(lambda: wanted in self.ready()), process.output())
        self.assertTrue(until(lambda: self.rCode("ads7.example") == dns.ENAME))
        return process

    def begin(self, config: Callable[[], str], pure: bool = False) -> DNSGuardProcess:
        """
        Start, elsewhere if somebody has taken the port meanwhile.

        @param pure: Without compiled modules.
        """
        environment = {"DNSGUARD_PURE_PYTHON": "1" if pure else "0"}
        while True:
            process = DNSGuardProcess(self.folder, config(), self.port, environment)
            self.addCleanup(process.stop)
            try:
                process.waitUntilAnswering()
            except AssertionError:
                if "already in use" not in process.output():
                    raise
                self.port, self.control = freePort(), freePort()
            else:
                return process

    def api(self, method: str, path: str, body: Any = None) -> bytes:
        """
        Ask the control API.
        """
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.control}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(asked, timeout=60) as response:
            octets: bytes = response.read()
            return octets

    def ready(self) -> str:
        """
        What the server says it depends on.
        """
        try:
            return self.api("GET", "/ready").decode()
        except OSError:
            return ""

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """
        All metrics, by name and labels.
        """
        return {
            (sample.name, tuple(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.api("GET", "/metrics").decode())
            for sample in family.samples
        }

    def total(self, name: str) -> float:
        """
        A metric, over all labels.
        """
        return sum(value for (each, _), value in self.metrics().items() if each == name)

    def rCode(self, name: str) -> int:
        """
        The response code for a name.
        """
        return scan(askUDP(self.port, request(name))).rCode

    def helpers(self, process: DNSGuardProcess) -> list[int]:
        """
        The helper processes that run.
        """
        pids = []
        for path in Path(f"/proc/{process.process.pid}/task").glob("*/children"):
            for pid in map(int, path.read_text("ascii").split()):
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                if b"dnsguard.helper" in command and isRunning(pid):
                    pids.append(pid)
        return sorted(pids)

    def flood(self, name: str, **facts: Any) -> Flood:
        """
        Let clients ask without pause.
        """
        flood = Flood(self.port, name, **facts)
        self.addCleanup(flood.stop)
        flood.start()
        return flood

    @unittest.skipIf(duckdb is None, "duckdb isn't installed")
    def test_allAnswerAndCount(self) -> None:
        """
        Queries from many ports are answered by all processes, over UDP and
        TCP. Every query is one in the metrics, one row in the query store and
        one line in the request log, whoever answered it.
        """
        process = self.start(
            "query_store: {engine: duckdb}\nrequest_log: {enabled: true, directory: logs}"
        )
        for number in range(300):
            self.rCode(f"host{number % 50}.example.com")
            self.rCode("ads9.example")
        for number in range(40):
            askTCP(self.port, request(f"host{number}.example.com"))
        # Replayed ones are counted a moment later.
        before = -1.0
        while before != (before := self.total("dnsguard_queries_total")):
            time.sleep(0.5)
        answered = {
            labels[0]: value
            for (name, labels), value in self.metrics().items()
            if name == "dnsguard_process_queries_total"
        }
        self.assertEqual(set(answered), {"0", "1"})
        self.assertGreater(min(answered.values()), 100)
        asked = {
            labels: value
            for (name, labels), value in self.metrics().items()
            if name == "dnsguard_queries_total"
        }
        self.assertEqual(
            sum(value for labels, value in asked.items() if "tcp" in labels), 40, asked
        )
        everything = sum(asked.values())
        rows = json.loads(self.api("GET", "/cache/stats"))
        self.assertGreater(rows["replay"]["hits"], 100)
        self.assertEqual(process.stop(), -signal.SIGTERM)
        (path,) = self.folder.rglob("queries.duckdb")
        with duckdb.connect(str(path), read_only=True) as store:
            counts = dict(
                store.execute(
                    "SELECT regexp_replace(qname, '[0-9]+', ''), count(*) FROM dns_queries"
                    " GROUP BY ALL"
                ).fetchall()
            )
        self.assertEqual((counts["host.example.com"], sum(counts.values())), (340, everything))
        (path,) = self.folder.rglob("dns-requests-*.log")
        self.assertEqual(len(path.read_text().splitlines()), everything)

    def test_reloadUnderLoad(self) -> None:
        """
        While configurations change, clients who ask without pause lose nothing;
        and once a change is acknowledged, no process answers by what held
        before. So it is with pauses made by hand.
        """
        self.changeUnderLoad(3, 1)
        queries = {
            labels: value
            for (name, labels), value in self.metrics().items()
            if name == "dnsguard_process_queries_total"
        }
        self.assertEqual(len(queries), 3)
        self.assertGreater(min(queries.values()), 0)

    def test_reloadUnderLoadWithThreads(self) -> None:
        """
        So it is in one process with several listener threads.
        """
        self.changeUnderLoad(1, 2)
        self.assertEqual(self.total("dnsguard_udp_sockets"), 2)

    def changeUnderLoad(self, processes: int, threads: int) -> None:
        """
        Change what holds, again and again, under load.
        """
        process = self.start(processes=processes, threads=threads)
        flood = self.flood("changes.example.com")
        changes: list[tuple[float, float, int]] = []

        def change(work: Callable[[], object], rCode: int) -> None:
            began = time.monotonic()
            work()
            changes.append((began, time.monotonic(), rCode))
            # More than were under way.
            enough = len(flood.answers) + 200
            self.assertTrue(until(lambda: len(flood.answers) > enough))

        def reload(blocked: bool) -> None:
            more = "  denylist: [changes.example.com]" if blocked else ""
            process.config.write_text(self.config(more, processes, threads))
            told = process.output().count("configuration reloaded")
            process.signal(signal.SIGHUP)
            again = until(lambda: process.output().count("configuration reloaded") > told)
            self.assertTrue(again, process.output())

        for _ in range(3):
            change(lambda: reload(True), dns.ENAME)
            change(lambda: reload(False), dns.OK)
        change(lambda: reload(True), dns.ENAME)
        change(lambda: self.api("POST", "/blocklists/pause", {"duration_minutes": 5}), dns.OK)
        change(lambda: self.api("POST", "/blocklists/resume", {}), dns.ENAME)
        flood.stop()
        self.assertEqual((flood.lost, process.output().count("Traceback")), (0, 0))
        ends = [*(began for began, _, _ in changes[1:]), time.monotonic()]
        for (_, acknowledged, rCode), next_ in zip(changes, ends, strict=True):
            answers = {
                answer.rCode
                for answer in flood.answers
                if acknowledged < answer.sent and answer.received < next_
            }
            self.assertEqual(answers, {rCode})
        # Replayed ones are counted a moment later.
        self.assertTrue(until(lambda: self.total("dnsguard_queries_total") >= len(flood.answers)))

    def test_listsAreMappedByAll(self) -> None:
        """
        All processes map the same file of compiled lists, and so share its
        pages; a list that changes is mapped anew by all.
        """
        process = self.start()
        (helper,) = self.helpers(process)
        before = self.mapped(process.process.pid)
        self.assertEqual(before["file"], self.mapped(helper)["file"])
        self.rCode("ads11.example")
        for pid in (process.process.pid, helper):
            facts = self.mapped(pid)
            self.assertLess(facts["Pss"], facts["Rss"], facts)
        (self.folder / "ads.txt").write_text("fresh.example\n")
        self.api("POST", "/blocklists/reload")
        for _ in range(40):
            self.assertEqual(self.rCode("fresh.example"), dns.ENAME)
            self.assertEqual(self.rCode("ads7.example"), dns.OK)
        after = self.mapped(process.process.pid)
        self.assertNotEqual(before["file"], after["file"])
        self.assertEqual(after["file"], self.mapped(helper)["file"])

    def mapped(self, pid: int) -> dict[str, Any]:
        """
        The device and inode of the compiled lists that a process has mapped,
        and the kilobytes that it has of them.
        """
        facts: dict[str, Any] = {"Rss": 0, "Pss": 0}
        ours = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                ours = line.endswith("lists.set")
                if ours:
                    self.assertIn(facts.get("file"), (None, tuple(words[3:5])))
                    facts["file"] = tuple(words[3:5])
            elif ours and words[0][:-1] in facts:
                facts[words[0][:-1]] += int(words[1])
        return facts

    def test_helperIsKilled(self) -> None:
        """
        When a helper dies, others go on, what the system sends to its socket is
        answered in its stead, and another one is started. What it had counted
        stays counted.
        """
        process = self.start()
        for number in range(60):
            self.rCode(f"host{number}.example.com")
        before = self.total("dnsguard_queries_total")
        (first,) = self.helpers(process)
        flood = self.flood("www.example.com", patience=3.0, tries=3, pause=0.01)
        self.assertTrue(until(lambda: len(flood.answers) > 500))
        os.kill(first, signal.SIGKILL)
        died = time.monotonic()
        self.assertTrue(until(lambda: "0 of" not in self.ready() and self.helpers(process)))
        self.assertTrue(until(lambda: "2 of 2 processes serve" in self.ready()))
        back = time.monotonic()
        time.sleep(0.3)
        flood.stop()
        self.assertEqual(flood.lost, 0)
        # A client asks again only for what the process took with it.
        again = [answer for answer in flood.answers if answer.tries > 1]
        self.assertLessEqual(len(again), 24)
        self.assertTrue(any(died < answer.sent < back for answer in flood.answers))
        (second,) = self.helpers(process)
        self.assertNotEqual(first, second)
        numbers = self.metrics()
        self.assertEqual(numbers["dnsguard_process_ends_total", ("ended",)], 1)
        self.assertEqual(numbers["dnsguard_process_starts_total", ("1",)], 2)
        self.assertEqual(numbers["dnsguard_process_up", ("1",)], 1)
        self.assertGreater(self.total("dnsguard_queries_total"), before)
        self.assertIn("helper process 1 has ended", process.output())

    def test_wildcards(self) -> None:
        """
        On every address, with several sockets each, compiled or not, answers
        come from the address that was asked: also while the main process answers
        for a helper that has died.
        """
        for pure in (False, True):
            process = self.begin(
                lambda: self.config(threads=2).replace(
                    f"'127.0.0.1:{self.port}'", f"'0.0.0.0:{self.port}', '[::]:{self.port}'", 1
                ),
                pure,
            )
            self.assertTrue(until(lambda: "2 of 2 processes serve" in self.ready()))
            self.askEverywhere()
            (helper,) = self.helpers(process)
            os.kill(helper, signal.SIGKILL)
            self.assertTrue(until(lambda: "helper process 1 has ended" in process.output()))  # noqa: B023
            self.askEverywhere()
            self.assertTrue(until(lambda: "2 of 2 processes serve" in self.ready()))
            self.askEverywhere()
            self.assertEqual(process.stop(), -signal.SIGTERM)

    def askEverywhere(self) -> None:
        """
        Ask by all addresses, from many ports.
        """
        for address in ("127.0.0.1", "127.0.0.7", "::1"):
            for number in range(30):
                # Connected sockets take nothing from another address.
                reply = askUDP(self.port, request(f"host{number}.example.com"), host=address)
                self.assertEqual(scan(reply).rCode, dns.OK)
            for _ in range(4):
                askTCP(self.port, request("www.example.com"), host=address)

    def test_mainProcessIsKilled(self) -> None:
        """
        No helper outlives the main process, however that ends.
        """
        process = self.start(processes=3)
        helpers = self.helpers(process)
        self.assertEqual(len(helpers), 2)
        os.kill(process.process.pid, signal.SIGKILL)
        process.process.wait(PATIENCE)
        self.assertTrue(until(lambda: not any(map(isRunning, helpers))))

    def test_signalsToAll(self) -> None:
        """
        A signal to end that every process gets, as from a service manager, ends
        the main process in good order, and it the others.
        """
        process = self.start()
        (helper,) = self.helpers(process)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(helper, number)
        self.assertEqual(self.rCode("www.example.com"), dns.OK)
        self.assertTrue(isRunning(helper))
        self.assertEqual(process.stop(), -signal.SIGTERM)
        self.assertTrue(until(lambda: not isRunning(helper)))
        self.assertNotIn("Traceback", process.output())
        self.assertNotIn("didn't hand everything over", process.output())

    def test_helperHangs(self) -> None:
        """
        A helper that hangs holds up neither the numbers nor, for longer than it
        takes to give it up, a reload; after which nobody answers by old rules.
        """
        process = self.start()
        (helper,) = self.helpers(process)
        os.kill(helper, signal.SIGSTOP)
        self.assertGreater(self.total("dnsguard_queries_total"), 0)
        self.assertEqual(self.metrics()["dnsguard_process_late_total", ()], 2)
        process.config.write_text(self.config("  denylist: [www.example.com]"))
        self.api("POST", "/api/v1/reload")
        self.assertFalse(isRunning(helper))
        for _ in range(40):
            self.assertEqual(self.rCode("www.example.com"), dns.ENAME)
        self.assertTrue(until(lambda: "2 of 2 processes serve" in self.ready()))
        for _ in range(40):
            self.assertEqual(self.rCode("www.example.com"), dns.ENAME)

    def test_clearsEverywhere(self) -> None:
        """
        Clearing a name clears it in all processes.
        """
        self.start(processes=3)
        for _ in range(60):
            self.rCode("www.example.com")
        self.assertLessEqual(self.upstream.names.count("www.example.com"), 3)
        before = len(self.upstream.names)
        self.upstream.lastOctet = 77
        self.api("DELETE", "/api/v1/cache/entries?name=www.example.com")
        for _ in range(60):
            reply = askUDP(self.port, request("www.example.com"))
            self.assertEqual(reply[-4:], bytes([192, 0, 2, 77]))
        self.assertGreater(len(self.upstream.names), before)

    def test_watched(self) -> None:
        """
        Who watches queries sees those of all processes, each once; a trace
        switched on by hand is one of all processes, in one log.
        """
        process = self.start("query_store: {engine: memory}")
        traced = {"events": ["query_resolution"], "names": ["traced.example.com"]}
        self.api("PUT", "/trace-events", traced)
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.control}/api/v1/queries/tail?qname=watched",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(asked, timeout=60) as tail:
            self.assertEqual(tail.readline(), b"\n")
            for number in range(40):
                self.rCode(f"n{number}.watched.example.com")
                self.rCode(f"n{number}.traced.example.com")
            rows: list[dict[str, Any]] = []
            while len(rows) < 40:
                line = tail.readline()
                if line.strip():
                    rows.append(json.loads(line))
        names = {row["qname"] for row in rows}
        self.assertEqual(names, {f"n{number}.watched.example.com" for number in range(40)})

        def lines() -> list[str]:
            return [line for line in process.output().splitlines() if "query n" in line]

        self.assertTrue(until(lambda: len(lines()) >= 40, 5), process.output())
        self.assertEqual(len({line.partition("query ")[2].split()[0] for line in lines()}), 40)
        ours = sum("helper 1]" in line for line in lines())
        self.assertTrue(0 < ours < 40, ours)

    @unittest.skipIf(MISSING, MISSING)
    def test_redisIsShared(self) -> None:
        """
        What one process has put into Redis, the others find there; clearing
        clears both.
        """
        folder = self.folder / "redis"
        folder.mkdir()
        server = RedisServer(folder, {"unixsocket": "s"})
        self.addCleanup(server.stop)
        server.start()
        self.start(f"cache: {{redis: {{unix_socket: '{folder}/s', timeout: 1s}}}}", processes=3)

        def kept() -> int:
            return json.loads(self.api("GET", "/cache/stats")).get("redis_keys") or 0

        names = itertools.count()

        def warm() -> bool:
            # Until all are connected, what they have to keep may be lost.
            self.rCode(f"warm{next(names)}.example.com")
            return kept() >= 20

        def askAll() -> set[bytes]:
            message = request("shared.example.com")
            return {askUDP(self.port, message)[-4:] for _ in range(60)}

        self.assertTrue(until(warm))
        self.rCode("shared.example.com")
        self.assertTrue(until(lambda: server.ask("KEYS", "*shared.example.com*")))
        self.assertEqual(askAll(), {bytes([192, 0, 2, 99])})
        self.assertEqual(self.upstream.names.count("shared.example.com"), 1)
        self.upstream.lastOctet = 77
        self.api("POST", "/cache/clear")
        self.assertEqual(askAll(), {bytes([192, 0, 2, 77])})

    def test_listenElsewhere(self) -> None:
        """
        A reload that changes where, or in how many processes, is listened ends
        the helpers and starts others. What was counted stays counted.
        """
        process = self.start()
        (helper,) = self.helpers(process)
        before, self.port = self.port, freePort()
        process.config.write_text(self.config(processes=3))
        self.api("POST", "/api/v1/reload")
        self.assertFalse(isRunning(helper))
        self.assertEqual(self.rCode("ads7.example"), dns.ENAME)
        self.assertRaises(OSError, askUDP, before, request("www.example.com"), 1.0)
        self.assertTrue(until(lambda: "3 of 3 processes serve" in self.ready()))
        self.assertEqual(len(self.helpers(process)), 2)
        for _ in range(40):
            self.assertEqual(self.rCode("ads7.example"), dns.ENAME)
        total = self.total("dnsguard_queries_total")
        process.config.write_text(self.config(processes=1))
        self.api("POST", "/api/v1/reload")
        self.assertEqual(self.helpers(process), [])
        self.assertGreaterEqual(self.total("dnsguard_queries_total"), total)
        self.assertEqual(self.rCode("ads7.example"), dns.ENAME)

    def test_helperThatCannotStart(self) -> None:
        """
        When a helper can't be made, the main process answers all, and says why
        once for each time that it tries.
        """
        hosts = self.folder / "hosts"
        hosts.write_text("192.0.2.44 nas.example.org\n")
        process = self.start("hosts_files: [./hosts]")
        hosts.unlink()
        (helper,) = self.helpers(process)
        os.kill(helper, signal.SIGKILL)
        self.assertTrue(until(lambda: "hosts_files[0]" in process.output()), process.output())
        for _ in range(40):
            reply = askUDP(self.port, request("nas.example.org"))
            self.assertEqual(reply[-4:], bytes([192, 0, 2, 44]))
        hosts.write_text("192.0.2.44 nas.example.org\n")
        self.assertTrue(until(lambda: "2 of 2 processes serve" in self.ready()))
        self.assertNotIn("Traceback", process.output())
