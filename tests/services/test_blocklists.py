# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Tests for the service that keeps lists fresh, without network or processes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from dnsguard.errors import PolicyError
from dnsguard.services.blocklists import BlockLists, BlocklistService, SourceState
from dnsguard.services.listfetch import Fetcher
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststore import Copy, ListStore, StoredCopy
from dnsguard.services.listupdate import ListUpdater
from dnsguard.services.listworker import Job, Report, compileLists
from dnsguard.wire.names import fromText

A = ListSource("a", "https://a.example/list")
B = ListSource("b", "https://b.example/list")


class FakeFetcher(Fetcher):
    """
    Fetches what the test put there: octets, an error in words, or L{None} for
    a server that says nothing.
    """

    def __init__(self, store: ListStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.content: dict[str, bytes | str | None] = {}
        self.fetched: list[str] = []

    def fetch(self, source: ListSource, known: StoredCopy | None) -> Deferred[StoredCopy]:
        """
        Fetch.
        """
        self.fetched.append(source.name)
        content = self.content[source.name]
        if content is None:
            return Deferred()
        if isinstance(content, str):
            return fail(PolicyError("", content))
        copy = Copy(self.store, source.url, 1000)
        copy.write(content)
        return succeed(copy.finish(self.clock.seconds()))


class FakeCompiler:
    """
    Compiles here and now, unless the test has an error for it.
    """

    def __init__(self, test: BlocklistServiceTests) -> None:
        self.test = test

    def __call__(self, job: Job) -> Deferred[tuple[Report, ...]]:
        """
        Compile.
        """
        self.test.jobs.append(job)
        if self.test.compileError:
            return fail(PolicyError("block lists", self.test.compileError))
        return maybeDeferred(compileLists, job)

    def close(self) -> Deferred[None]:
        """
        Nothing is left behind.
        """
        return succeed(None)


class BlocklistServiceTests(SynchronousTestCase):
    """
    L{BlocklistService}.
    """

    def setUp(self) -> None:
        """
        Two sources with a name each.
        """
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.folder = self.mktemp()
        self.jobs: list[Job] = []
        self.changes: list[BlockLists] = []
        self.compileError = ""
        self.contents: dict[str, bytes | str | None] = {
            "a": b"ads.example\nads.example\n",
            "b": b"tracker.example\na..b\n",
        }

    def service(self, *sources: ListSource, **options: Any) -> BlocklistService:
        """
        A service over the same folder, which may have been another's.
        """
        store = ListStore(self.folder)
        self.fetcher = FakeFetcher(store, self.clock)
        self.fetcher.content = self.contents
        updater = ListUpdater(
            self.clock,
            store,
            self.fetcher,
            FakeCompiler(self),
            maybeDeferred,
            now=self.clock.seconds,
            **options,
        )
        service = BlocklistService(
            self.clock,
            updater,
            maybeDeferred,
            onChange=self.changes.append,
            sources=sources or (A, B),
            refreshInterval=1000.0,
            chance=lambda: 0.5,
        )
        self.addCleanup(service.stopService)
        return service

    def test_filtersWithoutAFolder(self) -> None:
        """
        Where nothing can be kept, which is told, lists are used all the same.
        """
        Path(self.folder).write_bytes(b"in the way")
        service = self.service()
        with capturedLogs() as events:
            service.startService()
        self.assertEqual(len(service.lists.domains), 2)
        complaints = [event for event in events if event["log_level"] is LogLevel.error]
        self.assertEqual([event["folder"] for event in complaints], [self.folder])
        self.successResultOf(service.stopService())

    def started(self, *sources: ListSource, **options: Any) -> BlocklistService:
        """
        A started service.
        """
        service = self.service(*sources, **options)
        service.startService()
        return service

    def blocks(self, service: BlocklistService, name: str) -> bool:
        """
        Is a name in the lists?
        """
        return service.lists.domains.lookup(fromText(name)) is not None

    def states(self, service: BlocklistService) -> dict[str, SourceState]:
        """
        How the sources are doing.
        """
        return {status.name: status.state for status in service.lists.statuses}

    def test_interface(self) -> None:
        """
        It is a service with a name, and idle until started.
        """
        service = self.service()
        self.assertTrue(verifyObject(IService, service))
        self.assertEqual(service.name, "blocklists")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertFalse(os.path.exists(self.folder))
        self.assertEqual(len(service.lists.domains), 0)
        self.assertEqual(
            self.states(service), {"a": SourceState.WAITING, "b": SourceState.WAITING}
        )

    def test_firstStart(self) -> None:
        """
        At the first start lists are fetched, compiled and handed over.
        """
        service = self.started()
        self.assertEqual([lists.domains for lists in self.changes], [service.lists.domains])
        self.assertTrue(self.blocks(service, "x.ads.example"))
        a, b = service.lists.statuses
        assert a.report is not None
        assert b.report is not None
        self.assertEqual((a.state, a.duplicates, a.report.names), (SourceState.CURRENT, 1, 1))
        self.assertEqual(b.report.examples, ("line 2: not a domain name: a..b",))
        self.assertEqual((a.fetched, a.size, a.error), (1_000_000, 24, ""))
        counts = service.statistics
        self.assertEqual((counts.names, counts.refreshes, counts.compiles), (2, 1, 1))
        self.assertEqual((counts.failures, counts.failedSources), (0, 0))

    def test_restart(self) -> None:
        """
        After a restart without network the lists are there at once, compiled
        by nobody.
        """
        self.started().stopService()
        self.contents.update(a=None, b=None)
        self.jobs.clear()
        service = self.started()
        self.assertTrue(self.blocks(service, "ads.example"))
        self.assertEqual(len(self.changes), 2)
        self.assertEqual(self.jobs, [])
        self.assertEqual(service.lists.statuses[1].report.names, 1)  # type: ignore[union-attr]

    def test_restartWithDamagedSet(self) -> None:
        """
        A damaged, foreign, older or missing set is compiled again of the copies.
        """
        self.started().stopService()
        self.contents.update(a=None, b=None)
        path = Path(self.folder, "lists.set")
        good = path.read_bytes()
        older = good[:8] + b"\1" + good[9:]
        for bad in [good[:-1], good[:-400] + b"\xff" + good[-399:], b"", b"x" * 500, older, None]:
            if bad is None:
                path.unlink()
            else:
                path.write_bytes(bad)
            self.jobs.clear()
            service = self.started()
            self.assertTrue(self.blocks(service, "ads.example"), bad)
            self.assertEqual(len(self.jobs), 1)
            self.assertEqual(path.stat().st_size, len(good))
            service.stopService()

    def test_restartWithOtherSources(self) -> None:
        """
        A set of other sources isn't taken for ours.
        """
        self.started().stopService()
        self.contents.update(a=None, b=None)
        service = self.started(B)
        self.assertFalse(self.blocks(service, "ads.example"))
        self.assertTrue(self.blocks(service, "tracker.example"))

    def test_damagedCopy(self) -> None:
        """
        A damaged copy is fetched again; the others filter meanwhile.
        """
        self.started().stopService()
        store = ListStore(self.folder)
        store.pathOf(A.url).write_bytes(b"evil.example\n")
        self.contents.update(a=None, b=None)
        service = self.started()
        self.assertTrue(self.blocks(service, "tracker.example"))
        self.assertFalse(self.blocks(service, "evil.example"))
        self.assertFalse(self.blocks(service, "ads.example"))

    def test_refresh(self) -> None:
        """
        After the interval sources are asked again; what changed is compiled
        and handed over.
        """
        service = self.started()
        self.contents["a"] = b"new.example\n"
        self.clock.advance(999)
        self.assertEqual(len(self.changes), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.changes), 2)
        self.assertTrue(self.blocks(service, "new.example"))
        self.assertFalse(self.blocks(service, "ads.example"))
        self.assertTrue(self.changes[1].number > self.changes[0].number)

    def test_reschedule(self) -> None:
        """
        Another interval holds at once.
        """
        service = self.started()
        settings: Any = {"failOnAny": False, "timeout": 5.0, "maxSize": 1 << 20}
        service.configure(refreshInterval=100.0, **settings)
        self.clock.advance(99)
        self.assertEqual(service.statistics.refreshes, 1)
        self.clock.advance(1)
        self.assertEqual(service.statistics.refreshes, 2)
        self.clock.advance(100)
        self.assertEqual(service.statistics.refreshes, 3)
        self.assertEqual(self.fetcher.fetched, ["a", "b"] * 3)
        service.configure(refreshInterval=100.0, **settings)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_nothingNew(self) -> None:
        """
        When nothing has changed, nothing is compiled or handed over.
        """
        service = self.started()
        self.clock.advance(1000)
        self.assertEqual(self.fetcher.fetched, ["a", "b"] * 2)
        self.assertEqual((len(self.changes), len(self.jobs)), (1, 1))
        self.assertEqual(service.lists.statuses[0].fetched, 1_001_000)

    def test_failedSourceKeepsEntries(self) -> None:
        """
        A source that fails keeps its entries while others change.
        """
        service = self.started()
        self.contents.update(a="HTTP status 500", b=b"new.example\n")
        self.clock.advance(1000)
        self.assertTrue(self.blocks(service, "ads.example"))
        self.assertTrue(self.blocks(service, "new.example"))
        self.assertEqual(self.states(service), {"a": SourceState.OLD, "b": SourceState.CURRENT})
        self.assertEqual(service.lists.statuses[0].error, "HTTP status 500")
        self.assertEqual(service.lists.statuses[0].fetched, 1_000_000)
        counts = service.statistics
        self.assertEqual((counts.failures, counts.failedSources), (1, 1))

    def test_failedAtFirst(self) -> None:
        """
        A source that never was there is missing, and the others filter.
        """
        self.contents["a"] = "the server doesn't answer"
        service = self.started()
        self.assertTrue(self.blocks(service, "tracker.example"))
        self.assertEqual(self.states(service)["a"], SourceState.MISSING)

    def test_retries(self) -> None:
        """
        Failed sources alone are tried again soon, and ever less soon, until
        the next full refresh.
        """
        self.contents["a"] = "no network"
        service = self.started()
        self.fetcher.fetched.clear()
        times = []
        for _ in range(900):
            self.clock.advance(1)
            if self.fetcher.fetched:
                self.assertEqual(self.fetcher.fetched, ["a"])
                self.fetcher.fetched.clear()
                times.append(self.clock.seconds() - 1_000_000)
        self.assertEqual(times, [5, 15, 35, 75, 155, 315, 635])
        self.contents["a"] = b"ads.example\n"
        self.clock.advance(1000)
        self.assertTrue(self.blocks(service, "ads.example"))
        self.assertEqual(self.fetcher.fetched, ["a", "b"])
        self.clock.advance(999)
        self.assertEqual(self.fetcher.fetched, ["a", "b"])

    def test_failOnAny(self) -> None:
        """
        Where one failure is to count, nothing changes, but it's told.
        """
        service = self.started(failOnAny=True)
        self.contents.update(a="HTTP status 500", b=b"new.example\n")
        self.clock.advance(1000)
        self.assertEqual(len(self.changes), 1)
        self.assertTrue(self.blocks(service, "tracker.example"))
        self.assertEqual(service.lists.statuses[0].error, "HTTP status 500")
        failure = self.failureResultOf(service.refresh(), PolicyError)
        self.assertEqual(str(failure.value), "block lists: a failed; nothing is changed")
        self.contents["a"] = b"ads.example"
        self.successResultOf(service.refresh())
        self.assertTrue(self.blocks(service, "new.example"))

    def test_compileFails(self) -> None:
        """
        When compiling fails, the lists stay as they are, and it's tried again.
        """
        service = self.started()
        self.contents["a"] = b"new.example\n"
        self.compileError = "No space left on device"
        self.clock.advance(1000)
        self.assertTrue(self.blocks(service, "ads.example"))
        self.compileError = ""
        self.clock.advance(5)
        self.assertTrue(self.blocks(service, "new.example"))

    def test_load(self) -> None:
        """
        Other sources are fetched and given to who asked, not to C{onChange};
        copies of those that left are deleted.
        """
        service = self.started(A)
        lists = self.successResultOf(service.load([B]))
        self.assertIs(lists, service.lists)
        self.assertEqual(len(self.changes), 1)
        self.assertFalse(self.blocks(service, "ads.example"))
        self.assertTrue(self.blocks(service, "tracker.example"))
        self.assertFalse(ListStore(self.folder).pathOf(A.url).exists())
        self.fetcher.fetched.clear()
        self.clock.advance(1000)
        self.assertEqual(self.fetcher.fetched, ["b"])

    def test_loadWithoutRefetching(self) -> None:
        """
        Sources there is a copy of need not be asked.
        """
        service = self.started(A)
        self.fetcher.fetched.clear()
        self.successResultOf(service.load([A, B], refetch=False))
        self.assertEqual(self.fetcher.fetched, ["b"])
        self.assertTrue(self.blocks(service, "ads.example"))

    def test_loadFails(self) -> None:
        """
        When loading other sources fails, the old ones stay.
        """
        service = self.started(A)
        self.compileError = "No space left on device"
        self.failureResultOf(service.load([A, B]), PolicyError)
        self.compileError = ""
        self.assertTrue(self.blocks(service, "ads.example"))
        self.fetcher.fetched.clear()
        self.clock.advance(1000)
        self.assertEqual(self.fetcher.fetched, ["a"])

    def test_loadOfFailedSourceIsRetried(self) -> None:
        """
        A source that fails while it's loaded is tried again soon.
        """
        service = self.started(A)
        self.contents["b"] = "no network"
        self.successResultOf(service.load([A, B]))
        self.contents["b"] = b"tracker.example\n"
        self.clock.advance(5)
        self.assertTrue(self.blocks(service, "tracker.example"))
        self.assertEqual(len(self.changes), 2)

    def test_oneAfterTheOther(self) -> None:
        """
        Loads wait for each other.
        """
        service = self.started(A)
        self.contents["b"] = None
        waiting = [service.load([B]), service.load([A])]
        self.assertNoResult(waiting[0])
        self.assertNoResult(waiting[1])
        waiting[0].cancel()
        self.failureResultOf(waiting[0])
        self.successResultOf(waiting[1])
        self.assertTrue(self.blocks(service, "ads.example"))

    def test_stop(self) -> None:
        """
        Stopping ends what is under way, and nothing happens any more.
        """
        self.contents["a"] = None
        service = self.started()
        self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.changes, [])

    def test_stopBetween(self) -> None:
        """
        Stopping while nothing is under way is at once.
        """
        service = self.started()
        self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_badSubscriber(self) -> None:
        """
        When the lists can't be taken into use, refreshing goes on.
        """
        service = self.service()
        service._onChange = lambda lists: 1 / 0
        service.startService()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.contents["a"] = b"new.example\n"
        self.clock.advance(1000)
        self.assertTrue(self.blocks(service, "new.example"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_contradiction(self) -> None:
        """
        Two sources of the same name are refused, the same one twice isn't.
        """
        self.service(A, A)
        error = self.assertRaises(PolicyError, self.service, A, ListSource("a", "/other"))
        self.assertEqual(str(error), "block list a: another list has the same name")

    def test_sameURLTwice(self) -> None:
        """
        A URL under two names is fetched once and counts under both.
        """
        service = self.started(A, ListSource("a2", A.url))
        self.assertEqual(len(self.fetcher.fetched), 1)
        self.assertEqual(
            service.lists.domains.matches(fromText("ads.example")), [(0, 1, 0), (1, 1, 0)]
        )
        self.assertEqual(set(self.states(service).values()), {SourceState.CURRENT})

    def test_ruleText(self) -> None:
        """
        A line of a list can be had as it was written.
        """
        service = self.started()
        self.assertEqual(self.successResultOf(service.ruleText("b", 2)), "a..b")
        self.assertIsNone(self.successResultOf(service.ruleText("b", 9)))
        self.assertIsNone(self.successResultOf(service.ruleText("nobody", 1)))

    def test_folderCantBeMade(self) -> None:
        """
        Without a folder nothing is filtered, but the service lives.
        """
        Path(self.folder).write_text("in the way")
        self.contents["own"] = "Not a directory"
        service = self.started(ListSource("own", "/nowhere/list"))
        self.assertEqual(len(service.lists.domains), 0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
