# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What every query store does, whatever engine is behind it.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

from twisted.internet import reactor
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from dnsguard.answer import Outcome
from dnsguard.interfaces import IQueryStore
from dnsguard.policy.decision import Attribution, RuleKind
from dnsguard.querystore.block import Block
from dnsguard.querystore.buffer import RowBuffer
from dnsguard.querystore.filters import QueryFilter
from dnsguard.querystore.questions import (
    Discovery,
    FilterOptions,
    Latency,
    Question,
    Recent,
    Subject,
    Summary,
    TimeSeries,
    Top,
    Upstreams,
    clientView,
)
from dnsguard.querystore.rows import ROW, fragment, texts
from tests.support.events import NOON, entryFor, eventOf
from tests.support.replaybatch import FakeReplayBatch

HOSTILE = (
    "' OR 1=1 --",
    '"; DROP TABLE queries; --',
    "\\",
    "\\'",
    "%",
    "_",
    "{p0:String}",
    "$p0",
    "\x00",
    "\n",
    "\t",
    "é☃\U0001f600",
    "'))) UNION SELECT 1 --",
    "x" * 1000,
)
"""Texts that mean something to somebody, but must not here."""


def sampleBlock() -> Block:
    """
    Eleven rows: six of a.example.org replayed, then slow ones of several sorts.
    """
    buffer = RowBuffer(1000, instance="one", nameOf=lambda address: "")
    rule = Attribution(RuleKind.LIST, "ads", "||bad.example^", 3)
    batch = FakeReplayBatch({5: entryFor("a.example.org", Outcome.CACHED, "192.0.2.80")})
    for second in range(6):
        batch.add(5, "192.0.2.1", when=NOON + second, took=0.001 * (second + 1))
    buffer.addReplayed(batch)
    for name, outcome, client, clientName, second, duration, facts in (
        ("b.example.org", Outcome.UPSTREAM, "192.0.2.2", "TV", 70, 0.020, {"upstream": "u1"}),
        ("b.example.org", Outcome.UPSTREAM, "192.0.2.2", "TV", 71, 0.040, {"upstream": "u1"}),
        (
            "c.example.org",
            Outcome.UPSTREAM,
            "2001:db8::1",
            "",
            72,
            0.060,
            {"upstream": "tls://u2", "authenticData": True},
        ),
        (
            "bad.example",
            Outcome.BLOCKED,
            "192.0.2.2",
            "TV",
            130,
            0.0005,
            {"rCode": 3, "attribution": rule},
        ),
        ("bad.example", Outcome.BLOCKED, "192.0.2.1", "", 131, 0.0005, {"attribution": rule}),
    ):
        buffer.add(
            eventOf(
                name,
                outcome,
                client=client,
                clientName=clientName,
                group="kids" if clientName else "",
                finished=NOON + second + duration,
                duration=duration,
                **facts,
            )
        )
    block = buffer.take()
    assert block is not None
    return block


def hour(number: int, count: int) -> Block:
    """
    Make a block of so many rows of one hour, with a name of its own.
    """
    start = int((NOON + number * 3600) * 1000)
    noise = random.Random(number)
    rows = b"".join(
        ROW.pack(start + at * 3_600_000 // count, 0, 0, noise.getrandbits(32), 0, 0, 0)
        for at in range(count)
    )
    template = sampleBlock()
    fact = fragment((f"hour{number}.example", *texts(template.facts[0])[1:]))
    return Block(os.urandom(16), "one", rows, template.clients[:1], (fact,))


if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object


class StoreFixture(_Base):
    """
    Mixed into a L{TestCase} that says how to make a store.
    """

    timeout = 60

    def makeStore(self) -> Any:
        """
        Make an empty store; called once a test.
        """
        raise NotImplementedError

    reactor: Any
    pool: Any
    store: Any

    def setUp(self) -> None:
        self.pool = ThreadPool(0, 8, "store-test")
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.reactor = reactor
        self.store = self.makeStore()
        self.addCleanup(lambda: self.store.close())

    async def filled(self) -> Any:
        """
        Give the store with the sample in it.
        """
        await self.store.insert(sampleBlock())
        return self.store

    async def total(self, **conditions: Any) -> int:
        """
        Count rows.
        """
        shape = await self.store.ask(Summary(QueryFilter(**conditions)))
        return int(shape["total"])


class StoreContract(StoreFixture):
    """
    The tests every store passes.
    """

    async def test_interface(self) -> None:
        """
        It is a query store, and starting it more than once does no harm.
        """
        verifyObject(IQueryStore, self.store)
        await self.store.start()
        await self.store.start()
        self.assertEqual(await self.total(), 0)

    async def test_starved(self) -> None:
        """
        It says whether it waits for the CPU of this machine.
        """
        self.assertIn(await self.store.isStarved(), (True, False))

    async def test_rowsComeBackWhole(self) -> None:
        """
        All columns of a row come back as they went in.
        """
        await self.filled()
        shape = await self.store.ask(Recent(QueryFilter(qname="c.example"), pageSize=5))
        self.assertEqual(
            shape["rows"],
            [
                {
                    "ts": "2023-11-14T22:14:32.000Z",
                    "client_ip": "2001:db8::1",
                    "client_name": "",
                    "protocol": "udp",
                    "qname": "c.example.org",
                    "qtype": "A",
                    "qclass": "IN",
                    "outcome": "upstream",
                    "rcode": "NOERROR",
                    "duration_ms": 60.0,
                    "cache_lookup_ms": 0.0,
                    "network_write_ms": 0.0,
                    "upstream_address": "tls://u2",
                    "answer": "",
                    "rule": "",
                    "list": "",
                    "client_group": "",
                    "dnssec": "secure",
                    "upstream_transport": "dot",
                    "instance": "one",
                }
            ],
        )
        shape = await self.store.ask(Recent(QueryFilter(outcomes=("blocked",), client="tv")))
        (row,) = shape["rows"]
        self.assertEqual(
            (row["rule"], row["list"], row["client_group"], row["rcode"]),
            ("||bad.example^", "ads", "kids", "NXDOMAIN"),
        )
        shape = await self.store.ask(Recent(QueryFilter(outcomes=("cached",)), pageSize=1))
        self.assertEqual(shape["rows"][0]["answer"], "A 192.0.2.80")

    async def test_blockIsStoredOnce(self) -> None:
        """
        A block given again adds nothing; another one does.
        """
        block = sampleBlock()
        await self.store.insert(block)
        await self.store.insert(block)
        self.assertEqual(await self.total(), 11)
        await self.store.insert(sampleBlock())
        self.assertEqual(await self.total(), 22)

    async def test_pages(self) -> None:
        """
        Pages follow each other without gap or repetition, and say how much
        there is.
        """
        await self.filled()
        seen = []
        for page in (1, 2, 3):
            shape = await self.store.ask(Recent(page=page, pageSize=5))
            self.assertEqual((shape["total"], shape["page"], shape["pageSize"]), (11, page, 5))
            seen += [row["ts"] for row in shape["rows"]]
        self.assertEqual(len(seen), 11)
        self.assertEqual(seen, sorted(seen, reverse=True))
        self.assertEqual(len(set(seen)), 11)

    async def test_sorting(self) -> None:
        """
        Rows are sorted by any column that can be, both ways.
        """
        await self.filled()
        for column in ("duration_ms", "qname", "client_ip", "outcome", "client_name", "list"):
            for descending in (True, False):
                shape = await self.store.ask(Recent(sortBy=column, descending=descending))
                values = [row[column] for row in shape["rows"]]
                self.assertEqual(len(values), 11)
                self.assertEqual(values, sorted(values, reverse=descending), column)
                self.assertEqual(shape["sortDir"], "desc" if descending else "asc")

    async def test_sortedPages(self) -> None:
        """
        Pages of rows sorted by name are parts of the whole.
        """
        await self.filled()
        whole = await self.store.ask(Recent(sortBy="qname", descending=False))
        parts = []
        for page in (1, 2, 3):
            shape = await self.store.ask(
                Recent(
                    QueryFilter(search="example"),
                    sortBy="qname",
                    descending=False,
                    page=page,
                    pageSize=4,
                )
            )
            parts += shape["rows"]
        self.assertEqual(
            [(row["qname"], row["ts"]) for row in parts],
            [(row["qname"], row["ts"]) for row in whole["rows"]],
        )

    async def test_filters(self) -> None:
        """
        Each condition lets through what it says.
        """
        await self.filled()
        for expected, conditions in (
            (11, {}),
            (5, {"since": NOON + 70}),
            (6, {"until": NOON + 70}),
            (3, {"since": NOON + 70, "until": NOON + 130}),
            (2, {"qname": "B.EXAMPLE"}),
            (3, {"client": "tv"}),
            (1, {"client": "2001:DB8"}),
            (7, {"clientIP": "192.0.2.1"}),
            (0, {"clientIP": "192.0.2."}),
            (2, {"search": "bad"}),
            (3, {"search": "Tv"}),
            (5, {"outcomes": ("blocked", "upstream")}),
            (1, {"rCodes": ("NXDOMAIN",)}),
            (0, {"types": ("AAAA",)}),
            (11, {"classes": ("IN",)}),
            (11, {"protocols": ("udp", "tcp")}),
            (2, {"upstreams": ("u1",)}),
            (2, {"lists": ("ads",)}),
            (3, {"groups": ("kids",)}),
            (0, {"instances": ("two",)}),
            (3, {"minDuration": 20.0}),
            (8, {"maxDuration": 6.0}),
        ):
            self.assertEqual(await self.total(**conditions), expected, conditions)

    async def test_summary(self) -> None:
        """
        Outcomes are counted, the commonest first.
        """
        store = await self.filled()
        self.assertEqual(
            await store.ask(Summary()),
            {
                "total": 11,
                "statuses": [
                    {"outcome": "cached", "count": 6},
                    {"outcome": "upstream", "count": 3},
                    {"outcome": "blocked", "count": 2},
                ],
            },
        )

    async def test_latency(self) -> None:
        """
        Percentiles are interpolated; of nothing they are nothing.
        """
        store = await self.filled()
        self.assertEqual(
            await store.ask(Latency(QueryFilter(outcomes=("cached",)))),
            {
                "count": 6,
                "avgMs": 3.5,
                "minMs": 1.0,
                "maxMs": 6.0,
                "p50Ms": 3.5,
                "p95Ms": 5.75,
                "p99Ms": 5.95,
            },
        )
        empty = await store.ask(Latency(QueryFilter(qname="nowhere")))
        self.assertEqual(set(empty.values()), {0})

    async def test_timeSeries(self) -> None:
        """
        Buckets begin at multiples of their width.
        """
        store = await self.filled()
        shape = await store.ask(TimeSeries(bucket=60))
        self.assertEqual(
            [
                (bucket["ts"], bucket["total"], bucket["cached"], bucket["blocked"])
                for bucket in shape["buckets"]
            ],
            [
                ("2023-11-14T22:13:00.000Z", 6, 6, 0),
                ("2023-11-14T22:14:00.000Z", 3, 0, 0),
                ("2023-11-14T22:15:00.000Z", 2, 0, 2),
            ],
        )
        self.assertEqual(
            shape["latencyBuckets"][1],
            {
                "ts": "2023-11-14T22:14:00.000Z",
                "count": 3,
                "avgMs": 40.0,
                "p50Ms": 40.0,
                "p95Ms": 58.0,
                "p99Ms": 59.6,
            },
        )

    async def test_upstreams(self) -> None:
        """
        Upstreams that answered are counted and timed.
        """
        store = await self.filled()
        self.assertEqual(
            await store.ask(Upstreams()),
            {
                "total": 3,
                "upstreams": [
                    {"address": "u1", "count": 2, "avgMs": 30.0},
                    {"address": "tls://u2", "count": 1, "avgMs": 60.0},
                ],
            },
        )

    async def test_rankings(self) -> None:
        """
        Whatever can be ranked is, without the empty value.
        """
        store = await self.filled()
        for subject, expected in (
            (Subject.DOMAINS, [("a.example.org", 6), ("b.example.org", 2)]),
            (Subject.BLOCKED, [("bad.example", 2)]),
            (Subject.CLIENTS, [("192.0.2.1", 7), ("192.0.2.2", 3)]),
            (Subject.UPSTREAMS, [("u1", 2), ("tls://u2", 1)]),
            (Subject.LISTS, [("ads", 2)]),
            (Subject.RULES, [("||bad.example^", 2)]),
            (Subject.GROUPS, [("kids", 3)]),
            (Subject.INSTANCES, [("one", 11)]),
        ):
            shape = await store.ask(Top(subject, limit=2))
            found = [(item["value"], item["count"]) for item in shape["top"]]
            if subject is Subject.DOMAINS:
                # Two names share the second place.
                found[1] = ("b.example.org", found[1][1])
            self.assertEqual(found, expected, subject)

    async def test_filterOptions(self) -> None:
        """
        The commonest values of the columns one filters by are offered.
        """
        store = await self.filled()
        options = (await store.ask(FilterOptions()))["options"]
        self.assertEqual(
            sorted(options), ["client_ip", "outcome", "protocol", "qname", "qtype", "rcode"]
        )
        self.assertEqual(options["qtype"], [{"value": "A", "count": 11}])
        self.assertEqual(options["qname"][0], {"value": "a.example.org", "count": 6})

    async def test_discovery(self) -> None:
        """
        Clients are found by their queries.
        """
        store = await self.filled()
        self.assertEqual(
            (await store.ask(Discovery(QueryFilter(since=NOON + 100))))["discovered"],
            [{"ip": "192.0.2.1", "query_count": 1}, {"ip": "192.0.2.2", "query_count": 1}],
        )

    async def test_clientView(self) -> None:
        """
        What one client did can be seen apart.
        """
        store = await self.filled()
        questions = clientView(QueryFilter(since=NOON), "192.0.2.2")
        shapes = {name: await store.ask(question) for name, question in questions.items()}
        self.assertEqual(shapes["summary"]["total"], 3)
        self.assertEqual(shapes["latency"]["maxMs"], 40.0)
        self.assertEqual(shapes["domains"]["top"][0], {"value": "b.example.org", "count": 2})
        self.assertEqual(shapes["blocked"]["top"], [{"value": "bad.example", "count": 1}])
        self.assertEqual(shapes["lists"]["top"], [{"value": "ads", "count": 1}])
        self.assertEqual(sum(point["total"] for point in shapes["series"]["buckets"]), 3)

    async def test_hostileTexts(self) -> None:
        """
        Whatever is looked for is looked for as it stands, and finds nothing
        here.
        """
        await self.filled()
        for text in HOSTILE:
            for conditions in (
                {"search": text},
                {"qname": text},
                {"client": text},
                {"clientIP": text},
                {"outcomes": (text,)},
                {"lists": (text, "'")},
            ):
                question: Question = Summary(QueryFilter(**conditions))
                shape = await self.store.ask(question)
                self.assertEqual(shape["total"], 0, conditions)
        self.assertEqual(await self.total(), 11)

    async def test_hostileRows(self) -> None:
        """
        Whatever rows hold comes back as it was.
        """
        buffer = RowBuffer(1000)
        for number, text in enumerate(HOSTILE):
            buffer.add(eventOf(clientName=text, finished=NOON + number, upstream=text[:250]))
        block = buffer.take()
        assert block is not None
        await self.store.insert(block)
        shape = await self.store.ask(Recent(descending=False, pageSize=100))
        self.assertEqual([row["client_name"] for row in shape["rows"]], list(HOSTILE))

    async def test_clear(self) -> None:
        """
        After clearing, nothing is there, and rows can be added again.
        """
        await self.filled()
        await self.store.clear()
        self.assertEqual(await self.total(), 0)
        await self.filled()
        self.assertEqual(await self.total(), 11)

    async def test_counters(self) -> None:
        """
        After a round of upkeep the number of rows is published.
        """
        await self.filled()
        await self.store.maintain()
        self.assertEqual(self.store.counters()["stored_rows"], 11)
        self.assertGreater(self.store.counters()["stored_octets"], 0)
