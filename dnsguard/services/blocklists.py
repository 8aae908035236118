# -*- test-case-name: tests.services.test_blocklists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
The service that keeps the block lists fresh.

All lists of all client groups are in one compiled set; each group's rules
L{select <dnsguard.policy.domainset.DomainSet.select>} theirs. At start the
last set is mapped as it is found on disk, so that filtering begins at once,
network or not. Then, and every refresh interval, sources are asked whether
they have changed; if any has, the set is compiled anew in another process and
handed to whoever builds policies. A source that fails keeps its entries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    DeferredSemaphore,
    gatherResults,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listcompiler import Compiler
from dnsguard.services.listfetch import Fetcher, InThread
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststatus import (
    BlockLists,
    SourceState,
    SourceStatus,
    Statistics,
    statusOf,
)
from dnsguard.services.liststore import ListStore, StoredCopy
from dnsguard.services.listworker import Job, inputsOf, reportsIn

__all__ = ["BlockLists", "BlocklistService", "SourceState", "SourceStatus", "Statistics"]

Sources = tuple[ListSource, ...]

Outcome = tuple[StoredCopy | None, str, float]
"""Of one fetch: the copy, or what went wrong; and the seconds it took."""

Outcomes = dict[str, Outcome]
"""Outcomes by URL."""

Inputs = tuple[tuple[str, str, str], ...]
"""See L{Job.lists}."""

_FIRST_RETRY = 60.0
_FIRST_PAUSE = 2.0


class BlocklistService(Service):
    """
    Keeps the block lists fresh.

    @ivar lists: All lists as they are now. Empty before the service has been
        started.
    """

    name = "blocklists"
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: ListStore,
        fetcher: Fetcher,
        compiler: Compiler,
        inThread: InThread,
        *,
        onChange: Callable[[BlockLists], object],
        sources: Iterable[ListSource] = (),
        refreshInterval: float = 6 * 3600.0,
        failOnAny: bool = False,
        attempts: int = 3,
        concurrency: int = 4,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        @param store: Where copies and the compiled set are kept.
        @param compiler: Compiles, see L{dnsguard.services.listcompiler}.
        @param inThread: Calls a function in a thread.
        @param onChange: Is called with the lists each time that a set was
            loaded or compiled in the background.
        @param sources: The lists to begin with.
        @param refreshInterval: Seconds between refreshes, give or take a tenth.
        @param failOnAny: Change nothing when one source fails.
        @param attempts: How often a source is tried in one refresh.
        @param concurrency: Sources fetched at a time.
        @param now: Gives the seconds since the epoch.
        @param chance: Gives a number from 0 to below 1.
        """
        self._clock = clock
        self._store = store
        self._fetcher = fetcher
        self._compiler = compiler
        self._inThread = inThread
        self._onChange = onChange
        self._sources = checked(sources)
        self._interval = refreshInterval
        self._failOnAny = failOnAny
        self._attempts = attempts
        self._now = now
        self._chance = chance
        self._lock = DeferredLock()
        self._slots = DeferredSemaphore(concurrency)
        self._copies: dict[str, StoredCopy] = {}
        self._inputs: list[str] = []
        self._working: set[Deferred[Any]] = set()
        self._call: IDelayedCall | None = None
        self._nextFull = 0.0
        self._failedRounds = 0
        self._counts = Statistics()
        self._restored: Deferred[None] = Deferred()
        self.lists = BlockLists(DomainSet.build([]), ())
        self._note(self._sources, {}, {})

    @property
    def statistics(self) -> Statistics:
        """
        The counters, now.
        """
        return attrs.evolve(
            self._counts,
            names=len(self.lists.domains),
            octets=self.lists.domains.header.size,
            failedSources=sum(bool(status.error) for status in self.lists.statuses),
        )

    @property
    def sources(self) -> Sources:
        """
        The lists that are kept fresh.
        """
        return self._sources

    def configure(
        self, *, refreshInterval: float, failOnAny: bool, timeout: float, maxSize: int
    ) -> None:
        """
        Do otherwise from now on.

        @param refreshInterval: As the constructor takes it, likewise
            C{failOnAny}.
        @param timeout: As L{Fetcher} takes it, likewise C{maxSize}.
        """
        self._fetcher.configure(timeout=timeout, maxSize=maxSize)
        self._failOnAny = failOnAny
        if refreshInterval == self._interval:
            return
        self._interval = refreshInterval
        if self._call is not None and self._call.active():
            self._call.cancel()
            self._nextFull = self._clock.seconds() + 0.9 * refreshInterval
            self._plan()

    def whenRestored(self) -> Deferred[None]:
        """
        Wait for what is on disk.

        @return: A Deferred that fires when the lists of the last run have been
            handed to C{onChange}, or when it is clear that there are none.
            Cancelling it changes nothing.
        """
        waiting: Deferred[None] = Deferred()
        self._restored.addCallback(lambda _: None if waiting.called else waiting.callback(None))
        return waiting

    def startService(self) -> None:
        """
        Load what is on disk, then refresh, then go on refreshing.
        """
        super().startService()
        self._background(self._begin)

    def stopService(self) -> Deferred[Any]:
        """
        Stop fetching and compiling.

        @return: A Deferred that fires when nothing is under way any more.
        """
        super().stopService()
        if self._call is not None and self._call.active():
            self._call.cancel()
        working = list(self._working)
        ended = DeferredList([_ending(work) for work in working])
        for work in working:
            work.cancel()
        return ended

    def load(self, sources: Iterable[ListSource], *, refetch: bool = True) -> Deferred[BlockLists]:
        """
        Change to other sources, or fetch the same ones anew. The caller is told
        of the result and C{onChange} isn't.

        @param refetch: Ask those, too, of which there is a copy?
        @return: A Deferred of the lists, fired when each source was tried. It
            fails with L{PolicyError}, and nothing has changed, when a set can't
            be compiled or a source fails and that is to count.
        @raise PolicyError: The sources contradict each other.
        """
        wanted = checked(sources)

        async def change() -> BlockLists:
            copies = await self._known(wanted)
            fetched = [source for source in wanted if refetch or source.url not in copies]
            await self._update(wanted, copies, fetched)
            self._sources = wanted
            await self._inThread(self._store.forgetOthers, [source.url for source in wanted])
            return self.lists

        return self._exclusively(change)

    def refresh(self) -> Deferred[BlockLists]:
        """
        Fetch all sources anew, now.

        @return: As L{load} does.
        """
        return self.load(self._sources)

    def ruleText(self, name: str, line: int) -> Deferred[str | None]:
        """
        Give a line of a list as it was written.

        @param name: The list's name.
        @return: A Deferred of the line, cut at 200 letters; of L{None} if there
            is none.
        """
        urls = [source.url for source in self._sources if source.name == name]
        if not urls:
            return succeed(None)
        text: Deferred[str | None] = self._inThread(self._store.lineOf, urls[0], line)
        return text

    def _exclusively(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        """
        Do something that nothing else may be done beside.
        """
        doing = self._lock.run(lambda: Deferred.fromCoroutine(work()))
        self._working.add(doing)

        def done(result: Any) -> Any:
            self._working.discard(doing)
            return result

        return doing.addBoth(done)

    def _background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """
        Do something that nobody waits for, and then plan the next refresh.
        """
        self._call = None
        doing = self._exclusively(work)
        doing.addErrback(self._complain)
        doing.addCallback(lambda _: self._plan())

    def _complain(self, reason: Failure) -> None:
        if reason.check(PolicyError):
            self.log.error("block lists stay as they are: {reason}", reason=str(reason.value))
        elif not reason.check(CancelledError):
            self.log.failure("block lists stay as they are", reason)

    def _plan(self) -> None:
        """
        Plan the next refresh: sooner, but ever less soon, if sources failed.
        """
        if not self.running:
            return
        delay = self._interval
        if any(status.error for status in self.lists.statuses):
            delay = min(delay, _FIRST_RETRY * 2.0 ** min(self._failedRounds, 20))
            self._failedRounds += 1
        else:
            self._failedRounds = 0
        self._call = self._clock.callLater(
            delay * (0.9 + 0.2 * self._chance()), self._background, self._tick
        )

    async def _begin(self) -> None:
        """
        Do what is to be done first.
        """
        try:
            await self._inThread(self._store.prepare)
        except OSError as reason:
            self.log.error(
                "block lists can't be kept in {folder}: {reason}",
                folder=str(self._store.folder),
                reason=str(reason),
            )
        copies = await self._known(self._sources)
        if copies:
            try:
                await self._restore(copies)
            except PolicyError as reason:
                self.log.error("block lists aren't restored: {reason}", reason=str(reason))
            else:
                self._announce()
        if not self._restored.called:
            self._restored.callback(None)
        await self._tick()

    async def _restore(self, copies: dict[str, StoredCopy]) -> None:
        """
        Take the compiled set as it is on disk, or make it of the copies.
        """
        lists = _inputs(self._sources, copies)
        try:
            domains = await self._inThread(_loadWhole, self._setPath)
        except PolicyError:
            await self._compile(lists)
        else:
            if domains.header.facts.get("inputs") == inputsOf(lists):
                self._inputs = inputsOf(lists)
                self._adopt(domains)
            else:
                await self._compile(lists)
        self._copies = copies
        self._note(self._sources, copies, {})

    async def _tick(self) -> None:
        """
        Refresh what is due: everything, or what failed last time.
        """
        now = self._clock.seconds()
        due = self._sources
        if now < self._nextFull:
            failed = {status.name for status in self.lists.statuses if status.error}
            due = tuple(source for source in due if source.name in failed)
        else:
            self._nextFull = now + 0.9 * self._interval
        number = self.lists.number
        await self._update(self._sources, await self._known(self._sources), due)
        if self.lists.number != number:
            self._announce()

    def _announce(self) -> None:
        try:
            self._onChange(self.lists)
        except Exception:
            self.log.failure("block lists were refreshed, but not taken into use")

    async def _known(self, sources: Sources) -> dict[str, StoredCopy]:
        """
        Find the copies of sources, on disk if they're new here.
        """
        found = {}
        for url in dict.fromkeys(source.url for source in sources):
            copy = self._copies.get(url) or await self._inThread(self._store.find, url)
            if copy is not None:
                found[url] = copy
        return found

    async def _update(
        self, sources: Sources, copies: dict[str, StoredCopy], due: Iterable[ListSource]
    ) -> None:
        """
        Fetch, and compile if anything has changed.
        """
        byURL = {source.url: source for source in due}
        results = await gatherResults(
            [
                self._slots.run(Deferred.fromCoroutine, self._fetchOne(source, copies.get(url)))
                for url, source in byURL.items()
            ],
            consumeErrors=True,
        )
        outcomes: Outcomes = dict(zip(byURL, results, strict=True))
        for url, (copy, _, _) in outcomes.items():
            if copy is not None:
                copies[url] = copy
        self._counts = attrs.evolve(
            self._counts, refreshes=self._counts.refreshes + 1, lastRefresh=self._now()
        )
        failed = [byURL[url].name for url, (_, error, _) in outcomes.items() if error]
        if failed and self._failOnAny:
            self._note(sources, copies, outcomes)
            raise PolicyError("block lists", f"{', '.join(failed)} failed; nothing is changed")
        lists = _inputs(sources, copies)
        if inputsOf(lists) != self._inputs:
            await self._compile(lists)
        self._copies = copies
        self._note(sources, copies, outcomes)

    async def _fetchOne(self, source: ListSource, known: StoredCopy | None) -> Outcome:
        """
        Fetch one source, with a few tries.
        """
        started = self._clock.seconds()
        for attempt in range(self._attempts):
            try:
                copy = await self._fetcher.fetch(source, known)
            except PolicyError as reason:
                self._counts = attrs.evolve(self._counts, failures=self._counts.failures + 1)
                error = reason.reason
            else:
                return copy, "", self._clock.seconds() - started
            if source.path is not None:
                break
            if attempt + 1 < self._attempts:
                pause = _FIRST_PAUSE * 2.0**attempt * (0.5 + self._chance())
                await deferLater(self._clock, pause)
        self.log.warn("block list {name} failed: {reason}", name=source.name, reason=error)
        return None, error, self._clock.seconds() - started

    async def _compile(self, lists: Inputs) -> None:
        """
        Compile copies and take the set into use.
        """
        started = self._clock.seconds()
        reports = await self._compiler(Job(lists, str(self._setPath)))
        domains = await self._inThread(DomainSet.load, self._setPath)
        self._counts = attrs.evolve(
            self._counts,
            compiles=self._counts.compiles + 1,
            compileSeconds=self._clock.seconds() - started,
        )
        self._inputs = inputsOf(lists)
        self._adopt(domains)
        for report in reports:
            self.log.info(
                "block list {name}: {names} names from {lines} lines, {repeated} repeated, "
                "{rejected} rejected{examples}",
                name=report.name,
                names=report.names,
                lines=report.lines,
                repeated=report.entries - report.names,
                rejected=report.rejected,
                examples="".join(f"; {example}" for example in report.examples[:3]),
            )

    def _adopt(self, domains: DomainSet) -> None:
        self.lists = attrs.evolve(self.lists, domains=domains, number=self.lists.number + 1)

    @property
    def _setPath(self) -> Path:
        return self._store.folder / "lists.set"

    def _note(self, sources: Sources, copies: dict[str, StoredCopy], outcomes: Outcomes) -> None:
        """
        Keep what is to be said of the sources.
        """
        before = {status.name: status for status in self.lists.statuses}
        reports = {report.name: report for report in reportsIn(self.lists.domains.header)}
        statuses = []
        for source in sources:
            last = before.get(source.name)
            error, seconds = (last.error, last.seconds) if last else ("", 0.0)
            if source.url in outcomes:
                _, error, seconds = outcomes[source.url]
            statuses.append(
                statusOf(source, copies.get(source.url), error, seconds, reports.get(source.name))
            )
        self.lists = attrs.evolve(self.lists, statuses=tuple(statuses))


def checked(sources: Iterable[ListSource]) -> Sources:
    """
    Give the sources, each once.

    @raise PolicyError: Two different ones have the same name.
    """
    found: dict[str, ListSource] = {}
    for source in sources:
        if found.setdefault(source.name, source).url != source.url:
            raise PolicyError(f"block list {source.name}", "another list has the same name")
    return tuple(found.values())


def _inputs(sources: Sources, copies: dict[str, StoredCopy]) -> Inputs:
    return tuple(
        (source.name, str(copies[source.url].path), copies[source.url].digest)
        for source in sources
        if source.url in copies
    )


def _loadWhole(path: Path) -> DomainSet:
    """
    Load a set and check every octet.
    """
    domains = DomainSet.load(path)
    domains.verify(str(path))
    return domains


def _ending(work: Deferred[Any]) -> Deferred[None]:
    """
    A Deferred that fires when another one does, whatever its result, which
    stays as it is.
    """
    ended: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        ended.callback(None)
        return result

    work.addBoth(tell)
    return ended
