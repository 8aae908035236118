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
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    succeed,
)
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent

from dnsguard.errors import PolicyError
from dnsguard.services.listcompiler import ListCompiler
from dnsguard.services.listfetch import Fetcher, InThread
from dnsguard.services.listsource import ListSource
from dnsguard.services.liststatus import BlockLists, SourceState, SourceStatus, Statistics
from dnsguard.services.liststore import ListStore
from dnsguard.services.listupdate import ListUpdater, Sources

__all__ = ["BlockLists", "BlocklistService", "SourceState", "SourceStatus", "Statistics"]

_FIRST_RETRY = 5.0


class BlocklistService(Service):
    """
    Keeps the block lists fresh.
    """

    name = "blocklists"
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        updater: ListUpdater,
        inThread: InThread,
        *,
        onChange: Callable[[BlockLists], object],
        sources: Iterable[ListSource] = (),
        refreshInterval: float = 6 * 3600.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        @param inThread: Calls a function in a thread.
        @param onChange: Is called with the lists each time that a set was
            loaded or compiled in the background.
        @param sources: The lists to begin with.
        @param refreshInterval: Seconds between refreshes, give or take a tenth.
        @param chance: Gives a number from 0 to below 1.
        @raise PolicyError: The sources contradict each other.
        """
        self._clock = clock
        self._updater = updater
        self._store = updater.store
        self._inThread = inThread
        self._onChange = onChange
        self._sources = checked(sources)
        self._interval = refreshInterval
        self._chance = chance
        self._lock = DeferredLock()
        self._working: set[Deferred[Any]] = set()
        self._call: IDelayedCall | None = None
        self._nextFull = 0.0
        self._failedRounds = 0
        self._restored: Deferred[None] = Deferred()
        updater.introduce(self._sources)

    @classmethod
    def over(
        cls,
        reactor: Any,
        agent: IAgent,
        folder: str,
        *,
        onChange: Callable[[BlockLists], object],
        sources: Iterable[ListSource] = (),
        refreshInterval: float = 6 * 3600.0,
        timeout: float = 60.0,
        maxSize: int = 256 << 20,
        failOnAny: bool = False,
        now: Callable[[], float] = time.time,
    ) -> BlocklistService:
        """
        Make the service with all its usual parts; see L{Fetcher} and
        L{ListUpdater} for what isn't said here.

        @param reactor: Its thread pool does what waits for disks.
        @param folder: Where copies and the compiled set are kept; nobody
            else's.
        """
        inThread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
        store = ListStore(folder)
        fetcher = Fetcher(
            reactor, agent, store, inThread, timeout=timeout, maxSize=maxSize, now=now
        )
        compiler = ListCompiler(reactor, inThread)
        updater = ListUpdater(
            reactor, store, fetcher, compiler, inThread, now=now, failOnAny=failOnAny
        )
        return cls(
            reactor,
            updater,
            inThread,
            onChange=onChange,
            sources=sources,
            refreshInterval=refreshInterval,
        )

    @property
    def lists(self) -> BlockLists:
        """
        All lists as they are now; empty before the service has been started.
        """
        return self._updater.lists

    @property
    def file(self) -> str:
        """
        Where the compiled lists are, for other processes to map; empty when
        there are none. It is replaced as a whole, before C{lists} are.
        """
        compiled = "inputs" in self.lists.domains.header.facts
        return str(self._updater.setPath.absolute()) if compiled else ""

    @property
    def statistics(self) -> Statistics:
        """
        The counters, now.
        """
        return self._updater.statistics

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
        Do otherwise from now on. The arguments are those of L{over}.
        """
        self._updater.configure(failOnAny=failOnAny, timeout=timeout, maxSize=maxSize)
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
        ended.addCallback(lambda _: self._updater.close())
        return ended.addCallback(lambda _: self._inThread(self._store.close))

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
            await self._updater.update(wanted, lambda source, copied: refetch or not copied)
            self._sources = wanted
            await self._inThread(self._store.forgetOthers, [source.url for source in wanted])
            if self._call is not None and self._call.active():
                self._call.cancel()
                self._plan()
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
        doing.addCallback(self._plan)

    def _complain(self, reason: Failure) -> bool:
        """
        Say what went wrong.

        @return: True, for L{_plan}.
        """
        if reason.check(PolicyError):
            self.log.error("block lists stay as they are: {reason}", reason=str(reason.value))
        elif not reason.check(CancelledError):
            self.log.failure("block lists stay as they are", reason)
        return True

    def _plan(self, failed: bool | None = None) -> None:
        """
        Plan the next refresh: sooner, but ever less soon, if something failed.

        @param failed: Did more fail than single sources?
        """
        if not self.running:
            return
        delay = self._interval
        if failed or any(status.error for status in self.lists.statuses):
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
        folder = str(self._store.folder)
        try:
            await self._inThread(self._store.prepare)
        except OSError as reason:
            self.log.error(
                "block lists can't be kept in {folder}, the next start will be without: {reason}",
                folder=folder,
                reason=reason.strerror or str(reason),
            )
        try:
            if await self._updater.restore(self._sources):
                self._announce()
        except PolicyError as reason:
            self.log.error("block lists aren't restored: {reason}", reason=str(reason))
        if not self._restored.called:
            self._restored.callback(None)
        if self.running:
            # Whoever was told of the lists may have stopped us.
            await self._tick()

    async def _tick(self) -> None:
        """
        Refresh what is due: everything, or what failed last time.
        """
        now = self._clock.seconds()
        full = now >= self._nextFull
        if full:
            self._nextFull = now + 0.9 * self._interval
        failed = {status.name for status in self.lists.statuses if status.error}
        number = self.lists.number
        await self._updater.update(
            self._sources, lambda source, copied: full or source.name in failed
        )
        if self.lists.number != number:
            self._announce()

    def _announce(self) -> None:
        try:
            self._onChange(self.lists)
        except Exception:
            self.log.failure("block lists were refreshed, but not taken into use")


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
