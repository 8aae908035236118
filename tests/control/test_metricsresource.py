# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.metricsresource}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from dnsguard.control.metricsresource import MetricsResource
from dnsguard.observers.exposition import Exposition, Metric
from tests.support.threads import PromptPool, PromptReactor


class Reactor(PromptReactor):
    """
    A reactor with a pool.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self._pool = pool

    def getThreadPool(self) -> Any:
        """
        Give the pool.
        """
        return self._pool


class MetricsResourceTests(SynchronousTestCase):
    """
    Metrics are served.
    """

    exposition = Exposition([Metric.gauge("dnsguard_things", "Things.", len)], "abc")

    def ask(self, accept: bytes = b"", method: bytes = b"GET", pool: Any = None) -> Any:
        """
        Ask for them.
        """
        request: Any = DummyRequest([b""])
        request.method = method
        if accept:
            request.requestHeaders.setRawHeaders(b"accept", [accept])
        request.render(MetricsResource(self.exposition, Reactor(pool or PromptPool())))
        return request

    def test_text(self) -> None:
        """
        Without a wish it is plain text.
        """
        request = self.ask()
        body = b"".join(request.written)
        self.assertIn(b"\ndnsguard_things 3.0\n", body)
        (kind,) = request.responseHeaders.getRawHeaders(b"content-type")
        self.assertTrue(kind.startswith(b"text/plain"))
        self.assertEqual(
            request.responseHeaders.getRawHeaders(b"content-length"), [b"%d" % len(body)]
        )
        self.assertEqual(request.finished, 1)

    def test_openMetrics(self) -> None:
        """
        Who takes OpenMetrics gets it.
        """
        request = self.ask(b"application/openmetrics-text; version=1.0.0")
        self.assertTrue(b"".join(request.written).endswith(b"# EOF\n"))

    def test_head(self) -> None:
        """
        HEAD is answered without the metrics.
        """
        request = self.ask(method=b"HEAD")
        self.assertEqual((request.written, request.finished), ([], 1))

    def test_clientLeaves(self) -> None:
        """
        Nothing is written to somebody who has left.
        """
        work: list[Any] = []

        class TardyPool(PromptPool):
            def callInThreadWithCallback(self, *arguments: Any, **named: Any) -> None:
                prompt = super().callInThreadWithCallback
                work.append(lambda: prompt(*arguments, **named))

        request = self.ask(pool=TardyPool())
        request.processingFailed(Failure(ConnectionDone()))
        work.pop()()
        self.assertEqual((request.written, request.finished), ([], 0))

    def test_broken(self) -> None:
        """
        If they can't be written down that is an error, and logged.
        """
        self.patch(self.exposition, "encode", lambda accept, gathered: 1 / 0)
        request = self.ask()
        self.assertEqual((request.responseCode, request.finished), (500, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
