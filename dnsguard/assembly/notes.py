# -*- test-case-name: tests.assembly.test_notes -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What is written down of queries: the query store and the request log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import maybeDeferred

from dnsguard.assembly.logs import makeRequestLog
from dnsguard.assembly.observers import Observers
from dnsguard.assembly.querystore import QueryStore, anonymizer, makeQueryStore
from dnsguard.config.model import Config
from dnsguard.interfaces import IPolicies, IQueryObserver
from dnsguard.observers.anonymize import Anonymizer
from dnsguard.observers.requestlog import RequestLog
from dnsguard.server.address import pack

__all__ = ["Notes"]


class Notes(MultiService):
    """
    Writes queries down, as the configuration says.

    @ivar queryStore: The query store, unless there is none.
    @ivar requestLog: The request log, unless it is switched off.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        observers: Observers,
        policies: IPolicies,
        now: Callable[[], float],
    ) -> None:
        """
        @param observers: Those who are told of queries.
        @param policies: Where clients' names are known.
        @param now: Seconds since the epoch.
        @raise PolicyError: What is to be left out can't be read.
        """
        super().__init__()
        self.setName("notes")
        self.queryStore: QueryStore | None = None
        self.requestLog: RequestLog | None = None
        self._reactor = reactor
        self._observers = observers
        self._policies = policies
        self._now = now
        self._config = config
        for service in self._begin(config):
            service.setServiceParent(self)

    def _begin(self, config: Config) -> list[IService]:
        """
        Have queries noted as a configuration says.

        @return: What is still to be started; until then it only gathers what
            it is told.
        """
        identities = anonymizer(config)
        store = self._makeStore(config, identities)
        log = self._makeLog(config, identities)
        noters: list[IQueryObserver] = []
        services: list[IService] = []
        if store is not None:
            noters.append(store.recorder)
            services.append(store.service)
        if log is not None:
            noters.append(log)
            services.append(log)
        self.queryStore, self.requestLog, self._config = store, log, config
        self._observers.note(*noters)
        return services

    def _makeStore(self, config: Config, identities: Anonymizer) -> QueryStore | None:
        """
        Make what gathers rows, and takes them to where they are kept.
        """
        return makeQueryStore(config, self._reactor, identities, self._nameOf, self._now)

    def _makeLog(self, config: Config, identities: Anonymizer) -> RequestLog | None:
        """
        Make what writes lines.
        """
        return makeRequestLog(config, self._reactor, identities)

    def _nameOf(self, address: str) -> str:
        """
        The configured name of a client.
        """
        asker, _ = self._policies.current.identify(pack(address))
        return asker.clientName

    async def change(self, config: Config) -> None:
        """
        Go by another configuration. What was noted before is written first: a
        file has one writer.

        @raise PolicyError: What is to be left out can't be read; nothing has
            changed then.
        """
        used = self._config
        if (config.requestLog, config.queryStore) == (used.requestLog, used.queryStore):
            return
        before: list[Any] = list(self)
        services = self._begin(config)
        for service in before:
            await maybeDeferred(service.disownServiceParent)
        for service in services:
            service.setServiceParent(self)
