# -*- test-case-name: tests.assembly.test_control -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
From the running server to its control API.

Families are made of what they need and nothing more; what may be replaced by a
reload is handed over as a callable that looks it up.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

import dnsguard
from dnsguard.assembly.cachestate import GuardCaches
from dnsguard.assembly.observing import debugFamily, errorFamily, metricsFamily
from dnsguard.assembly.problems import problemsOf
from dnsguard.assembly.trial import tryUpstream
from dnsguard.config.model import Config
from dnsguard.control.access import AccessFamily
from dnsguard.control.audit import AuditLog
from dnsguard.control.auth import Authenticator
from dnsguard.control.blocklists import BlocklistFamily, ListSettings
from dnsguard.control.caching import CacheFamily
from dnsguard.control.channel import ControlFactory
from dnsguard.control.config.editor import ConfigEditor, Origin
from dnsguard.control.config.family import ConfigFamily
from dnsguard.control.config.history import History
from dnsguard.control.config.people import PeopleFamily
from dnsguard.control.describing import DescriptionFamily
from dnsguard.control.explaining import ExplainFamily
from dnsguard.control.openapi import openAPI
from dnsguard.control.passwords import PasswordFile
from dnsguard.control.pauses import PauseFamily
from dnsguard.control.queries import QueryFamily
from dnsguard.control.reloading import ReloadFamily
from dnsguard.control.route import Family
from dnsguard.control.service import ControlService, ControlSettings
from dnsguard.control.site import ControlSite
from dnsguard.control.sync import SyncFamily
from dnsguard.control.system import Dependency, SystemFamily
from dnsguard.control.tokens import TokenFile
from dnsguard.control.upstreams import Listed, UpstreamFamily
from dnsguard.errors import StoreError
from dnsguard.services.blocklists import SourceState
from dnsguard.services.collector import undisturbed
from dnsguard.services.reload import Outcome, ReloadService

if TYPE_CHECKING:
    from dnsguard.assembly.guard import Guard

__all__ = ["controlSettings", "families", "makeControl"]


def controlSettings(config: Config) -> ControlSettings:
    """
    Say how the API is served.
    """
    control = config.control
    return ControlSettings(
        control.listen.host, control.listen.port, control.token, control.requireToken
    )


def makeControl(
    guard: Guard, config: Config, reactor: Any, now: Callable[[], float]
) -> ControlService:
    """
    Make the control API.

    @param now: Seconds since the epoch.
    """
    room = _Room(guard, config, reactor, now)
    site = ControlSite(families(room), room.authenticator, room.audit, reactor)
    room.site = site
    return ControlService(
        ControlFactory(site.app.resource(), reactor),
        controlSettings(config),
        room.authenticator,
        room.tokenFile,
        reactor,
        room.inThread,
        _say,
        now,
        site=site,
        audit=room.audit,
    )


def _say(text: str) -> None:
    """
    Say something to whoever started the process: not to the log, which twistd
    leads standard output to.
    """
    if sys.__stdout__ is not None:
        print(text, file=sys.__stdout__, flush=True)


class _Room:
    """
    What families are made of.
    """

    def __init__(
        self, guard: Guard, config: Config, reactor: Any, now: Callable[[], float]
    ) -> None:
        self.guard = guard
        self.reactor = reactor
        self.now = now
        self.began = reactor.seconds()
        self.folder = config.statePath("control")
        self.tokenFile = TokenFile(self.folder / "tokens.json")
        self.password = PasswordFile(config.statePath(config.control.passwordFile))
        self.audit = AuditLog(self.folder / "audit.jsonl", self.inThread, now)
        self.site: ControlSite | None = None
        self._document: dict[str, Any] | None = None
        self.authenticator = Authenticator(
            configured=config.control.token,
            openOnLoopback=not config.control.requireToken,
            now=now,
        )

    def inThread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """
        Call a function in a thread.
        """
        pool = self.reactor.getThreadPool()
        return deferToThreadPool(self.reactor, pool, function, *arguments)

    def undisturbed(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """
        The same for one that makes very many objects.
        """
        return self.inThread(undisturbed, function, *arguments)

    @property
    def reload(self) -> ReloadService:
        """
        What reloads.

        @raise StoreError: Nothing does: the server was put together by hand.
        """
        parent: Any = self.guard.parent
        try:
            service: ReloadService = parent.getServiceNamed("reload")
        except (AttributeError, KeyError):
            raise StoreError(
                "configuration", "this server was put together without a file"
            ) from None
        return service

    def origin(self) -> Origin:
        """
        Where the configuration comes from.
        """
        return Origin(self.reload.source, self.reload.environ)

    def attempt(self) -> Deferred[Outcome]:
        """
        Reload.
        """
        return self.reload.attempt()

    def document(self) -> dict[str, Any]:
        """
        The OpenAPI document.
        """
        if self._document is None:
            assert self.site is not None
            self._document = openAPI(self.site.declared, dnsguard.__version__)
        return self._document

    def counters(self) -> dict[str, int]:
        """
        Numbers about the API itself.
        """
        answered: Counter[int] = Counter()
        if self.site is not None:
            for (_, _, status), count in self.site.requests.items():
                answered[status] += count
        return {
            **{f"status_{status}": count for status, count in sorted(answered.items())},
            "wrong_tokens": self.authenticator.failures,
            "shut_out": self.authenticator.limit.shutOut,
            "audit_lines": self.audit.written,
            "audit_lost": self.audit.lost,
        }


def families(room: _Room) -> Iterator[Family]:
    """
    Make all families.
    """
    guard, reactor = room.guard, room.reactor
    yield SystemFamily(
        lambda: dependencies(guard, reactor.seconds()),
        dnsguard.__version__,
        lambda: reactor.seconds() - room.began,
        room.counters,
    )
    yield ReloadFamily(room.attempt, guard.refreshLists)
    yield BlocklistFamily(guard.blocklists, guard.policies, lambda: _listSettings(guard.config))
    yield PauseFamily(guard.policies, room.now, guard.whenFollowed)
    yield ExplainFamily(guard.policies, guard.blocklists)
    yield CacheFamily(GuardCaches(guard), reactor)
    yield UpstreamFamily(
        lambda: _listed(guard.config),
        lambda: guard.forwarder.upstreams,
        lambda address, qname, type: tryUpstream(reactor, address, qname, type),
        reactor,
    )
    history = History(room.folder / "history", lambda: guard.config.control.historySize)
    editor = ConfigEditor(
        room.origin, problemsOf, room.attempt, history, room.undisturbed, room.now
    )
    yield ConfigFamily(editor, room.origin, room.undisturbed)
    yield PeopleFamily(editor, lambda: guard.config)
    yield AccessFamily(
        room.authenticator,
        room.tokenFile,
        room.password,
        room.audit,
        room.inThread,
        room.now,
    )
    yield QueryFamily(
        lambda: None if guard.queryStore is None else guard.queryStore.store,
        lambda: None if guard.queryStore is None else guard.queryStore.tail,
        lambda: _storeCounters(guard),
        reactor,
        room.now,
    )
    yield errorFamily(guard)
    yield metricsFamily(guard, room.inThread)
    yield debugFamily(guard, room.inThread)
    yield SyncFamily()
    yield DescriptionFamily(room.document)


def dependencies(guard: Guard, now: float) -> Iterator[Dependency]:
    """
    Look at what the server depends on.
    """
    yield Dependency("listeners", bool(guard.listeners.inner.running), True)
    statuses = guard.blocklists.lists.statuses
    missing = sum(status.state is SourceState.MISSING for status in statuses)
    waiting = sum(status.state is SourceState.WAITING for status in statuses)
    old = sum(status.state is SourceState.OLD for status in statuses)
    yield Dependency(
        "blocklists",
        not missing and not waiting,
        False,
        f"{len(statuses)} sources: {missing} missing, {waiting} not fetched yet, {old} old",
    )
    if guard.helpers is not None:
        serving = 1 + sum(1 for _ in guard.helpers.serving())
        wanted = 1 + len(guard.helpers.helpers)
        # Queries are answered in place of those that aren't there.
        yield Dependency(
            "processes", serving == wanted, False, f"{serving} of {wanted} processes serve"
        )
    if guard.queryStore is not None:
        counters = guard.queryStore.flush.counters()
        waiting = counters["waiting_rows"] + counters["spooled_rows"]
        yield Dependency(
            "query_store",
            not guard.queryStore.flush.deliveries.isFailing,
            False,
            f"{waiting} rows wait",
        )
    if guard.redis is not None:
        # Once it runs, a server goes on without it.
        yield Dependency("redis", guard.redis.store.available, False)
    upstreams = guard.forwarder.upstreams.upstreams
    usable = sum(upstream.standing.usable(now) for upstream in upstreams)
    # Without any, what is local, cached or stale is answered all the same.
    yield Dependency(
        "upstreams", usable > 0 or not upstreams, True, f"{usable} of {len(upstreams)} usable"
    )


def _storeCounters(guard: Guard) -> dict[str, int]:
    if guard.queryStore is None:
        names = ("buffer_size", "buffer_used", "dropped_events", "total_recorded")
        return dict.fromkeys(names, 0)
    return guard.queryStore.flush.counters()


def _listSettings(config: Config) -> ListSettings:
    blocklists = config.blocklists
    health = blocklists.healthCheck
    return ListSettings(
        len(blocklists.allowlist),
        len(blocklists.denylist),
        health is not None and health.enabled,
        health is not None and health.enabled and health.failOnAny,
    )


def _listed(config: Config) -> tuple[list[Listed], str]:
    upstreams = [
        Listed(
            upstream.name,
            upstream.address,
            "" if upstream.protocol is None else upstream.protocol.value,
        )
        for upstream in config.upstreams
    ]
    return upstreams, config.resolverStrategy.value
