# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.services.reload}.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.config import Config, Loaded, loadText
from dnsguard.errors import PolicyError
from dnsguard.services.reload import PATIENCE, ReloadService


class InlinePool:
    """
    A thread pool without threads: work is done when the test says so.
    """

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def callInThreadWithCallback(
        self,
        onResult: Callable[[bool, Any], None],
        func: Callable[..., Any],
        *args: Any,
        **kw: Any,
    ) -> None:
        """
        Keep a call for L{work}.
        """

        def call() -> None:
            try:
                result = func(*args, **kw)
            except Exception:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.waiting.append(call)

    def work(self) -> None:
        """
        Do what waits.
        """
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


class Reactor(MemoryReactorClock):
    """
    A reactor whose thread is the only one.
    """

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kw: Any) -> None:
        """
        Call at the next turn.
        """
        self.callLater(0, callable, *args, **kw)


class ReloadTests(SynchronousTestCase):
    """
    Tests for L{ReloadService}.
    """

    def setUp(self) -> None:
        """
        Make a service over a text instead of files.
        """
        self.text = "cache: {min_ttl: 1m}"
        self.applied: list[Config] = []
        self.result: Any = None
        self.reactor = Reactor()
        self.pool = InlinePool()
        self.service = ReloadService(self.load, self.apply, self.reactor, self.pool)

    def load(self) -> Loaded:
        """
        Read the text.
        """
        return loadText(self.text, "a.yaml")

    def apply(self, config: Config) -> Any:
        """
        Note a configuration.
        """
        self.applied.append(config)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def turn(self) -> None:
        """
        Let the reactor and the threads do what they have.
        """
        self.reactor.advance(0)
        self.pool.work()
        self.reactor.advance(0)

    def test_reload(self) -> None:
        """
        What is read is applied.
        """
        reloading = self.service.reload()
        self.turn()
        self.assertTrue(self.successResultOf(reloading))
        self.assertEqual([config.cache.minTTL for config in self.applied], [60.0])
        self.assertEqual((self.service.reloads, self.service.failures), (1, 0))

    def test_bad(self) -> None:
        """
        What can't be used is logged, every problem of it, and not applied.
        """
        self.text = "cache: {min_ttl: x, max_tl: 1}"
        with capturedLogs() as events:
            reloading = self.service.reload()
            self.turn()
        self.assertFalse(self.successResultOf(reloading))
        self.assertEqual(self.applied, [])
        self.assertEqual((self.service.reloads, self.service.failures), (0, 1))
        errors = [event for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual(len(errors), 3)
        self.assertIn("a.yaml:1:18: cache.min_ttl", errors[0]["problem"])
        self.assertNotIn("log_failure", errors[2])

    def test_refusedLater(self) -> None:
        """
        What can't be put into force is told with its place.
        """
        self.text = "local_records: [{name: a, type: MX, value: x}]"
        self.result = PolicyError("local_records[0].value", "no mail exchange")
        with capturedLogs() as events:
            reloading = self.service.reload()
            self.turn()
        self.assertFalse(self.successResultOf(reloading))
        problems = [event["problem"] for event in events if "problem" in event]
        self.assertEqual(problems, ["a.yaml:1:44: local_records[0].value: no mail exchange"])

    def test_defect(self) -> None:
        """
        A defect is logged with its traceback, and the service goes on.
        """
        self.result = ZeroDivisionError()
        reloading = self.service.reload()
        self.turn()
        self.assertFalse(self.successResultOf(reloading))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.result = None
        reloading = self.service.reload()
        self.turn()
        self.assertTrue(self.successResultOf(reloading))

    def test_warnings(self) -> None:
        """
        Warnings are logged, and the configuration is applied.
        """
        self.text = "upstream_timeout: 3s"
        with capturedLogs() as events:
            self.service.reload()
            self.turn()
        self.assertEqual(len(self.applied), 1)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)

    def test_requests(self) -> None:
        """
        Any number of requests during a reload are one reload after it.
        """
        self.service.startService()
        self.addCleanup(self.service.stopService)
        self.result = Deferred()
        for _ in range(5):
            self.service.request()
        self.turn()
        self.assertEqual(len(self.applied), 1)
        first, self.result = self.result, None
        first.callback(None)
        self.turn()
        self.assertEqual(len(self.applied), 2)
        self.turn()
        self.assertEqual(len(self.applied), 2)
        self.assertEqual(self.service.reloads, 2)

    def test_signal(self) -> None:
        """
        SIGHUP reloads while the service runs; afterwards the signal is what it
        was before.
        """
        before = signal.getsignal(signal.SIGHUP)
        self.service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.turn()
        self.assertEqual(len(self.applied), 1)
        self.successResultOf(self.service.stopService())
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    def test_stop(self) -> None:
        """
        Stopping waits for a reload under way, and begins no other.
        """
        self.service.startService()
        self.result = Deferred()
        self.service.request()
        self.service.request()
        self.turn()
        stopping = self.service.stopService()
        self.assertNoResult(stopping)
        self.result.callback(None)
        self.successResultOf(stopping)
        self.turn()
        self.assertEqual(len(self.applied), 1)
        self.service.request()
        self.turn()
        self.assertEqual(len(self.applied), 1)

    def test_stopInTime(self) -> None:
        """
        A reload that doesn't end is given up, and stopping goes on.
        """
        self.service.startService()
        self.result = Deferred()
        self.service.request()
        self.turn()
        stopping = self.service.stopService()
        with capturedLogs() as events:
            self.reactor.advance(PATIENCE)
        self.successResultOf(stopping)
        self.assertEqual(len(events), 1)
        self.assertIn("given up", events[0]["log_format"])
        self.assertEqual((self.service.reloads, self.service.failures), (0, 1))

    def settle(self) -> None:
        """
        Let the reactor and the threads do all that there is to do.
        """
        for _ in range(6):
            self.turn()
            self.reactor.advance(0)

    def test_attempt(self) -> None:
        """
        Whoever asks is told how it went: what was read, or all that is wrong.
        """
        attempt = self.service.attempt()
        self.settle()
        outcome = self.successResultOf(attempt)
        self.assertEqual((outcome.ok, outcome.problems), (True, ()))
        assert outcome.loaded is not None
        self.assertEqual(outcome.loaded.config, self.applied[0])
        self.text = "cache: {min_ttl: soon, mx_ttl: 1h}"
        attempt = self.service.attempt()
        self.settle()
        outcome = self.successResultOf(attempt)
        self.assertFalse(outcome.ok)
        self.assertEqual(
            [problem.path for problem in outcome.problems], ["cache.min_ttl", "cache.mx_ttl"]
        )

    def test_notInForce(self) -> None:
        """
        What keeps a good configuration from being put into force is told with
        its place.
        """
        self.result = PolicyError("cache.min_ttl", "not today")
        attempt = self.service.attempt()
        self.settle()
        outcome = self.successResultOf(attempt)
        self.assertFalse(outcome.ok)
        (problem,) = outcome.problems
        self.assertEqual((problem.file, problem.message), ("a.yaml", "not today"))

    def test_broken(self) -> None:
        """
        What nobody foresaw is a reload that failed, too.
        """
        self.result = ZeroDivisionError("oops")
        attempt = self.service.attempt()
        self.settle()
        outcome = self.successResultOf(attempt)
        self.assertFalse(outcome.ok)
        self.assertIn("oops", outcome.problems[0].message)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_oneAfterTheOther(self) -> None:
        """
        Several who ask are served in order, so that what was read first is
        never put into force last.
        """
        self.result = Deferred()
        first = self.service.attempt()
        self.settle()
        self.text = "cache: {min_ttl: 2m}"
        second = self.service.attempt()
        self.settle()
        self.assertEqual([config.cache.minTTL for config in self.applied], [60.0])
        waiting, self.result = self.result, None
        waiting.callback(None)
        self.settle()
        self.assertEqual([config.cache.minTTL for config in self.applied], [60.0, 120.0])
        self.assertTrue(self.successResultOf(first).ok)
        self.assertTrue(self.successResultOf(second).ok)
