# -*- test-case-name: tests.processes.test_pool -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
All helper processes of a server, as one service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dnsguard.errors import HelperError
from dnsguard.observers.exposition import Metric
from dnsguard.processes.counts import Counts
from dnsguard.processes.helper import HANG_SECONDS, Helper
from dnsguard.processes.link import Handler
from dnsguard.processes.orders import Orders
from dnsguard.processes.run import Run, Stage
from dnsguard.processes.standin import SocketStandIn
from dnsguard.processes.totals import addCounts

__all__ = ["HelperPool", "Launch", "Outfit", "Past"]

SCRAPE_SECONDS = 1.0
"""How long who wants to see numbers waits for helpers; then the last ones do."""

QUERIES = "dnsguard_queries_total"

Launch = Callable[[Sequence[Any], Mapping[str, Handler], Callable[[], object]], Run]
"""Starts a process with sockets and handlers; see L{dnsguard.processes.process.launch}."""


class Outfit:
    """
    What one helper gets to serve with.

    @ivar sockets: Its sockets, each with its address.
    @ivar standIn: Reads them while it doesn't.
    """

    def __init__(self, sockets: Sequence[Any], standIn: SocketStandIn) -> None:
        self.sockets = tuple(sockets)
        self.standIn = standIn

    def describe(self) -> list[list[Any]]:
        """
        Say what the sockets are bound to, in their order.
        """
        return [[address.host, address.port] for address, _ in self.sockets]


class Past:
    """
    What processes that have ended leave behind; it outlives a pool, as a counter
    must never fall.

    @ivar counts: What they counted, as far as it only grows.
    @ivar queries: By the number of a helper: queries answered.
    @ivar ends: By why: helpers that ended without being told to.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.queries: Counter[int] = Counter()
        self.ends: Counter[str] = Counter()

    def bury(self, metrics: Sequence[Metric], number: int, counts: Counts) -> None:
        """
        Add what one counted.
        """
        self.queries[number] += int(counts.total(QUERIES))
        self.counts = addCounts(metrics, self.counts, counts.growing(metrics))


class HelperPool(Service):
    """
    Runs helper processes, and speaks to all of them.

    @ivar helpers: The helpers.
    @ivar metrics: What is counted.
    @ivar past: What those counted that have ended.
    @ivar lateCounts: How often numbers were shown that weren't new, because a
        helper took too long.
    """

    log = Logger()

    def __init__(
        self,
        outfits: Sequence[Outfit],
        launch: Launch,
        orders: Callable[[int], Orders],
        metrics: Sequence[Metric],
        clock: IReactorTime,
        handlers: Mapping[str, Callable[[int, dict[str, Any], bytes], Any]],
        version: str,
        past: Past,
    ) -> None:
        """
        @param outfits: One for each helper.
        @param orders: Gives what holds, under a number.
        @param handlers: By name: what helpers may ask for besides what this
            knows; called with the number of the helper first.
        @param version: What helpers must be, too: the code on disk may be newer
            than the one that runs.
        @param past: What those counted that ended before.
        """
        self.setName("helpers")
        self.metrics = tuple(metrics)
        self.past = past
        self.lateCounts = 0
        self._outfits = tuple(outfits)
        self._launch = launch
        self._makeOrders = orders
        self._clock = clock
        self._handlers = dict(handlers)
        self._version = version
        self._revision = 1
        self._orders: Orders | None = None
        self.helpers = tuple(
            Helper(
                number,
                clock,
                self._start,
                outfit.standIn,
                self._current,
                partial(past.bury, self.metrics, number),
                past.ends,
            )
            for number, outfit in enumerate(self._outfits, 1)
        )

    # Running them.

    def startService(self) -> None:
        """
        Start all.
        """
        super().startService()
        for helper in self.helpers:
            helper.start()

    def stopService(self) -> Deferred[None]:
        """
        Let all of them hand over what they have, and end.

        @return: Fires when they have ended, and their sockets are closed.
        """
        super().stopService()
        stopped = DeferredList([helper.stop() for helper in self.helpers])

        def close(_: Any) -> None:
            for outfit in self._outfits:
                outfit.standIn.close()

        return stopped.addCallback(close)

    def _start(self, helper: Helper) -> Run:
        outfit = self._outfits[helper.number - 1]
        own: dict[str, Handler] = {
            "hello": lambda fields, payload: self._greet(helper, outfit, fields),
            "ready": lambda fields, payload: helper.ready(),
        }
        for name, handler in self._handlers.items():
            own[name] = _numbered(handler, helper.number)
        return self._launch([bound for _, bound in outfit.sockets], own, helper.ended)

    def _greet(self, helper: Helper, outfit: Outfit, fields: dict[str, Any]) -> Any:
        if fields["version"] != self._version:
            raise HelperError(
                f"version {fields['version']} was installed while {self._version} runs;"
                " start dnsguard again"
            )
        told, payload = helper.hello().encode()
        return {**told, "sockets": outfit.describe()}, payload

    # What holds.

    def _current(self) -> Orders:
        if self._orders is None:
            self._orders = self._makeOrders(self._revision)
        return self._orders

    def changed(self) -> None:
        """
        What holds is something else now: tell all.
        """
        self._revision += 1
        self._orders = None
        if self.running:
            for helper in self.helpers:
                helper.follow()

    def settled(self) -> Deferred[None]:
        """
        Wait until no helper goes by anything but what holds now. It takes no
        longer than L{HANG_SECONDS} and what killing a process takes.
        """
        waiting = [helper.whenFollowing(self._revision) for helper in self.helpers]
        return DeferredList(waiting).addCallback(lambda _: None)

    # Asking them.

    def serving(self) -> Iterator[Helper]:
        """
        Those that serve now.
        """
        return (helper for helper in self.helpers if helper.stage is Stage.SERVING)

    def counts(self) -> Deferred[list[Counts]]:
        """
        Say what all have counted, those included that have ended. What a helper
        doesn't say at once is what it said last.
        """
        # A list of results: those that were still waited for when the time was
        # up are failures in it.
        asked = DeferredList([helper.recount() for helper in self.helpers], consumeErrors=True)
        asked.addTimeout(SCRAPE_SECONDS, self._clock)

        def told(results: Any) -> list[Counts]:
            self.lateCounts += not all(inTime for inTime, _ in results)
            return [self.past.counts, *(helper.counts for helper in self.helpers)]

        return asked.addCallback(told)

    def clear(self, qname: bytes | None, below: bool) -> Deferred[int]:
        """
        Clear what all of them remember. One that doesn't is ended.

        @param qname: The name; L{None}: everything.
        @param below: All names below it, too?
        @return: Fires when no helper has any of it; how many answers the one
            had that had most.
        """
        fields = {"qname": None if qname is None else qname.hex(), "below": below}
        cleared = [
            Deferred.fromCoroutine(self._clear(helper, fields)) for helper in self.serving()
        ]
        return gatherResults(cleared).addCallback(lambda numbers: max(numbers, default=0))

    async def _clear(self, helper: Helper, fields: dict[str, Any]) -> int:
        run = helper.run
        assert run is not None
        try:
            reply, _ = await run.call("clear", fields, seconds=HANG_SECONDS)
        except HelperError as reason:
            await helper.replace(reason)
            return 0
        cleared: int = reply["cleared"]
        return cleared

    # Numbers about them.

    def standInSockets(self) -> int:
        """
        How many sockets are read in place of helpers.
        """
        return sum(outfit.standIn.reading for outfit in self._outfits)

    def standInCounters(self) -> list[Any]:
        """
        The counters of the sockets that are read in place of helpers.
        """
        return [
            listener.counters for outfit in self._outfits for listener in outfit.standIn.listeners
        ]


def _numbered(handler: Callable[[int, dict[str, Any], bytes], Any], number: int) -> Handler:
    return lambda fields, payload: handler(number, fields, payload)
