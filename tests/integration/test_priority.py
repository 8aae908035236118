# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Who goes first in a process that serves, and in those that it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import dnsguard
from dnsguard.priority import BEHIND, HINDMOST, LATER, NICEST
from tests.support.ports import freePort
from tests.support.process import DNSGuardProcess

PATIENCE = 60.0

CONFIG = """\
server: {{listen: ["127.0.0.1:{port}"], reuse_port_listeners: {processes}, processes: {processes}}}
upstreams: ["127.0.0.1:{nobody}"]
local_records: [{{name: localhost, type: A, value: 127.0.0.1}}]
query_store: {{engine: {engine}}}
control: {{enabled: false}}
"""


def priorities(process: int) -> dict[int, int]:
    """
    How far behind each thread of a process is.
    """
    return {
        int(task.name): os.getpriority(os.PRIO_PROCESS, int(task.name))
        for task in Path(f"/proc/{process}/task").iterdir()
    }


def workers(process: int, name: str) -> list[int]:
    """
    Those that run a module, and that a process has started.
    """
    found = []
    for place in Path("/proc").iterdir():
        try:
            parent = int((place / "stat").read_text("ascii").rpartition(")")[2].split()[1])
            command = (place / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == process and name.encode() in command:
            found.append(int(place.name))
    return found


class WorkerTests(SynchronousTestCase):
    """
    Programs that somebody waits for.
    """

    if sys.platform != "linux":
        skip = "Linux has such policies"

    def test_stepsBack(self) -> None:
        """
        What compiles lists, and what changes large files, is behind before it
        reads what there is to do.
        """
        before = os.getpriority(os.PRIO_PROCESS, 0)
        for module in ("dnsguard.services.listworker", "dnsguard.control.config.rewriter"):
            program = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=Path(dnsguard.__file__).parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            with program:
                try:
                    end = time.monotonic() + PATIENCE
                    while os.sched_getscheduler(program.pid) != os.SCHED_BATCH:
                        self.assertLess(time.monotonic(), end, module)
                        self.assertIsNone(program.poll(), module)
                        time.sleep(0.01)
                    found = os.getpriority(os.PRIO_PROCESS, program.pid)
                finally:
                    program.kill()
            self.assertEqual(found, max(before, LATER), module)


class PriorityTests(SynchronousTestCase):
    """
    A running server.
    """

    if sys.platform != "linux":
        skip = "Linux has priorities of threads"
    elif find_spec("dnsguard.replay._listener") is None:
        skip = "the listener isn't compiled"

    def begin(self, engine: str, processes: int = 1) -> DNSGuardProcess:
        """
        Start it.
        """
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        port, nobody = freePort(), freePort()
        config = CONFIG.format(port=port, nobody=nobody, engine=engine, processes=processes)
        process = DNSGuardProcess(folder, config, port)
        self.addCleanup(process.stop)
        process.waitUntilAnswering()
        return process

    def test_listenerIsAhead(self) -> None:
        """
        The thread that answers is where the process began; the reactor is
        behind it.
        """
        before = os.getpriority(os.PRIO_PROCESS, 0)
        if before + BEHIND > NICEST:
            raise SkipTest("there is no room behind these tests")
        process = self.begin("none").process.pid
        found = priorities(process)
        self.assertEqual(found.pop(process), before + BEHIND)
        waiting = [thread for thread in found if "skb" in self.wait(process, thread)]
        if not waiting:
            raise SkipTest("the system doesn't say what threads wait for")
        self.assertEqual([found[thread] for thread in waiting], [before])

    def test_equals(self) -> None:
        """
        Of several processes the first one doesn't step back, as those it starts
        would be behind from the beginning; the reactor of each other one is.
        """
        before = os.getpriority(os.PRIO_PROCESS, 0)
        if before + BEHIND > NICEST:
            raise SkipTest("there is no room behind these tests")
        process = self.begin("none", processes=2)
        end = time.monotonic() + PATIENCE
        found: list[int] = []
        while found != [before + BEHIND]:
            self.assertLess(time.monotonic(), end, (found, process.output()))
            found = [
                os.getpriority(os.PRIO_PROCESS, helper)
                for helper in workers(process.process.pid, "dnsguard.helper")
            ]
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, process.process.pid), before)

    def wait(self, process: int, thread: int) -> str:
        """
        What a thread waits for in the system; the listener's waits for datagrams.
        """
        try:
            return Path(f"/proc/{process}/task/{thread}/wchan").read_text("ascii")
        except OSError:
            return ""

    def test_storeIsBehind(self) -> None:
        """
        The process that stores rows is behind all others, and interrupts nobody.
        """
        before = os.getpriority(os.PRIO_PROCESS, 0)
        process = self.begin("duckdb")
        end = time.monotonic() + PATIENCE
        wanted = (max(before, HINDMOST), os.SCHED_BATCH)
        found: list[tuple[int, int]] = []
        while found != [wanted]:
            self.assertLess(time.monotonic(), end, (found, process.output()))
            found = [
                (os.getpriority(os.PRIO_PROCESS, worker), os.sched_getscheduler(worker))
                for worker in workers(process.process.pid, "dnsguard.querystore.duckworker")
            ]

    if find_spec("duckdb") is None:
        test_storeIsBehind.skip = "there is no duckdb"  # type: ignore[attr-defined]
