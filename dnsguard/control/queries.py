# -*- test-case-name: tests.control.test_queries -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What was asked: questions to the query store, and queries as they come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.task import deferLater

from dnsguard.control.queryfilters import FILTERS, WINDOW, arguments, filterOf
from dnsguard.control.route import Call, Refused, Reply, Role, Route
from dnsguard.control.schema import Schema, integer, mapOf, record, text, truth, word
from dnsguard.querystore.export import ExportFormat, export
from dnsguard.querystore.filters import QueryFilter
from dnsguard.querystore.questions import (
    SORTABLE,
    Discovery,
    FilterOptions,
    Latency,
    Recent,
    Subject,
    Summary,
    TimeSeries,
    Top,
    Upstreams,
)
from dnsguard.querystore.tail import LiveTail, Watcher

__all__ = ["QueryFamily"]

WATCH_SECONDS = 0.5
BEAT_SECONDS = 15.0
"""How long a watcher is left without a word."""

MOST_POINTS = 2000

_ENABLED = truth("Is there a query store?")


class QueryFamily:
    """
    Ask the query store.
    """

    name = "Queries"
    meaning = (
        "What was asked. Without a query store the answers say ``enabled: false`` and are empty."
    )

    def __init__(
        self,
        store: Callable[[], Any],
        tail: Callable[[], LiveTail | None],
        counters: Callable[[], Mapping[str, int]],
        clock: Any,
        now: Callable[[], float],
    ) -> None:
        """
        @param store: Gives the L{dnsguard.interfaces.IQueryStore}, if there is
            one.
        @param tail: Gives where queries can be watched, if there is a store.
        @param counters: Gives the numbers of rows recorded and lost.
        @param now: Seconds since the epoch.
        """
        self._store = store
        self._tail = tail
        self._counters = counters
        self._clock = clock
        self._now = now

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield self._asking(
            "/queries/recent",
            self.recent,
            "Show queries, page by page.",
            {
                "page": integer(1, 1_000_000, default=1),
                "page_size": integer(1, 500, default=50),
                "sort_by": word(SORTABLE, default="ts"),
                "sort_dir": word(("asc", "desc"), default="desc"),
            },
        )
        yield self._asking(
            "/queries/summary", self.summary, "Count queries by outcome.", {**WINDOW}
        )
        yield self._asking("/queries/latency", self.latency, "Say how long they took.", {**WINDOW})
        yield self._asking(
            "/queries/time-series",
            self.timeSeries,
            "Count them over time.",
            {**WINDOW, "bucket_minutes": integer(1, 60, "What a point stands for.", default=5)},
        )
        yield self._asking(
            "/queries/upstream-stats", self.upstreams, "Count them by upstream.", {**WINDOW}
        )
        yield self._asking(
            "/queries/filter-options",
            self.options,
            "Give the ten commonest values of columns to filter by.",
            {"window_minutes": integer(1, 10_080, default=60)},
        )
        yield self._asking(
            "/queries/top",
            self.top,
            "Rank names, clients, lists and more.",
            {
                **WINDOW,
                "subject": word([subject.value for subject in Subject], default="domains"),
                "limit": integer(1, 1000, default=10),
            },
            alias=False,
        )
        yield from self._otherRoutes()

    def _otherRoutes(self) -> Iterator[Route]:
        yield Route(
            "GET",
            "/queries/export",
            self.export,
            Role.VIEWER,
            "Give queries as a file, the newest first.",
            query={
                **FILTERS,
                "limit": integer(1, 50_000, default=5000),
                "format": word([kind.value for kind in ExportFormat], default="csv"),
            },
            response={"type": "string"},
            contentType="text/csv",
            otherTypes=("application/x-ndjson",),
            aliases=("/api/queries/export",),
            errors={503: "There is no query store, or it fails."},
        )
        yield Route(
            "GET",
            "/queries/tail",
            self.watch,
            Role.VIEWER,
            "Give queries as they come: a JSON object a line, an empty line now and then.",
            query={**FILTERS},
            response={"type": "string"},
            contentType="application/x-ndjson",
            errors={503: "There is no query store, or too many watch already."},
        )
        yield Route(
            "GET",
            "/clients/discovery",
            self.discover,
            Role.VIEWER,
            "Count queries by client address.",
            query={
                "window_minutes": integer(5, 10_080, default=60),
                "limit": integer(1, 200, default=50),
            },
            response=record({"enabled": _ENABLED}, open=True),
            aliases=("/api/clients/discovery",),
            errors={503: "The query store fails."},
        )
        yield Route(
            "GET",
            "/querystore/stats",
            self.stats,
            Role.VIEWER,
            "Count rows recorded, waiting and lost.",
            response=mapOf(integer()),
            aliases=("/querystore/stats",),
        )

    def _asking(
        self,
        path: str,
        handle: Callable[[Call], Any],
        summary: str,
        query: Mapping[str, Schema],
        alias: bool = True,
    ) -> Route:
        return Route(
            "GET",
            path,
            handle,
            Role.VIEWER,
            summary,
            query={**query, **FILTERS},
            response=record(
                {"enabled": _ENABLED, "error": text()}, optional=("error",), open=True
            ),
            aliases=(f"/api{path}",) if alias else (),
            errors={503: "The query store fails."},
        )

    def _filter(self, call: Call) -> QueryFilter:
        return filterOf(arguments(call.query), self._now())

    async def _ask(self, question: Any, empty: Any, **facts: Any) -> Any:
        """
        Ask a question.

        @param empty: What the engine's results would be if there were no rows.
        @param facts: What is told besides.
        """
        store = self._store()
        if store is None:
            return {"enabled": False, **facts, **question.shape(empty)}
        return {"enabled": True, **facts, **(await store.ask(question))}

    async def recent(self, call: Call) -> Any:
        """
        See the route.
        """
        query = call.query
        question = Recent(
            self._filter(call),
            query["sort_by"],
            query["sort_dir"] == "desc",
            query["page"],
            query["page_size"],
        )
        return await self._ask(question, ((), ((0,),)))

    async def summary(self, call: Call) -> Any:
        """
        See the route.
        """
        window = call.query["window_minutes"]
        return await self._ask(Summary(self._filter(call)), ((),), windowMinutes=window)

    async def latency(self, call: Call) -> Any:
        """
        See the route.
        """
        window = call.query["window_minutes"]
        nothing = (((0, *[None] * 6),),)
        return await self._ask(Latency(self._filter(call)), nothing, windowMinutes=window)

    async def timeSeries(self, call: Call) -> Any:
        """
        See the route.
        """
        window, bucket = call.query["window_minutes"], call.query["bucket_minutes"]
        question = TimeSeries(self._filter(call), bucket * 60)
        return await self._ask(question, ((), ()), windowMinutes=window, bucketMinutes=bucket)

    async def upstreams(self, call: Call) -> Any:
        """
        See the route.
        """
        window = call.query["window_minutes"]
        return await self._ask(Upstreams(self._filter(call)), ((),), windowMinutes=window)

    async def options(self, call: Call) -> Any:
        """
        See the route.
        """
        window = call.query["window_minutes"]
        question = FilterOptions(self._filter(call))
        return await self._ask(question, ((),) * 6, windowMinutes=window)

    async def top(self, call: Call) -> Any:
        """
        See the route.
        """
        window, subject = call.query["window_minutes"], Subject(call.query["subject"])
        question = Top(subject, self._filter(call), call.query["limit"])
        return await self._ask(question, ((),), windowMinutes=window)

    async def discover(self, call: Call) -> Any:
        """
        See the route.
        """
        question = Discovery(self._filter(call), call.query["limit"])
        return await self._ask(question, ((),))

    def export(self, call: Call) -> Any:
        """
        See the route.
        """
        store = self._store()
        if store is None:
            raise Refused(503, "there is no query store")
        kind = ExportFormat(call.query["format"])
        pieces = export(store, self._filter(call), self._now(), call.query["limit"], kind)
        isCSV = kind is ExportFormat.CSV
        return Reply(
            pieces=pieces,
            contentType="text/csv; charset=utf-8" if isCSV else "application/x-ndjson",
            headers={"Content-Disposition": f'attachment; filename="queries.{kind.value}"'},
        )

    def watch(self, call: Call) -> Any:
        """
        See the route.
        """
        tail = self._tail()
        if tail is None:
            raise Refused(503, "there is no query store")
        watcher = tail.watch(self._filter(call))
        if watcher is None:
            raise Refused(503, "too many watch already")
        return Reply(pieces=_Watching(watcher, self._clock), contentType="application/x-ndjson")

    def stats(self, call: Call) -> Any:
        """
        See the route.
        """
        return dict(self._counters())


class _Watching:
    """
    The rows of one who watches, as lines of JSON.

    No generator, because closing one that nobody has asked for anything yet
    doesn't run any of it.
    """

    def __init__(self, watcher: Watcher, clock: Any) -> None:
        self._watcher = watcher
        self._clock = clock
        self._begun = False

    def __aiter__(self) -> _Watching:
        return self

    async def __anext__(self) -> bytes:
        if not self._begun:
            # So that the client knows at once that it watches.
            self._begun = True
            return b"\n"
        silent = 0.0
        while silent < BEAT_SECONDS:
            await deferLater(self._clock, WATCH_SECONDS)
            rows = self._watcher.take()
            if rows:
                return "".join(f"{json.dumps(row)}\n" for row in rows).encode("ascii")
            silent += WATCH_SECONDS
        return b"\n"

    async def aclose(self) -> None:
        """
        Watch no more.
        """
        self._watcher.leave()
