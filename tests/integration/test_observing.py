# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A process is observed while it serves.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess, askUDP, request

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = "a-token-for-tests"
PATIENCE = 60.0

CONFIG = """\
server: {{listen: ["127.0.0.1:{port}"]}}
upstreams: ["127.0.0.1:{nobody}"]
blocklists: {{sources: [], denylist: [ads.example.org]}}
local_records: [{{name: www.example.org, type: A, value: 192.0.2.1}}]
query_store: {{engine: memory}}
control: {{enabled: true, listen: "127.0.0.1:{control}", token: {token}, debug: true}}
"""


class ObservedProcessTests(SynchronousTestCase):
    """
    Metrics, errors, traces and profiles of a process.
    """

    def setUp(self) -> None:
        """
        Start one.
        """
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.port, self.control = freePort(), freePort()
        self.text = CONFIG.format(
            port=self.port, control=self.control, nobody=freePort(), token=TOKEN
        )
        self.start()

    def start(self) -> None:
        """
        Start it, or start it again.
        """
        self.process = DNSGuardProcess(self.folder, self.text, self.port)
        self.addCleanup(self.process.stop)
        self.process.waitUntilAnswering()
        self.until(lambda: self.get("/health"))

    def until(self, attempt: Any) -> Any:
        """
        Try until it works.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = attempt()
                if found:
                    return found
            except OSError:
                pass
            if time.monotonic() > end:
                raise AssertionError(self.process.output())
            time.sleep(0.05)

    def get(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> bytes:
        """
        Ask the control API.
        """
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.control}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers},
            method=method,
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
            found: bytes = response.read()
            return found

    def metrics(self) -> dict[str, float]:
        """
        Fetch all metrics; those with labels are added up.
        """
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def test_everyQueryIsCounted(self) -> None:
        """
        Queries are counted, replayed ones too, and what is published is sound.
        """
        before = self.metrics()
        for _ in range(20):
            askUDP(self.port, request("www.example.org"))
        for _ in range(10):
            askUDP(self.port, request("ads.example.org"))

        def counted(name: str, count: int) -> bool:
            return self.metrics()[name] - before[name] == count

        self.until(lambda: counted("dnsguard_queries_total", 30))
        self.until(lambda: counted("dns_queries_blocked_total", 10))
        after = self.metrics()
        self.assertEqual(
            after["dnsguard_query_duration_seconds_count"], after["dnsguard_queries_total"]
        )
        self.assertGreater(after["dnsguard_queries_replayed_total"], 0)
        self.assertEqual(after["dnsguard_metrics_failed_total"], 0)
        self.assertGreater(after["dnsguard_reactor_lag_seconds_count"], 0)
        self.assertGreater(after["process_resident_memory_bytes"], 0)
        if shutil.which("promtool") is not None:
            done = subprocess.run(
                ["promtool", "check", "metrics"],
                input=self.get("/metrics"),
                capture_output=True,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def test_traceAndLevel(self) -> None:
        """
        A trace shows up in the log at once, and is gone as soon; the level of
        the log can be changed.
        """
        self.get("/trace-events", "PUT", {"events": ["query_resolution"]})
        askUDP(self.port, request("traced.www.example.org"))
        line = "query traced.www.example.org A from 127.0.0.1 by udp"
        self.until(lambda: line in self.process.output())
        self.get("/trace-events", "PUT", {"events": []})
        askUDP(self.port, request("untraced.www.example.org"))
        self.get("/api/v1/log-level", "PUT", {"log_level": "error"})
        self.assertEqual(json.loads(self.get("/errors"))["log_level"], "error")
        self.assertNotIn("untraced", self.process.output())

    def test_errorsOutliveTheProcess(self) -> None:
        """
        An error is shown with its page, also after a restart.
        """
        self.process.config.write_text(self.text + "nonsense: true\n")
        self.process.signal(signal.SIGHUP)

        def errors() -> list[dict[str, str]]:
            found: list[dict[str, str]] = json.loads(self.get("/errors"))["errors"]
            return [each for each in found if each["severity"] == "error"]

        found = self.until(errors)
        self.until(lambda: len(errors()) == 2)
        self.assertIn("nonsense", found[0]["message"])
        self.assertEqual(
            [each["doc_ref"] for each in errors()],
            ["configuration-problem", "configuration-not-reloaded"],
        )
        shown = errors()
        self.process.stop()
        self.start()
        self.until(lambda: errors() == shown)

    def test_profiles(self) -> None:
        """
        A flame graph of a process under load shows its functions; the memory
        it takes and its reactor are told.
        """
        picture = self.get("/debug/profile?seconds=1").decode()
        self.assertIn("ReactorBase.run", picture)
        self.assertIn("looking took", picture)
        heap = json.loads(self.get("/debug/heap?seconds=0.2"))
        self.assertGreater(heap["lines"], 0)
        state = json.loads(self.get("/debug/reactor"))
        self.assertGreater(state["readers"]["count"], 1)
        names = [each["function"] for each in state["delayed_calls"]["functions"]]
        self.assertTrue(any("ReactorLagService" in name for name in names), names)

    def test_page(self) -> None:
        """
        The commands that the page shows work as shown.
        """
        page = (DOCS / "monitoring.rst").read_text("utf-8")
        commands = re.findall(r"^    \$ (curl .*)$", page, re.MULTILINE)
        self.assertGreater(len(commands), 5)
        if shutil.which("curl") is None:
            return
        for command in commands:
            real = command.replace("127.0.0.1:8081", f"127.0.0.1:{self.control}")
            done = subprocess.run(
                ["sh", "-c", real],
                capture_output=True,
                check=False,
                cwd=self.folder,
                env={"TOKEN": TOKEN, "PATH": "/usr/bin:/bin"},
            )
            self.assertEqual(done.returncode, 0, command)
            self.assertNotIn(b'"error":', done.stdout, command)
