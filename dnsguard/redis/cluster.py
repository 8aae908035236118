# -*- test-case-name: tests.redis.test_cluster -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
A Redis Cluster: a thin router over one link a node.

Commands go to the node that has their key, all of a node's in one pipeline.
Nodes say when a key is elsewhere by now, and the router follows; when one falls
silent the others are asked who took its place. A node that is away fails its own
keys at once, and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from dnsguard.errors import StoreError
from dnsguard.redis.endpoints import Place
from dnsguard.redis.errand import Errand, Redirections, isRedirection
from dnsguard.redis.link import COUNTERS, Link
from dnsguard.redis.replies import Command, ErrorReply, Reply
from dnsguard.redis.slots import SLOTS, keyOfCommand, readRedirection, readSlots, slotOf
from dnsguard.throttle import Throttle

__all__ = ["Cluster"]

REFRESH_SECONDS = 0.25
"""The least time between two looks at who has what."""

MAX_NODES = 1000


class Cluster:
    """
    All masters of a cluster, as one.

    @ivar name: What it is called in errors and log lines.
    @ivar counted: What was sent on.
    @ivar refreshes: How often it was found out who has what.
    """

    log = Logger()

    def __init__(
        self,
        seeds: Iterable[Place],
        makeLink: Callable[[Place, Callable[[Link, bool, str], None]], Link],
        clock: Any,
        name: str = "Redis Cluster",
        deadline: float = 0.05,
    ) -> None:
        """
        @param seeds: Where to ask at first who has what.
        @param makeLink: Makes the link to a node, and has it tell of its
            coming and going.
        @param deadline: Seconds that commands may take, however often they are
            sent on; the links see to it that one node doesn't take longer.
        """
        self.name = name
        self.counted = Redirections()
        self.refreshes = 0
        self._deadline = deadline
        self._makeLink = makeLink
        self._clock = clock
        self._seeds = tuple(seeds)
        self._links: dict[Place, Link] = {}
        self._places: dict[Link, Place] = {}
        self._masters: list[Link | None] = [None] * SLOTS
        self._servers: tuple[Link, ...] = ()
        self._past: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._available = 0
        self._known = False
        self._running = False
        self._turn = 0
        self._refreshing = False
        self._wanted = False
        self._later: IDelayedCall | None = None
        self._throttle = Throttle(60.0, clock.seconds)

    # Nodes.

    @property
    def available(self) -> bool:
        """
        Is it known who has what, and is at least one of them there?
        """
        return self._known and self._available > 0

    @property
    def reason(self) -> str:
        """
        Why it isn't available; empty if it is.
        """
        if self.available:
            return ""
        reasons = sorted({link.reason for link in self._links.values() if link.reason})
        return "; ".join(reasons) or "not connected yet"

    def servers(self) -> Sequence[Link]:
        """
        See L{dnsguard.redis.replies.IRedis}: the masters.
        """
        return self._servers

    def start(self) -> None:
        """
        Connect to the seeds, and find the others.
        """
        self._running = True
        for place in self._seeds:
            self._link(place)

    def stop(self) -> Deferred[None]:
        """
        End all connections.
        """
        self._running = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        links = list(self._links.values())
        self._links.clear()
        self._masters = [None] * SLOTS
        self._servers = ()
        self._known = False
        stopped: Any = DeferredList([link.stop() for link in links], consumeErrors=True)
        stopped.addCallback(lambda _: None)
        result: Deferred[None] = stopped
        return result

    def _link(self, place: Place) -> Link:
        link = self._links.get(place)
        if link is None:
            link = self._links[place] = self._makeLink(place, self._changed)
            self._places[link] = place
            link.start()
        return link

    def _changed(self, link: Link, available: bool, reason: str) -> None:
        """
        A node has come or gone: perhaps others know better who has what.
        """
        self._available += 1 if available else -1
        # Nothing can be asked before it is known who has what.
        self._refreshSoon(0.0 if available and not self._known else REFRESH_SECONDS)

    def probe(self) -> Deferred[bool]:
        """
        Try out the nodes that are away, and look for others in their place.
        """
        for link in tuple(self._links.values()):
            if not link.available:
                link.probe()
        if not self._known or not all(link.available for link in self.servers()):
            self._refreshSoon()
        return succeed(self.available)

    def ping(self) -> Deferred[None]:
        """
        Find out if the nodes that seem to be there are, and who has what.
        """
        self._refreshSoon()
        for link in tuple(self._links.values()):
            link.ping()
        return succeed(None)

    def counters(self) -> dict[str, int]:
        """
        Give the numbers to publish: those of all links together, and of the
        router.
        """
        total = Counter(self._past)
        for link in self._links.values():
            total.update(link.counters())
        return {
            **total,
            "moved": self.counted.moved,
            "asked": self.counted.asked,
            "overdue": self.counted.overdue,
            "refreshes": self.refreshes,
            "nodes": len(self._links),
            "nodes_available": self._available,
        }

    # Topology.

    def _refreshSoon(self, pause: float = REFRESH_SECONDS) -> None:
        """
        Find out who has what, but not all the time.
        """
        self._wanted = True
        if self._running and not self._refreshing and self._later is None:
            self._later = self._clock.callLater(pause, self._refresh)

    def _refresh(self) -> None:
        self._later = None
        self._refreshing, self._wanted = True, False
        refreshing = Deferred.fromCoroutine(self._find())
        refreshing.addErrback(lambda reason: self.log.failure("can't read the cluster", reason))
        refreshing.addCallback(self._refreshed)

    def _refreshed(self, _: Any) -> None:
        self._refreshing = False
        if self._wanted:
            self._refreshSoon()

    async def _find(self) -> None:
        """
        Ask one node after the other, until one knows.
        """
        links = [link for link in self._links.values() if link.available]
        self._turn += 1
        for number in range(len(links)):
            link = links[(self._turn + number) % len(links)]
            try:
                replies = await link.execute([(b"CLUSTER", b"SLOTS")])
                if isinstance(replies[0], StoreError):
                    raise replies[0]
                masters = readSlots(replies[0], self._places[link])
                if len(masters) > SLOTS or len({each[2] for each in masters}) > MAX_NODES:
                    raise ValueError("too many nodes")
            except (StoreError, ValueError) as error:
                self._complain(error)
                continue
            if masters and self._running:
                self._adopt(masters)
                return

    def _adopt(self, masters: Sequence[tuple[int, int, Place]]) -> None:
        """
        Go by what a node said, and let go of nodes that are no longer there.
        """
        self.refreshes += 1
        links: list[Link | None] = [None] * SLOTS
        for first, last, place in masters:
            links[first : last + 1] = [self._link(place)] * (last + 1 - first)
        self._masters = links
        wanted = {place for _, _, place in masters}
        self._servers = tuple(self._links[place] for place in sorted(wanted, key=str))
        self._known = True
        for place in set(self._links) - wanted - set(self._seeds):
            link = self._links.pop(place)
            link.stop().addErrback(lambda reason: self.log.failure("can't hang up", reason))
            # What was counted doesn't become less because a node has left.
            self._past.update({**link.counters(), "waiting": 0})
            del self._places[link]

    def _complain(self, error: Exception) -> None:
        if self._throttle.allows():
            self.log.warn("{name} doesn't say who has what: {error}", name=self.name, error=error)

    # Commands.

    def execute(self, commands: Sequence[Command], octets: bytes = b"") -> Deferred[list[Reply]]:
        """
        See L{dnsguard.redis.replies.IRedis}.
        """
        if len(commands) == 1:
            link = self._masters[slotOf(keyOfCommand(commands[0]))]
            if link is None:
                return fail(StoreError(self.name, self.reason or "nobody has that slot"))
            one: Any = link.execute(commands, octets)
            one.addCallback(self._followed, commands, link, self._due())
            result: Deferred[list[Reply]] = one
            return result
        return Deferred.fromCoroutine(self._spread(commands))

    def _due(self) -> float:
        """
        When commands that are sent now have to be answered.
        """
        return float(self._clock.seconds()) + self._deadline

    def _followed(
        self, replies: list[Reply], commands: Sequence[Command], link: Link, due: float
    ) -> Any:
        """
        Send a single command on, if its key is elsewhere.
        """
        if not isRedirection(replies[0]):
            return replies
        return Deferred.fromCoroutine(self._errand(commands, [link], due).follow(replies))

    async def _spread(self, commands: Sequence[Command]) -> list[Reply]:
        """
        Run each command at its node.
        """
        links = [self._masters[slotOf(keyOfCommand(command))] for command in commands]
        errand = self._errand(commands, links, self._due())
        replies = await errand.follow(await errand.run(range(len(commands))))
        if replies and all(
            isinstance(reply, StoreError) and not isinstance(reply, ErrorReply)
            for reply in replies
        ):
            raise replies[0]
        return replies

    def _errand(
        self, commands: Sequence[Command], links: Sequence[Link | None], due: float
    ) -> Errand:
        return Errand(self.name, commands, links, due, self._clock, self._redirected, self.counted)

    def _redirected(self, reply: ErrorReply, link: Link) -> Link | None:
        """
        Give the link that a node points to, and remember it if it is for good.
        """
        asked = self._places.get(link)
        where = None if asked is None else readRedirection(reply, asked)
        if where is None or (where[1] not in self._links and len(self._links) >= MAX_NODES):
            return None
        slot, place = where
        to = self._link(place)
        if reply.code == "MOVED":
            self._masters[slot] = to
            self._refreshSoon()
        return to
