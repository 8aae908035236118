# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.querystore.filters} and the statements made of them.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dnsguard.errors import StoreError
from dnsguard.querystore import clickhousesql, ducksql
from dnsguard.querystore.clickhousetables import Tables
from dnsguard.querystore.filters import BadFilter, QueryFilter
from dnsguard.querystore.questions import (
    SORTABLE,
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
)
from tests.support.storecontract import HOSTILE

TABLES = Tables("dnsguard", "dns_queries")


def questions(wanted: QueryFilter) -> list[Question]:
    """
    Every question there is, about the rows of a filter.
    """
    return [
        *(Recent(wanted, sortBy=column) for column in SORTABLE),
        Summary(wanted),
        Latency(wanted),
        TimeSeries(wanted),
        Upstreams(wanted),
        FilterOptions(wanted),
        Discovery(wanted),
        *(Top(subject, wanted) for subject in Subject),
    ]


class QueryFilterTests(SynchronousTestCase):
    """
    Which rows.
    """

    def test_arguments(self) -> None:
        """
        All arguments are understood, and others are left alone.
        """
        self.assertEqual(
            QueryFilter.fromArguments(
                {
                    "since_minutes": "5",
                    "q": "Ads",
                    "qname": "example",
                    "client": "tv",
                    "outcome": "blocked, Cached",
                    "rcode": "nxdomain",
                    "qtype": "a,aaaa",
                    "qclass": "in",
                    "protocol": "UDP",
                    "upstream": "u1",
                    "list": "Ads",
                    "group": "kids",
                    "instance": "one",
                    "min_duration_ms": "1.5",
                    "max_duration_ms": "20",
                    "page": "x",
                },
                1000.0,
            ),
            QueryFilter(
                since=700.0,
                search="Ads",
                qname="example",
                client="tv",
                outcomes=("blocked", "cached"),
                rCodes=("NXDOMAIN",),
                types=("A", "AAAA"),
                classes=("IN",),
                protocols=("udp",),
                upstreams=("u1",),
                lists=("Ads",),
                groups=("kids",),
                instances=("one",),
                minDuration=1.5,
                maxDuration=20.0,
            ),
        )

    def test_synonyms(self) -> None:
        """
        Two arguments have two names each.
        """
        self.assertEqual(
            QueryFilter.fromArguments({"search": "a", "client_ip": "b"}, 0),
            QueryFilter(search="a", client="b"),
        )

    def test_nothing(self) -> None:
        """
        No arguments mean all rows.
        """
        self.assertEqual(list(QueryFilter.fromArguments({}, 0).terms()), [])

    def test_badArguments(self) -> None:
        """
        What makes no sense is told by the argument's name.
        """
        for key, value in (
            ("since_minutes", "soon"),
            ("since_minutes", "-1"),
            ("since_minutes", "nan"),
            ("since_minutes", "1e400"),
            ("min_duration_ms", "inf"),
            ("max_duration_ms", "1,5"),
            ("q", "x" * 1025),
            ("outcome", ",".join(map(str, range(65)))),
        ):
            with self.assertRaises(BadFilter) as caught:
                QueryFilter.fromArguments({key: value}, 0)
            self.assertEqual(caught.exception.key, key)
            self.assertTrue(str(caught.exception).startswith(f"{key}: "))


class StatementTests(SynchronousTestCase):
    """
    SQL made of filters.
    """

    @settings(max_examples=60, deadline=None)
    @given(text=st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=40)))
    def test_typedTextIsNeverSQL(self, text: str) -> None:
        """
        Statements are the same whatever is looked for: it is in the parameters
        alone.
        """

        def texts(value: str) -> list[str]:
            wanted = QueryFilter(
                search=value,
                qname=value,
                client=value,
                clientIP=value,
                outcomes=(value,),
                lists=(value, value),
            )
            return [
                statement.text
                for question in questions(wanted)
                for statement in (
                    *ducksql.statements(question),
                    *clickhousesql.statements(question, TABLES),
                )
            ]

        self.assertEqual(texts(text), texts("plain"))

    def test_sortingIsAClosedSet(self) -> None:
        """
        A column to sort by is one of those there are.
        """
        self.assertRaises(ValueError, Recent, sortBy="ts; DROP TABLE x")

    def test_boundsOfPages(self) -> None:
        """
        Pages and rankings have bounds.
        """
        for page, size in ((0, 1), (1, 0), (1, 10_001), (1_000_001, 1)):
            self.assertRaises(ValueError, Recent, page=page, pageSize=size)
        self.assertRaises(ValueError, Top, Subject.DOMAINS, limit=1001)
        self.assertRaises(ValueError, TimeSeries, bucket=0)

    def test_unknownQuestion(self) -> None:
        """
        What isn't a question is an error of the store's.
        """
        self.assertRaises(StoreError, ducksql.statements, "how many?")
        self.assertRaises(StoreError, clickhousesql.statements, "how many?", TABLES)


class TablesTests(SynchronousTestCase):
    """
    ClickHouse's tables.
    """

    def test_identifiers(self) -> None:
        """
        Names that aren't plain identifiers are refused.
        """
        for bad in ("", "a b", "a;b", "a.b", "1a", "a`", "a'", "é", "a" * 257, "a\n"):
            self.assertRaises(StoreError, Tables, bad, "t")
            self.assertRaises(StoreError, Tables, "d", bad)
            if bad:
                self.assertRaises(StoreError, Tables, "d", "t", cluster=bad)

    def test_retention(self) -> None:
        """
        A retention that ClickHouse would reckon wrong is refused.
        """
        self.assertRaises(ValueError, Tables, "d", "t", -1)
        self.assertRaises(ValueError, Tables, "d", "t", 24 * 365 * 100)
        self.assertNotIn("TTL", Tables("d", "t", 0).create()[1].text)

    def test_cluster(self) -> None:
        """
        On a cluster, rows are in replicated tables behind one that spreads
        them.
        """
        database, local, spread = (
            statement.text for statement in Tables("d", "t", 24, "home").create()
        )
        self.assertEqual(database, "CREATE DATABASE IF NOT EXISTS d ON CLUSTER home")
        self.assertIn("d.t_local ON CLUSTER home (", local)
        self.assertIn(
            "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/d/t_local', '{replica}')",
            local,
        )
        self.assertIn(" replicated_deduplication_window = ", local)
        self.assertIn("ENGINE = Distributed(home, d, t_local, cityHash64(qname))", spread)

    def test_clusterGetsColumns(self) -> None:
        """
        A column that is missing is added to both tables of a cluster.
        """
        tables = Tables("d", "t", 24, "home")
        columns = {"ts": "DateTime64(3, 'UTC')"}
        changes = [
            statement.text
            for statement in tables.migrate("dnsguard schema 1", "toIntervalHour(24)", columns)
        ]
        for name in ("d.t_local", "d.t"):
            self.assertIn(
                f"ALTER TABLE {name} ON CLUSTER home ADD COLUMN IF NOT EXISTS `rule` String",
                changes,
            )
        self.assertEqual(len(changes), 38)

    def test_partitionIDs(self) -> None:
        """
        A partition's id is put in a statement only if it looks like one.
        """
        self.assertIn("PARTITION ID '1699999200'", TABLES.dropPartition("1699999200").text)
        self.assertRaises(StoreError, TABLES.dropPartition, "x'; DROP TABLE y; --")
