# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Block lists: what is in them, how they are doing, what they say of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from dnsguard.control.naming import moment, readName
from dnsguard.control.route import Call, Reply, Role, Route
from dnsguard.control.schema import decimal, integer, listOf, nullable, record, text, truth
from dnsguard.interfaces import IPolicies
from dnsguard.services.blocklists import BlocklistService, SourceState, SourceStatus

__all__ = ["BlocklistFamily", "ListSettings"]

_ADDRESS = 1


@attrs.frozen
class ListSettings:
    """
    What the configuration says of lists.

    @ivar allow: Rules of the allowlist.
    @ivar deny: Rules of the denylist.
    @ivar healthCheck: Is the health of sources looked at?
    @ivar failOnAny: Does one that fails count as a failure of all?
    """

    allow: int
    deny: int
    healthCheck: bool
    failOnAny: bool


class BlocklistFamily:
    """
    Watch the lists.
    """

    name = "Block lists"
    meaning = "What is in the lists, how their sources are doing, what they say of a name."

    def __init__(
        self,
        service: BlocklistService,
        policies: IPolicies,
        settings: Callable[[], ListSettings],
    ) -> None:
        """
        @param settings: Gives what the configuration in force says.
        """
        self._service = service
        self._policies = policies
        self._settings = settings

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/blocklists/stats",
            self.stats,
            Role.VIEWER,
            "Count names and rules.",
            response=record(
                {
                    "blocked": integer(meaning="Distinct names in all lists."),
                    "allow": integer(meaning="Rules of the allowlist."),
                    "deny": integer(meaning="Rules of the denylist."),
                    "octets": integer(meaning="Size of the compiled set."),
                    "last_refresh": nullable(text()),
                    "sources": listOf(_SOURCE),
                }
            ),
            aliases=("/blocklists/stats",),
        )
        yield Route(
            "GET",
            "/blocklists/health",
            self.health,
            Role.VIEWER,
            "Tell how each source did when it was fetched last.",
            response=record(
                {
                    "enabled": truth("Does ``blocklists.health_check`` say to look?"),
                    "sources": listOf(
                        record(
                            {
                                "name": text(),
                                "url": text(),
                                "ok": truth(),
                                "error": text(),
                                "state": text(),
                            },
                            optional=("error",),
                        )
                    ),
                }
            ),
            aliases=("/blocklists/health",),
            errors={500: "The same answer: a source fails, and ``fail_on_any`` is set."},
        )
        yield self._checkRoute()

    def _checkRoute(self) -> Route:
        return Route(
            "GET",
            "/blocked/check",
            self.check,
            Role.VIEWER,
            "Say whether a name is blocked for those in no group. ``/explain`` says why.",
            query={"domain": text(least=1, most=1024)},
            needed=("domain",),
            response=record({"blocked": truth()}),
            aliases=("/blocked/check",),
        )

    def stats(self, call: Call) -> Any:
        """
        See the route.
        """
        statistics, settings = self._service.statistics, self._settings()
        return {
            "blocked": statistics.names,
            "allow": settings.allow,
            "deny": settings.deny,
            "octets": statistics.octets,
            "last_refresh": moment(statistics.lastRefresh),
            "sources": [_source(status) for status in self._service.lists.statuses],
        }

    def health(self, call: Call) -> Any:
        """
        See the route.
        """
        settings = self._settings()
        sources = []
        for status in self._service.lists.statuses:
            source = {
                "name": status.name,
                "url": status.url,
                "ok": not status.error and status.state is SourceState.CURRENT,
                "state": status.state.value,
            }
            if status.error:
                source["error"] = status.error
            sources.append(source)
        failing = settings.failOnAny and any("error" in source for source in sources)
        body = {"sources": sources, "enabled": settings.healthCheck}
        return Reply(body, 500 if failing else 200)

    def check(self, call: Call) -> Any:
        """
        See the route.
        """
        qname = readName(call.query["domain"])
        decision = self._policies.current.defaultView.rules.decide(qname, _ADDRESS)
        return {"blocked": decision is not None and decision.blocked}


_SOURCE = record(
    {
        "name": text(),
        "url": text("Without secrets."),
        "state": text(),
        "error": text("What went wrong last, or empty."),
        "fetched": nullable(text("When its entries were last known to be current.")),
        "octets": integer(),
        "seconds": decimal(meaning="What the last fetch took."),
        "entries": integer(meaning="Names accepted, repeated ones included."),
        "names": integer(meaning="Distinct names."),
        "rejected": integer(meaning="Lines that couldn't be read."),
        "examples": listOf(text(), "The first of them."),
    }
)


def _source(status: SourceStatus) -> dict[str, Any]:
    report = status.report
    return {
        "name": status.name,
        "url": status.url,
        "state": status.state.value,
        "error": status.error,
        "fetched": moment(status.fetched),
        "octets": status.size,
        "seconds": round(status.seconds, 3),
        "entries": report.entries if report else 0,
        "names": report.names if report else 0,
        "rejected": report.rejected if report else 0,
        "examples": list(report.examples) if report else [],
    }
