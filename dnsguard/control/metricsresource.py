# -*- test-case-name: tests.control.test_metricsresource -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Metrics by HTTP without the control API, for those who put a server together in
a C{.tac} file::

    root = Resource()
    root.putChild(b"metrics", MetricsResource(makeExposition(guard), reactor))
    StreamServerEndpointService(endpoint, Site(root)).setServiceParent(application)

A server of several processes is published by C{WholeExposition(guard)} of
L{dnsguard.assembly.observing} instead. Who may ask is for whoever serves it to say.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from dnsguard.control.metrics import Exposed

__all__ = ["MetricsResource"]


class MetricsResource(Resource):
    """
    Serves what is published.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, exposition: Exposed, reactor: Any) -> None:
        """
        @param reactor: In one of whose threads it is written down.
        """
        super().__init__()
        self._exposition = exposition
        self._reactor = reactor

    def render_GET(self, request: Any) -> int:
        """
        Give the metrics in the format that is asked for.
        """
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        pool = self._reactor.getThreadPool()
        gathering: Deferred[Any] = maybeDeferred(self._exposition.gather)
        writing: Deferred[tuple[bytes, str]] = gathering.addCallback(
            lambda gathered: deferToThreadPool(
                self._reactor, pool, self._exposition.encode, accept, gathered
            )
        )

        def written(found: tuple[bytes, str]) -> None:
            octets, contentType = found
            request.setHeader(b"content-type", contentType.encode("latin-1"))
            request.setHeader(b"content-length", b"%d" % len(octets))
            if request.method != b"HEAD":
                request.write(octets)
            request.finish()

        def failed(reason: Failure) -> None:
            if not reason.check(CancelledError):
                self.log.failure("metrics can't be written", reason)
                request.setResponseCode(500)
                request.finish()

        request.notifyFinish().addErrback(lambda _: writing.cancel())
        writing.addCallbacks(written, failed)
        return NOT_DONE_YET
