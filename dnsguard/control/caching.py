# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Caches: how they do, what they hold of a name, and clearing them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.task import deferLater
from twisted.names import dns

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, Key
from dnsguard.control.naming import readName
from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import (
    ANYTHING,
    DONE,
    decimal,
    integer,
    listOf,
    mapOf,
    record,
    text,
    truth,
    word,
)
from dnsguard.errors import StoreError
from dnsguard.interfaces import IAnswerStore
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.wire.mnemonics import TYPES, className, rCodeName, typeName
from dnsguard.wire.names import isAtOrBelow, toText

__all__ = ["CacheFamily", "CacheState", "Clearer"]

MOST_SHOWN = 1000
SLICE = 5000

_NAME = text("A domain name.", least=1, most=1024)


class Clearer(Protocol):
    """
    Clears what is remembered, wherever that is.
    """

    def clear(self) -> Deferred[int]: ...

    def forget(self, qname: bytes) -> Deferred[int]: ...

    def forgetBelow(self, qname: bytes) -> Deferred[int]: ...


class CacheState(Protocol):
    """
    The caches, as they are when they are asked.
    """

    @property
    def memory(self) -> MemoryCacheResolver | None:
        """
        L0, if there is one.
        """

    @property
    def shared(self) -> IAnswerStore | None:
        """
        L1, if there is one.
        """

    @property
    def clearing(self) -> Clearer:
        """
        What clears.
        """

    def stats(self) -> Deferred[dict[str, Any]]:
        """
        Count hits and misses, and what is held.
        """

    def refreshStats(self) -> dict[str, Any]:
        """
        Count what was fetched anew, and what was thrown away.
        """

    def setMaxKeys(self, most: int) -> bool:
        """
        Set how many answers the shared cache may have; false: there is none.
        """


class CacheFamily:
    """
    Watch and clear the caches.
    """

    name = "Caches"
    meaning = "How the caches do, what they hold of a name, and clearing them."

    def __init__(self, state: CacheState, clock: Any) -> None:
        """
        @param clock: What L0 tells the time by.
        """
        self._state = state
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/cache/stats",
            self.stats,
            Role.VIEWER,
            "Count hits and misses, and what is held.",
            response=_STATS,
            aliases=("/cache/stats",),
        )
        yield Route(
            "GET",
            "/cache/refresh/stats",
            self.refreshStats,
            Role.VIEWER,
            "Count what was fetched anew before it expired, and what was thrown away.",
            response=_REFRESH_STATS,
            aliases=("/cache/refresh/stats",),
        )
        yield Route(
            "GET",
            "/cache/entries",
            self.lookUp,
            Role.VIEWER,
            "Show what the caches hold of a name.",
            query={
                "name": _NAME,
                "below": truth("Names below it, too: those in L0.", default=False),
            },
            needed=("name",),
            response=record({"entries": listOf(_ENTRY), "truncated": truth(), "l1": _SEARCHED}),
        )
        yield from self._changingRoutes()

    def _changingRoutes(self) -> Iterator[Route]:
        yield Route(
            "DELETE",
            "/cache/entries",
            self.forget,
            Role.OPERATOR,
            "Clear what is remembered of a name, all types of it, everywhere.",
            query={"name": _NAME, "below": truth("Names below it, too.", default=False)},
            needed=("name",),
            response=_CLEARED,
            period=0.5,
        )
        yield Route(
            "POST",
            "/cache/clear",
            self.clear,
            Role.OPERATOR,
            "Clear everything that is remembered, everywhere.",
            response=_CLEARED,
            period=30.0,
            aliases=("/cache/clear",),
        )
        for method in ("PUT", "PATCH"):
            yield Route(
                method,
                "/cache/config",
                self.configure,
                Role.OPERATOR,
                "Set how many keys the shared cache may have, until the next reload.",
                body=record({"max_keys": integer(0, 1_000_000_000)}),
                response=DONE,
                aliases=("/cache/config",),
                errors={409: "There is no shared cache."},
            )

    def stats(self, call: Call) -> Any:
        """
        See the route.

        A query that the replay store has an answer for never gets to the
        caches: it is a hit as well, of the fastest kind.
        """
        return self._state.stats()

    def refreshStats(self, call: Call) -> Any:
        """
        See the route.
        """
        return self._state.refreshStats()

    async def lookUp(self, call: Call) -> Any:
        """
        See the route.
        """
        qname, below = readName(call.query["name"], "name"), call.query["below"]
        found = [each async for each in self._inMemory(qname, below)]
        searched = "not_below" if below else "searched"
        if self._state.shared is None:
            searched = "none"
        elif not below:
            try:
                found += await self._inShared(self._state.shared, qname)
            except FirstError as problem:
                problem.subFailure.trap(StoreError)
                searched = "away"
        shown = found[:MOST_SHOWN]
        return {"entries": shown, "truncated": len(found) > MOST_SHOWN, "l1": searched}

    async def _inMemory(self, qname: bytes, below: bool) -> AsyncIterator[dict[str, Any]]:
        """
        Look into L0.
        """
        memory = self._state.memory
        if memory is None:
            return
        keys = _keysOf(qname)
        if below:
            keys = [key async for key in self._keysBelow(memory, qname)]
        now = self._clock.seconds()
        for key in keys:
            entry = memory.entry(key)
            if entry is not None:
                yield _shown("l0", key, entry, now)

    async def _inShared(self, store: IAnswerStore, qname: bytes) -> list[dict[str, Any]]:
        """
        Look into L1: for the types that have names, which all travel together.

        @raise FirstError: It is away.
        """
        keys = [key for key in _keysOf(qname) if key[1] in TYPES]
        entries = await gatherResults([store.peek(key) for key in keys], consumeErrors=True)
        now = self._clock.seconds()
        return [
            _shown("l1", key, entry, now)
            for key, entry in zip(keys, entries, strict=True)
            if entry is not None
        ]

    async def _keysBelow(self, memory: MemoryCacheResolver, apex: bytes) -> AsyncIterator[Key]:
        """
        Find keys at or below a name, slice by slice, for there may be a million;
        one more than are shown, at most.
        """
        found, keys = 0, memory.keys()
        for start in range(0, len(keys), SLICE):
            for key in keys[start : start + SLICE]:
                if isAtOrBelow(key[0], apex):
                    yield key
                    found += 1
                    if found > MOST_SHOWN:
                        return
            await deferLater(self._clock, 0.0)

    async def forget(self, call: Call) -> Any:
        """
        See the route.
        """
        qname, clearer = readName(call.query["name"], "name"), self._state.clearing
        clear = clearer.forgetBelow if call.query["below"] else clearer.forget
        return {"ok": True, "cleared": await clear(qname)}

    async def clear(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"ok": True, "cleared": await self._state.clearing.clear()}

    def configure(self, call: Call) -> Any:
        """
        See the route.
        """
        if not self._state.setMaxKeys(call.body["max_keys"]):
            raise Refused(409, "there is no shared cache")
        return {"ok": True}


_CLEARED = record({"ok": truth(), "cleared": integer(meaning="Answers that there were.")})

_STATS = record(
    {
        "hits": integer(meaning="Queries answered from a cache, replayed ones included."),
        "misses": integer(),
        "hit_rate": decimal(0, 100, "Per cent."),
        "tiers": mapOf(mapOf(decimal()), "The same by cache: l0 in this process, l1 shared."),
        "lru": mapOf(decimal(), "L0."),
        "replay": mapOf(integer(), "Finished replies."),
        "redis_keys": integer(),
        "redis_max_keys": integer(meaning="0: no bound."),
    },
    optional=("lru", "redis_keys", "redis_max_keys"),
)

_BREAKDOWN = record(
    {
        "cold_keys": integer(),
        "cap_evicted": integer(),
        "index_orphans": integer(),
        "reconcile": integer(),
    }
)

_REFRESH_STATS = record(
    {
        "last_sweep_time": text(),
        "last_sweep_count": integer(),
        "last_sweep_removed_count": integer(),
        "last_sweep_removed_breakdown": _BREAKDOWN,
        "average_per_sweep_24h": decimal(),
        "std_dev_per_sweep_24h": decimal(),
        "sweeps_24h": integer(),
        "refreshed_24h": integer(),
        "removed_24h": integer(),
        "removed_24h_breakdown": _BREAKDOWN,
        "batch_size": integer(),
        "stats_window_sec": integer(),
        "estimated_refreshed_daily": decimal(),
        "estimated_removed_daily": decimal(),
        "deletion_candidates": integer(),
        "sweep_hit_window": text(),
        "sweep_min_hits": integer(),
        "request_refreshed_hot_24h": integer(),
        "request_refreshed_warm_24h": integer(),
        "request_refreshed_normal_24h": integer(),
        "refresh_config": mapOf(ANYTHING, "What says when an answer is due."),
        "hot_warm_entry_stats": mapOf(decimal(), "What a sample of the cache had in it."),
    },
    optional=("hot_warm_entry_stats",),
)

_SEARCHED = word(
    ("searched", "none", "away", "not_below"),
    "Was L1 looked into? ``none``: there is none; ``not_below``: not for names below one.",
)

_ENTRY = record(
    {
        "tier": word(("l0", "l1"), "Where it is: in this process, or shared."),
        "name": text(),
        "type": text(),
        "class": text(),
        "dnssec_ok": truth(),
        "checking_disabled": truth(),
        "rcode": text(),
        "upstream": text("Who answered; L1 doesn't keep it."),
        "ttl": decimal(meaning="Seconds until it isn't fresh any more; below 0: since then."),
        "stored_ttl": integer(),
        "age": decimal(meaning="Seconds since the name was first kept."),
        "stale_for": decimal(meaning="Seconds until it is dropped."),
        "octets": integer(),
    }
)


def _keysOf(qname: bytes) -> list[Key]:
    """
    All keys that a name may have, for the types that have names of their own.
    """
    flags = (0, DNSSEC_OK, CHECKING_DISABLED, DNSSEC_OK | CHECKING_DISABLED)
    return [(qname, type, dns.IN, flag) for type in range(1, 300) for flag in flags]


def _shown(tier: str, key: Key, entry: Entry, now: float) -> dict[str, Any]:
    return {
        "tier": tier,
        "name": toText(key[0]),
        "type": typeName(key[1]),
        "class": className(key[2]),
        "dnssec_ok": bool(key[3] & DNSSEC_OK),
        "checking_disabled": bool(key[3] & CHECKING_DISABLED),
        "rcode": rCodeName(entry.rCode),
        "upstream": entry.upstream,
        "ttl": round(entry.softExpiry - now, 3),
        "stored_ttl": entry.storedTTL,
        "age": round(now - entry.createdAt, 3),
        "stale_for": round(entry.expiry - now, 3),
        "octets": len(entry.wire),
    }
