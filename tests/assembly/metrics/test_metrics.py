# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for L{dnsguard.assembly.metrics}.
"""

from __future__ import annotations

import shutil
import subprocess
from io import StringIO
from types import SimpleNamespace
from typing import Any

import attrs
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from twisted.application.service import MultiService
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dnsguard.answer import Outcome
from dnsguard.assembly.metrics import METRICS, SECTIONS
from dnsguard.caching.refreshstats import Removed, Sweep
from dnsguard.config.load import loadText
from dnsguard.config.sections.caching import CacheConfig
from dnsguard.config.sections.control import ControlConfig
from dnsguard.config.sections.logs import RequestLogConfig
from dnsguard.config.sections.querystore import QueryStoreConfig, QueryStoreEngine
from dnsguard.observers.applog import ApplicationLog, LineWriter
from dnsguard.observers.exposition import Kind
from dnsguard.replay.lives import Kept
from dnsguard.server.counters import DatagramCounters
from dnsguard.services.applog import ApplicationLogService
from tests.support.events import entryFor, eventOf
from tests.support.guard import makeGuard
from tests.support.replay import facts, reply, request
from tests.support.replaybatch import FakeReplayBatch

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class MetricsTests(SynchronousTestCase):
    """
    What is published of a whole server.
    """

    def guard(self, **settings: Any) -> Any:
        """
        A server that has answered a query from upstream, blocked one, and
        replayed three.
        """
        guard = makeGuard(self.mktemp(), **settings)
        metrics = guard.observers.metrics
        metrics.queryAnswered(eventOf())
        metrics.queryAnswered(eventOf(outcome=Outcome.BLOCKED))
        batch = FakeReplayBatch({1: entryFor()})
        for _ in range(3):
            batch.add(1, "192.0.2.1")
        metrics.queriesReplayed(batch)
        return guard

    def samples(self, guard: Any) -> dict[tuple[str, tuple[str, ...]], float]:
        """
        Publish it and read what is there.
        """
        octets, _ = guard.exposition.encode(OPEN_METRICS, guard.exposition.gather())
        self.assertEqual(guard.exposition.failures, {})
        return {
            (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(octets.decode())
            for sample in family.samples
        }

    def test_documentedNames(self) -> None:
        """
        The names that dashboards know say what they always said.
        """
        samples = self.samples(self.guard())
        expected = {
            "dns_cache_hits_total": 3,
            "dns_cache_misses_total": 1,
            "dns_cache_hit_rate": 75,
            "dns_l0_hits_total": 3,
            "dns_l0_entries": 0,
            "dns_queries_blocked_total": 1,
        }
        self.assertEqual({name: samples[name, ()] for name in expected}, expected)

    def test_queries(self) -> None:
        """
        Queries are counted by their labels, durations by outcome.
        """
        samples = self.samples(self.guard())
        labels = ("cached", "A", "NOERROR", "udp")
        self.assertEqual(samples["dnsguard_queries_total", labels], 3)
        self.assertEqual(samples["dnsguard_query_duration_seconds_count", ("cached",)], 3)
        self.assertEqual(samples["dnsguard_queries_replayed_total", ()], 3)

    def test_sockets(self) -> None:
        """
        What was counted on sockets that are closed by now stays counted.
        """
        guard = self.guard()
        open = DatagramCounters(received=3, errors=1, lookupErrors=2)
        guard.listeners.inner._datagrams = [SimpleNamespace(counters=open)]
        guard.pastSockets.bury(DatagramCounters(received=5, lookupErrors=1))
        samples = self.samples(guard)
        self.assertEqual(samples["dnsguard_udp_received_total", ()], 8)
        self.assertEqual(samples["dnsguard_udp_drops_total", ("errors",)], 1)
        self.assertEqual(samples["dnsguard_replay_failures_total", ("udp",)], 3)

    def test_carriedOver(self) -> None:
        """
        What became of finished replies when policies changed is published: how
        many lived on, how many didn't, and how it was found out.
        """
        guard = self.guard()
        datagrams = [request(name) for name in ("www.example.org", "mail.example.org")]
        for datagram in datagrams:
            kept = facts(datagram, 0, guard.replay.generation)
            guard.replay.remember(datagram, reply(datagram, 300), kept, 300.0, 100.0)
        guard.replay.beginCarrying(lambda kept: kept if kept.qname[1:4] == b"www" else None)
        while not guard.replay.carryOn(10, 100.0):
            pass
        guard.replay.adopt(guard.policies.current, Kept.CARRIED)
        carrier = guard.carrier
        carrier.prepared, carrier.whole, carrier.late, carrier.failures = 7, 2, 1, 3
        samples = self.samples(guard)
        for change, count in (("stored", 2), ("carried", 1), ("ended", 1)):
            self.assertEqual(samples["dnsguard_replay_changes_total", (change,)], count)
        for result, count in (("whole", 2), ("late", 1), ("other", 4)):
            self.assertEqual(samples["dnsguard_replay_policies_total", (result,)], count)
        self.assertEqual(samples["dnsguard_replay_carry_failures_total", ()], 3)

    def test_upstreams(self) -> None:
        """
        Each upstream is published with its name and address.
        """
        guard = self.guard()
        upstream = guard.forwarder.upstreams.upstreams[0]
        upstream.standing.queries = 2
        upstream.standing.replied(0.004, guard.reactor.seconds())
        samples = self.samples(guard)
        labels = {values for name, values in samples if name == "dnsguard_upstream_up"}
        self.assertEqual(len(labels), len(guard.config.upstreams))
        (mine,) = (values for values in labels if upstream.name in values)
        self.assertEqual(samples["dnsguard_upstream_queries_total", mine], 2)
        self.assertEqual(samples["dnsguard_upstream_replies_total", mine], 1)
        self.assertEqual(samples["dnsguard_upstream_duration_seconds_count", mine], 1)

    def test_refreshing(self) -> None:
        """
        What refreshing and sweeping did is published under the documented
        names, too.
        """
        guard = self.guard()
        before = self.samples(guard)
        self.assertEqual(before["dns_refresh_sweep_total", ()], 0)
        self.assertNotIn(("dns_refresh_last_sweep_count", ()), before)
        guard.caches.statistics.swept(Sweep(1.0, 5, Removed(coldKeys=2)))
        guard.caches.statistics.swept(Sweep(2.0, 3))
        guard.caches.refresh.counters.notKept = 4
        samples = self.samples(guard)
        self.assertEqual(samples["dns_refresh_sweep_total", ()], 8)
        self.assertEqual(samples["dns_refresh_last_sweep_count", ()], 3)
        self.assertEqual(samples["dnsguard_sweep_removed_total", ("cold",)], 2)
        self.assertEqual(samples["dnsguard_refreshes_total", ("not_kept",)], 4)

    def test_redis(self) -> None:
        """
        What is shared by way of Redis is published if anything is.
        """
        self.assertNotIn(("dns_l1_hits_total", ()), self.samples(self.guard()))
        cache = loadText("cache: {redis: {address: 127.0.0.1:6379}}").config.cache
        guard = self.guard(cache=cache)
        guard.chain.shared.hits = 6
        guard.redis.store._lookups.counted.legacy = 2
        samples = self.samples(guard)
        self.assertEqual(samples["dnsguard_redis_lookups_total", ("legacy",)], 2)
        self.assertEqual(samples["dns_l1_hits_total", ()], 6)
        self.assertEqual(samples["dnsguard_l1_lookups_total", ("hit",)], 6)
        self.assertEqual(samples["dnsguard_redis_up", ()], 0)
        self.assertEqual(samples["dnsguard_redis_writes_pending", ()], 0)

    def test_redisConnections(self) -> None:
        """
        What happened on each connection to Redis is published, and what only
        a cluster has if it is one.
        """
        cache = loadText("cache: {redis: {address: 127.0.0.1:6379}}").config.cache
        guard = self.guard(cache=cache)
        link = guard.redis.connections["lookups"]
        link.counted.timeouts, link.counted.commands, link.counted.writes = 3, 8, 2
        link.breaker.failed(0.0, "test")
        guard.redis.clearings.missed = 4
        samples = self.samples(guard)
        lookups = ("lookups",)
        self.assertEqual(samples["dnsguard_redis_commands_total", lookups], 8)
        self.assertEqual(samples["dnsguard_redis_commands_total", ("background",)], 0)
        self.assertEqual(samples["dnsguard_redis_round_trips_total", lookups], 2)
        self.assertEqual(samples["dnsguard_redis_breaker_trips_total", lookups], 1)
        self.assertEqual(samples["dnsguard_redis_failures_total", lookups], 1)
        troubles = "dnsguard_redis_connection_troubles_total"
        self.assertEqual(samples[troubles, ("lookups", "timeout")], 3)
        self.assertEqual(samples["dnsguard_redis_clearings_missed_total", ()], 4)
        self.assertEqual(samples["dnsguard_redis_listening", ()], 0)
        self.assertFalse([each for each in samples if each[0] == "dnsguard_redis_nodes"])
        refreshes = "dnsguard_redis_topology_refreshes_total"
        self.assertFalse([each for each in samples if each[0] == refreshes])

        cache = loadText("cache: {redis: {address: 127.0.0.1, mode: cluster}}").config.cache
        guard = self.guard(cache=cache)
        guard.redis.connections["background"].counted.overdue = 5
        samples = self.samples(guard)
        redirections = "dnsguard_redis_redirections_total"
        self.assertEqual(samples[redirections, ("background", "overdue")], 5)
        self.assertEqual(samples["dnsguard_redis_nodes", ("lookups", "available")], 0)
        self.assertEqual(samples[refreshes, ("lookups",)], 0)
        self.assertEqual(samples[troubles, ("lookups", "lost")], 0)

    def test_queryStore(self) -> None:
        """
        Rows are counted on their whole way: taken in, lost, waiting, spooled, stored.
        """
        guard = self.guard(
            queryStore=QueryStoreConfig(
                engine=QueryStoreEngine.DUCKDB, bufferSize=1000, flushToStoreInterval=60
            )
        )
        store = guard.queryStore
        for _ in range(1003):
            store.recorder.queryAnswered(eventOf())
        block = store.recorder.buffer.take()
        store.recorder.queryAnswered(eventOf())
        deliveries = store.flush.deliveries
        deliveries.add(block)
        deliveries.delivered, deliveries.lost, deliveries.failures = 5, 2, 4
        spool = deliveries._spool
        spool.add(block)
        samples = self.samples(guard)
        expected = {
            ("dns_querystore_recorded_total", ()): 1001,
            ("dns_querystore_dropped_total", ()): 3 + 2,
            ("dns_querystore_buffer_used", ()): 1,
            ("dnsguard_querystore_buffer_size", ()): 1000,
            ("dnsguard_querystore_rows_total", ("delivered",)): 5,
            ("dnsguard_querystore_rows_total", ("recovered",)): 0,
            ("dnsguard_querystore_rows_total", ("lost",)): 2,
            ("dnsguard_querystore_rows_total", ("broken",)): 0,
            ("dnsguard_querystore_held_rows", ("waiting",)): 1000,
            ("dnsguard_querystore_held_rows", ("spooled",)): 1000,
            ("dnsguard_querystore_spooled_bytes", ()): spool.octets,
            ("dnsguard_querystore_failed_deliveries_total", ()): 4,
        }
        self.assertEqual({key: samples[key] for key in expected}, expected)
        self.assertGreater(spool.octets, 0)

    def test_control(self) -> None:
        """
        What the control API refused is published, if it is served.
        """
        name = "dnsguard_control_refused_total"
        self.assertNotIn(("dnsguard_control_connections", ()), self.samples(self.guard()))
        guard = self.guard(control=ControlConfig(enabled=True))
        guard.control.factory.refused.update({413: 2, 0: 1})
        guard.control.site.requests["Block lists", "GET", 200] += 3
        guard.control.audit.lost = 4
        samples = self.samples(guard)
        self.assertEqual((samples[name, ("413",)], samples[name, ("connection",)]), (2, 1))
        self.assertEqual(samples["dnsguard_control_wrong_tokens_total", ()], 0)
        answered = "dnsguard_control_requests_total", ("block_lists", "GET", "200")
        self.assertEqual(samples[answered], 3)
        self.assertEqual(samples["dnsguard_control_audit_lost_total", ()], 4)
        self.assertEqual(samples["dnsguard_control_shut_out_total", ()], 0)

    def test_partsThatAreOff(self) -> None:
        """
        What is switched off isn't published, and does no harm.
        """
        samples = self.samples(self.guard(cache=attrs.evolve(CacheConfig(), lruSize=0)))
        self.assertNotIn(("dns_l0_entries", ()), samples)
        self.assertNotIn(("dnsguard_request_log_lines_total", ()), samples)

    def test_partsThatAreOn(self) -> None:
        """
        What is switched on, and what runs beside the server, is published.
        """
        guard = self.guard(requestLog=RequestLogConfig(enabled=True))
        guard.setServiceParent(around := MultiService())
        writer = LineWriter(StringIO())
        writer.dropped = 7
        ApplicationLogService(ApplicationLog(writer)).setServiceParent(around)
        samples = self.samples(guard)
        self.assertEqual(samples["dnsguard_request_log_lines_total", ()], 0)
        self.assertEqual(samples["dnsguard_application_log_dropped_total", ()], 7)

    def test_namesFollowTheConventions(self) -> None:
        """
        Every metric of ours but the documented ones begins with our name, is
        described by a sentence and stands once.
        """
        for metric in METRICS:
            self.assertTrue(metric.name.startswith(("dnsguard_", "dns_")), metric.name)
            self.assertTrue(metric.help.endswith("."), metric.name)
            if metric.kind is Kind.HISTOGRAM:
                self.assertTrue(metric.name.endswith("_seconds"), metric.name)
        self.assertEqual(len({metric.name for metric in METRICS}), len(METRICS))
        self.assertEqual(sum(map(len, SECTIONS.values())), len(METRICS))

    def test_promtool(self) -> None:
        """
        Prometheus' own checker finds nothing to complain of.
        """
        if shutil.which("promtool") is None:
            raise SkipTest("promtool, of Debian's package prometheus, isn't installed")
        guard = self.guard()
        octets, _ = guard.exposition.encode("", guard.exposition.gather())
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=octets, capture_output=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))
