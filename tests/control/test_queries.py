# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.control.queries}.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.answer import Outcome
from dnsguard.control.queries import BEAT_SECONDS, WATCH_SECONDS, QueryFamily
from dnsguard.errors import StoreError
from dnsguard.observers.anonymize import Anonymity, Anonymizer
from dnsguard.observers.exclusion import Exclusion
from dnsguard.querystore.memory import MemoryStore
from dnsguard.querystore.recorder import QueryRecorder
from dnsguard.querystore.tail import MAX_WATCHERS, LiveTail
from tests.support.control import Connection, PromptMemoryReactor, Response, ask, factoryOf
from tests.support.events import NOON, eventOf


class QueryCase(SynchronousTestCase):
    """
    Base of tests with a store.
    """

    def setUp(self) -> None:
        self.reactor = PromptMemoryReactor()
        self.store: Any = MemoryStore(self.reactor, self.reactor.pool, lambda: NOON)
        self.tail: Any = LiveTail()
        self.recorder = QueryRecorder(1000, Exclusion((), ()), Anonymizer(Anonymity.NONE, b""))
        family = QueryFamily(
            lambda: self.store,
            lambda: self.tail,
            lambda: {"buffer_size": 5},
            self.reactor,
            lambda: NOON,
        )
        self.factory = factoryOf(self.reactor, family)

    def fill(self) -> None:
        """
        Put some queries into the store, and show them to those who watch.
        """
        for number, (name, outcome, client) in enumerate(
            [
                ("www.example.org", Outcome.UPSTREAM, "192.0.2.1"),
                ("ads.example", Outcome.BLOCKED, "192.0.2.2"),
                ("ads.example", Outcome.BLOCKED, "192.0.2.1"),
                ("nas.home.arpa", Outcome.LOCAL, "192.0.2.1"),
            ]
        ):
            self.recorder.queryAnswered(
                eventOf(name, outcome, client=client, finished=NOON - 100 * number)
            )
        block = self.recorder.buffer.take()
        assert block is not None
        self.successResultOf(self.store.insert(block))
        self.tail.offer(block)

    def ask(self, path: str) -> Response:
        """
        Ask as a viewer.
        """
        return ask(self.factory, "GET", path, token="viewer")

    def told(self, path: str) -> Any:
        """
        What is answered, which is good.
        """
        response = self.ask(path)
        self.assertEqual(response.status, 200, response.body)
        return response.json


class AskingTests(QueryCase):
    """
    Tests for questions to the store.
    """

    def test_recent(self) -> None:
        """
        Rows come sorted, by pages, with their number.
        """
        self.fill()
        told = self.told("/api/queries/recent?page_size=3")
        self.assertEqual((told["total"], len(told["rows"]), told["enabled"]), (4, 3, True))
        self.assertEqual(told["rows"][0]["qname"], "www.example.org")
        told = self.told("/api/queries/recent?page_size=3&page=2&sort_dir=desc")
        self.assertEqual([row["qname"] for row in told["rows"]], ["nas.home.arpa"])
        told = self.told("/api/queries/recent?sort_by=qname&sort_dir=asc")
        self.assertEqual(told["rows"][0]["qname"], "ads.example")

    def test_filters(self) -> None:
        """
        Each filter holds, and all hold together.
        """
        self.fill()
        for query, total in [
            ("q=ADS", 2),
            ("search=192.0.2.2", 1),
            ("qname=example", 3),
            ("outcome=blocked,local", 3),
            ("outcome=blocked&client=192.0.2.1", 1),
            ("client_ip=192.0.2.1", 3),
            ("since_minutes=2", 2),
            ("qtype=AAAA", 0),
            ("min_duration_ms=1000", 0),
            ("max_duration_ms=1000", 4),
        ]:
            self.assertEqual(self.told(f"/api/queries/recent?{query}")["total"], total, query)

    def test_shapes(self) -> None:
        """
        Each question is answered in its documented shape.
        """
        self.fill()
        told = self.told("/api/queries/summary?window_minutes=60")
        self.assertEqual((told["windowMinutes"], told["total"]), (60, 4))
        self.assertIn({"outcome": "blocked", "count": 2}, told["statuses"])
        self.assertEqual(self.told("/api/queries/latency")["count"], 4)
        told = self.told("/api/queries/time-series?bucket_minutes=1")
        self.assertEqual(sum(bucket["blocked"] for bucket in told["buckets"]), 2)
        told = self.told("/api/queries/filter-options")["options"]
        self.assertEqual(told["qname"][0], {"value": "ads.example", "count": 2})
        told = self.told("/api/clients/discovery?window_minutes=10")
        self.assertEqual(told["discovered"][0], {"ip": "192.0.2.1", "query_count": 3})
        told = self.told("/api/v1/queries/top?subject=blocked")
        self.assertEqual(told["top"], [{"value": "ads.example", "count": 2}])
        self.assertEqual(self.told("/querystore/stats"), {"buffer_size": 5})

    def test_window(self) -> None:
        """
        What is older than the window isn't counted.
        """
        self.fill()
        self.assertEqual(self.told("/api/queries/summary?window_minutes=4")["total"], 3)
        self.assertEqual(self.told("/api/queries/summary?window_minutes=1")["total"], 1)

    def test_withoutStore(self) -> None:
        """
        Without a store the answers have the same shape, and are empty.
        """
        self.fill()
        paths = [
            f"/api/queries/{name}"
            for name in (
                "recent",
                "summary",
                "latency",
                "time-series",
                "upstream-stats",
                "filter-options",
            )
        ]
        for path in [*paths, "/api/clients/discovery", "/api/v1/queries/top"]:
            full = self.told(path)
            store, self.store = self.store, None
            empty = self.told(path)
            self.store = store
            self.assertEqual(set(empty), set(full), path)
            self.assertEqual((full["enabled"], empty["enabled"]), (True, False))
        self.store = self.tail = None
        self.assertEqual(self.ask("/api/queries/export").status, 503)
        self.assertEqual(self.ask("/api/v1/queries/tail").status, 503)

    def test_storeFails(self) -> None:
        """
        A store that fails is answered with 503 and why.
        """
        self.store.ask = lambda question: fail(StoreError("clickhouse", "away"))
        response = self.ask("/api/queries/recent")
        self.assertEqual((response.status, response.json), (503, {"error": "clickhouse: away"}))


class StreamingTests(QueryCase):
    """
    Tests for files and for watching.
    """

    def test_csv(self) -> None:
        """
        A file has a header and the newest rows first, no more than wanted.
        """
        self.fill()
        response = self.ask("/api/queries/export?limit=3&qname=example")
        rows = list(csv.DictReader(io.StringIO(response.body.decode())))
        self.assertEqual(
            [row["qname"] for row in rows], ["www.example.org", "ads.example", "ads.example"]
        )
        self.assertIn("attachment", response.headers["content-disposition"])
        self.assertEqual(response.headers["content-type"], "text/csv; charset=utf-8")

    def test_jsonLines(self) -> None:
        """
        Or a line of JSON for each row.
        """
        self.fill()
        response = self.ask("/api/queries/export?format=jsonl")
        rows = [json.loads(line) for line in response.body.splitlines()]
        self.assertEqual(len(rows), 4)

    def watch(self, query: str = "") -> Connection:
        """
        Begin to watch.
        """
        connection = Connection(self.factory)
        connection.send(
            f"GET /api/v1/queries/tail{query} HTTP/1.1\r\nAuthorization: Bearer viewer\r\n\r\n".encode()
        )
        return connection

    def rows(self, connection: Connection) -> list[Any]:
        """
        The rows that were shown.
        """
        body = connection.responses()[0].body
        return [json.loads(line) for line in body.splitlines() if line.strip()]

    def test_tail(self) -> None:
        """
        Who watches is shown what matches, as it comes, and gets a sign of life
        when nothing does.
        """
        connection = self.watch("?outcome=blocked")
        self.fill()
        self.reactor.advance(WATCH_SECONDS)
        self.assertEqual([row["qname"] for row in self.rows(connection)], ["ads.example"] * 2)
        before = len(connection.transport.value())
        for _ in range(int(BEAT_SECONDS / WATCH_SECONDS)):
            self.reactor.advance(WATCH_SECONDS)
        self.assertGreater(len(connection.transport.value()), before)
        connection.leave()
        self.assertEqual(self.tail.watchers, set())

    def test_onlyTheHead(self) -> None:
        """
        Who asks for the head alone isn't kept waiting, and doesn't watch.
        """
        for path in ("tail", "export"):
            response = ask(self.factory, "HEAD", f"/api/v1/queries/{path}", token="viewer")
            self.assertEqual((response.status, response.body), (200, b""))
        self.assertEqual(self.tail.watchers, set())

    def test_tooManyWatch(self) -> None:
        """
        Only so many may watch at a time.
        """
        watching = [self.watch() for _ in range(MAX_WATCHERS)]
        self.assertEqual(self.ask("/api/v1/queries/tail").status, 503)
        watching.pop().leave()
        watching.append(self.watch())
        self.assertEqual(watching[-1].responses()[0].status, 200)
        for connection in watching:
            connection.leave()
        self.assertEqual(self.tail.watchers, set())
