# -*- test-case-name: tests.control.test_caching -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Caches: how they do, what they hold of a name, and clearing them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.names import dns

from dnsguard.caching.entry import Entry
from dnsguard.caching.key import CHECKING_DISABLED, DNSSEC_OK, Key
from dnsguard.control.naming import readName
from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import DONE, decimal, integer, listOf, mapOf, record, text, truth
from dnsguard.resolvers.memorycache import MemoryCacheResolver
from dnsguard.wire.mnemonics import className, rCodeName, typeName
from dnsguard.wire.names import isAtOrBelow, toText

__all__ = ["CacheFamily", "Clearer"]

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


class CacheFamily:
    """
    Watch and clear the caches.
    """

    name = "Caches"
    meaning = "How the caches do, what they hold of a name, and clearing them."

    def __init__(
        self,
        memory: Callable[[], MemoryCacheResolver | None],
        replayed: Callable[[], Mapping[str, int]],
        clearer: Callable[[], Clearer],
        shared: Callable[[], Mapping[str, int]],
        setMaxKeys: Callable[[int], bool],
        clock: Any,
    ) -> None:
        """
        @param memory: Gives L0, if there is one.
        @param replayed: Gives the counters of the replay store.
        @param clearer: Gives what clears.
        @param shared: Gives C{redis_keys} and C{redis_max_keys} where there is
            a shared cache.
        @param setMaxKeys: Sets how many keys the shared cache may have; false
            where there is none.
        @param clock: What L0 tells the time by.
        """
        self._memory = memory
        self._replayed = replayed
        self._clearer = clearer
        self._shared = shared
        self._setMaxKeys = setMaxKeys
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
            "/cache/entries",
            self.lookUp,
            Role.VIEWER,
            "Show what L0 holds of a name.",
            query={"name": _NAME, "below": truth("Names below it, too.", default=False)},
            needed=("name",),
            response=record({"entries": listOf(_ENTRY), "truncated": truth()}),
        )
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
        replayed = dict(self._replayed())
        hits, misses = replayed.get("hits", 0), 0
        told: dict[str, Any] = {}
        memory = self._memory()
        if memory is not None:
            statistics = memory.statistics
            hits += statistics.hits + statistics.staleHits
            misses = statistics.misses
            told["lru"] = {
                "entries": statistics.entries,
                "max_entries": statistics.maxEntries,
                "fresh": statistics.fresh,
                "stale": statistics.stale,
                "expired": statistics.expired,
                "bytes": statistics.bytes,
                "max_bytes": statistics.maxBytes,
                "hits": statistics.hits,
                "stale_hits": statistics.staleHits,
                "evictions": statistics.evictions,
            }
        rate = round(100.0 * hits / (hits + misses), 2) if hits + misses else 0.0
        return {
            "hits": hits,
            "misses": misses,
            "hit_rate": rate,
            **told,
            "replay": replayed,
            **self._shared(),
        }

    async def lookUp(self, call: Call) -> Any:
        """
        See the route.
        """
        memory, qname = self._memory(), readName(call.query["name"], "name")
        if memory is None:
            return {"entries": [], "truncated": False}
        keys = _keysOf(qname)
        if call.query["below"]:
            keys = [key async for key in self._keysBelow(memory, qname)]
        found: list[dict[str, Any]] = []
        now = self._clock.seconds()
        for key in keys:
            entry = memory.entry(key)
            if entry is not None and len(found) < MOST_SHOWN:
                found.append(_shown(key, entry, now))
        return {"entries": found, "truncated": len(found) == MOST_SHOWN}

    async def _keysBelow(self, memory: MemoryCacheResolver, apex: bytes) -> AsyncIterator[Key]:
        """
        Find keys at or below a name, slice by slice: there may be a million.
        """
        found, keys = 0, memory.keys()
        for start in range(0, len(keys), SLICE):
            for key in keys[start : start + SLICE]:
                if isAtOrBelow(key[0], apex):
                    found += 1
                    yield key
            if found > MOST_SHOWN:
                break
            await deferLater(self._clock, 0.0)

    async def forget(self, call: Call) -> Any:
        """
        See the route.
        """
        qname, clearer = readName(call.query["name"], "name"), self._clearer()
        clear = clearer.forgetBelow if call.query["below"] else clearer.forget
        return {"ok": True, "cleared": await clear(qname)}

    async def clear(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"ok": True, "cleared": await self._clearer().clear()}

    def configure(self, call: Call) -> Any:
        """
        See the route.
        """
        if not self._setMaxKeys(call.body["max_keys"]):
            raise Refused(409, "there is no shared cache")
        return {"ok": True}


_COUNTS = mapOf(integer())

_CLEARED = record({"ok": truth(), "cleared": integer(meaning="Answers that there were.")})

_STATS = record(
    {
        "hits": integer(meaning="Queries answered from memory, replayed ones included."),
        "misses": integer(),
        "hit_rate": decimal(0, 100, "Per cent."),
        "lru": _COUNTS,
        "replay": _COUNTS,
        "redis_keys": integer(),
        "redis_max_keys": integer(),
    },
    optional=("lru", "redis_keys", "redis_max_keys"),
)

_ENTRY = record(
    {
        "name": text(),
        "type": text(),
        "class": text(),
        "dnssec_ok": truth(),
        "checking_disabled": truth(),
        "rcode": text(),
        "upstream": text(),
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


def _shown(key: Key, entry: Entry, now: float) -> dict[str, Any]:
    return {
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
