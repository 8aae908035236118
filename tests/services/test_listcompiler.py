# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for running the list worker, with processes that the test plays.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

import dnsguard
from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listcompiler import ListCompiler
from dnsguard.services.listworker import Job, Report, compileLists

REPORT = Report("a", 1, 1, 1, 0, {}, (), 0.0)


class FakeProcess:
    """
    What a process protocol sees of its process.
    """

    pid = 4711

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.signals: list[str] = []

    def write(self, data: bytes) -> None:
        """
        Note what the process reads.
        """
        self.written += data

    def closeStdin(self) -> None:
        """
        Note the end of what it reads.
        """
        self.closed = True

    def signalProcess(self, signal: str) -> None:
        """
        Note a signal.
        """
        self.signals.append(signal)


@implementer(IReactorProcess)
class FakeReactor(Clock):
    """
    A clock that starts processes, or can't.
    """

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.started: list[tuple[ProcessProtocol, Any, Any, Any]] = []

    def spawnProcess(  # type: ignore[override]
        self, protocol: ProcessProtocol, executable: Any, args: Any = (), env: Any = None
    ) -> Any:
        """
        Start a process.
        """
        if self.error is not None:
            raise self.error
        self.started.append((protocol, executable, args, env))
        protocol.makeConnection(FakeProcess())
        return protocol.transport


class ListCompilerTests(SynchronousTestCase):
    """
    L{ListCompiler}.
    """

    def setUp(self) -> None:
        """
        A job of one list.
        """
        path = Path(self.mktemp())
        path.write_bytes(b"ads.example\n")
        self.job = Job((("a", str(path), "digest"),), self.mktemp())
        self.reactor = FakeReactor()
        self.compiler = ListCompiler(self.reactor, maybeDeferred, timeout=10, python="/py")

    def begin(self) -> tuple[Deferred[tuple[Report, ...]], Any, Any]:
        """
        Start a process.
        """
        done = self.compiler(self.job)
        protocol = self.reactor.started[0][0]
        return done, protocol, protocol.transport

    def reason(self, done: Deferred[Any]) -> str:
        """
        Why a job failed.
        """
        return str(self.failureResultOf(done, PolicyError).value)

    def test_process(self) -> None:
        """
        A process is given the job and gives the reports.
        """
        done, protocol, process = self.begin()
        _, executable, args, env = self.reactor.started[0]
        self.assertEqual(executable, "/py")
        self.assertEqual(args, ["/py", "-m", "dnsguard.services.listworker"])
        place = str(Path(dnsguard.__file__).parent.parent)
        self.assertEqual(env["PYTHONPATH"].split(os.pathsep)[0], place)
        self.assertEqual(Job.load(process.written), self.job)
        self.assertTrue(process.closed)
        text = json.dumps([attrs.asdict(REPORT)]).encode()
        protocol.outReceived(text[:9])
        protocol.outReceived(text[9:])
        self.assertNoResult(done)
        protocol.processEnded(Failure(ProcessDone(0)))
        self.assertEqual(self.successResultOf(done), (REPORT,))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """
        A process that fails has said why in the last line of its errors.
        """
        done, protocol, _ = self.begin()
        protocol.errReceived(b"Traceback...\n")
        protocol.errReceived(b"No space left on device\n")
        protocol.processEnded(Failure(ProcessTerminated(1)))
        self.assertEqual(
            self.reason(done), "block lists: compiling failed: No space left on device"
        )

    def test_death(self) -> None:
        """
        A process that dies without a word is an error that says how.
        """
        done, protocol, _ = self.begin()
        protocol.processEnded(Failure(ProcessTerminated(None, 9)))
        self.assertIn("signal 9", self.reason(done))

    def test_nonsense(self) -> None:
        """
        A process that says something else is an error.
        """
        for text in [b"", b"{", b"[1]", b'[{"name": 1}]']:
            self.reactor.started.clear()
            done, protocol, _ = self.begin()
            protocol.outReceived(text)
            protocol.processEnded(Failure(ProcessDone(0)))
            self.reason(done)

    def test_endlessOutput(self) -> None:
        """
        A process that says too much is killed.
        """
        done, protocol, process = self.begin()
        for _ in range(18):
            protocol.outReceived(bytes(1 << 20))
        self.assertEqual(process.signals[:1], ["KILL"])
        protocol.processEnded(Failure(ProcessTerminated(None, 9)))
        self.assertIn("said too much", self.reason(done))

    def test_deadline(self) -> None:
        """
        A process that takes too long is killed.
        """
        done, protocol, process = self.begin()
        self.reactor.advance(10)
        self.assertEqual(process.signals, ["KILL"])
        protocol.processEnded(Failure(ProcessTerminated(None, 9)))
        self.assertIn("not done within 10 s", self.reason(done))

    def test_cancel(self) -> None:
        """
        Cancelling kills the process; closing waits for its end.
        """
        done, protocol, process = self.begin()
        done.cancel()
        self.assertEqual(process.signals, ["KILL"])
        self.failureResultOf(done)
        closing = self.compiler.close()
        self.assertNoResult(closing)
        protocol.processEnded(Failure(ProcessTerminated(None, 9)))
        self.successResultOf(closing)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_thread(self) -> None:
        """
        Where no process can be started, a thread does the job.
        """
        self.reactor.error = OSError("no")
        reports = self.successResultOf(self.compiler(self.job))
        self.assertEqual(reports[0].names, 1)
        self.assertEqual(len(DomainSet.load(self.job.output)), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_noProcesses(self) -> None:
        """
        Nor does a reactor without processes mind.
        """
        compiler = ListCompiler(Clock(), maybeDeferred)
        self.assertEqual(self.successResultOf(compiler(self.job)), compileLists(self.job))

    def test_threadFails(self) -> None:
        """
        What goes wrong in the thread is told the same way.
        """
        compiler = ListCompiler(Clock(), maybeDeferred)
        job = Job((("a", "/nowhere/list", "x"),), self.mktemp())
        self.assertIn("No such file or directory", self.reason(compiler(job)))
