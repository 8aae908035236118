# -*- test-case-name: tests.services.test_blocklists -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Bringing all block lists up to date, once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dnsguard.errors import PolicyError
from dnsguard.policy.domainset import DomainSet
from dnsguard.services.listcompiler import Compiler
from dnsguard.services.listfetch import Fetcher, InThread
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststatus import BlockLists, Statistics, statusOf
from dnsguard.services.liststore import ListStore, StoredCopy
from dnsguard.services.listworker import Job, inputsOf, reportsIn

__all__ = ["ListUpdater", "Sources"]

Sources = tuple[ListSource, ...]

Outcome = tuple[StoredCopy | None, str, float]
"""Of one fetch: the copy, or what went wrong; and the seconds it took."""

Outcomes = dict[str, Outcome]
"""Outcomes by URL."""

Inputs = tuple[tuple[str, str, str], ...]
"""See L{Job.lists}."""


class ListUpdater:
    """
    Fetches sources, and compiles them if anything has changed. One thing at a
    time: whoever uses it sees to that.

    @ivar lists: All lists as they are now; empty at first.
    @ivar store: Where copies and the compiled set are kept.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: ListStore,
        fetcher: Fetcher,
        compiler: Compiler,
        inThread: InThread,
        *,
        now: Callable[[], float],
        failOnAny: bool = False,
        concurrency: int = 4,
    ) -> None:
        """
        @param compiler: Compiles, see L{dnsguard.services.listcompiler}.
        @param inThread: Calls a function in a thread.
        @param now: Gives the seconds since the epoch.
        @param failOnAny: Change nothing when one source fails.
        @param concurrency: Sources fetched at a time.
        """
        self.store = store
        self._clock = clock
        self._fetcher = fetcher
        self._compiler = compiler
        self._inThread = inThread
        self._now = now
        self._failOnAny = failOnAny
        self._slots = DeferredSemaphore(concurrency)
        self._copies: dict[str, StoredCopy] = {}
        self._inputs = inputsOf(())
        self._counts = Statistics()
        self.lists = BlockLists(DomainSet.build([]), ())

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

    def introduce(self, sources: Sources) -> None:
        """
        Have a status for each source before anything was done.
        """
        self._note(sources, {}, {})

    def configure(self, *, failOnAny: bool, timeout: float, maxSize: int) -> None:
        """
        Do otherwise from now on.

        @param failOnAny: As the constructor takes it.
        @param timeout: As L{Fetcher} takes it, likewise C{maxSize}.
        """
        self._failOnAny = failOnAny
        self._fetcher.configure(timeout=timeout, maxSize=maxSize)

    async def restore(self, sources: Sources) -> bool:
        """
        Take the compiled set as it is on disk, or make it of the copies.

        @return: Are there any?
        @raise PolicyError: They can't be compiled.
        """
        copies = await self._known(sources)
        if not copies:
            return False
        lists = _inputs(sources, copies)
        try:
            domains = await self._inThread(_loadWhole, self.setPath)
        except PolicyError:
            await self._compile(lists)
        else:
            if domains.header.facts.get("inputs") == inputsOf(lists):
                self._inputs = inputsOf(lists)
                self._adopt(domains)
            else:
                await self._compile(lists)
        self._copies = copies
        self._note(sources, copies, {})
        return True

    def close(self) -> Deferred[Any]:
        """
        Wait for what cancelled work left behind.
        """
        return self._compiler.close()

    async def _known(self, sources: Sources) -> dict[str, StoredCopy]:
        """
        Find the copies of sources, on disk if they're new here.
        """
        found = {}
        for url in dict.fromkeys(source.url for source in sources):
            copy = self._copies.get(url) or await self._inThread(self.store.find, url)
            if copy is not None:
                found[url] = copy
        return found

    async def update(self, sources: Sources, due: Callable[[ListSource, bool], bool]) -> None:
        """
        Fetch, and compile if anything has changed.

        @param due: Is told a source and whether there is a copy of it, and says
            whether to fetch it.
        @raise PolicyError: A set can't be compiled, or a source failed and that
            is to count. The entries are what they were.
        """
        copies = await self._known(sources)
        byURL: dict[str, ListSource] = {}
        for source in sources:
            if due(source, source.url in copies):
                byURL.setdefault(source.url, source)
        fetches = [
            self._slots.run(Deferred.fromCoroutine, self._fetchOne(source, copies.get(url)))
            for url, source in byURL.items()
        ]
        try:
            results = await gatherResults(fetches, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
            raise
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
        Fetch one source.
        """
        started = self._clock.seconds()
        try:
            copy = await self._fetcher.fetch(source, known)
        except PolicyError as reason:
            self._counts = attrs.evolve(self._counts, failures=self._counts.failures + 1)
            self.log.warn(
                "block list {name} failed: {reason}", name=source.name, reason=reason.reason
            )
            return None, reason.reason, self._clock.seconds() - started
        return copy, "", self._clock.seconds() - started

    async def _compile(self, lists: Inputs) -> None:
        """
        Compile copies and take the set into use.
        """
        if not lists:
            self._inputs = inputsOf(())
            self._adopt(DomainSet.build([]))
            return
        started = self._clock.seconds()
        try:
            reports = await self._compiler(Job(lists, str(self.setPath)))
        except PolicyError:
            # A copy may have gone or changed: look at the disk next time.
            self._copies = {}
            raise
        domains = await self._inThread(DomainSet.load, self.setPath)
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
    def setPath(self) -> Path:
        """
        Where the compiled set is, if there is one.
        """
        return self.store.folder / "lists.set"

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
