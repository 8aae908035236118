# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Whether the server lives, and whether it can do its work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from dnsguard.control.route import Call, Reply, Role, Route
from dnsguard.control.schema import decimal, integer, listOf, mapOf, record, text, truth

__all__ = ["Dependency", "SystemFamily"]


@attrs.frozen
class Dependency:
    """
    Something that the server needs, or would like to have.

    @ivar name: What it is.
    @ivar ok: Is it there?
    @ivar needed: Can't queries be answered without it?
    @ivar detail: What there is to say about it.
    """

    name: str
    ok: bool
    needed: bool = True
    detail: str = ""


class SystemFamily:
    """
    Health, readiness, version.
    """

    name = "System"
    meaning = "Whether the server lives, whether it can do its work, and what it is."

    def __init__(
        self,
        dependencies: Callable[[], Iterable[Dependency]],
        version: str,
        uptime: Callable[[], float],
        facts: Callable[[], dict[str, int]],
    ) -> None:
        """
        @param dependencies: Looks at them, now, without waiting for anything.
        @param uptime: Seconds since the process began to serve.
        @param facts: Numbers about the API itself.
        """
        self._dependencies = dependencies
        self._version = version
        self._uptime = uptime
        self._facts = facts

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/health",
            lambda call: {"ok": True},
            Role.NOBODY,
            "Say that the process lives. It says nothing of what it depends on.",
            response=record({"ok": truth()}),
            aliases=("/health",),
        )
        yield Route(
            "GET",
            "/ready",
            self.ready,
            Role.NOBODY,
            "Say whether queries can be answered, and the state of each dependency.",
            response=record(
                {
                    "ready": truth(),
                    "dependencies": listOf(
                        record(
                            {
                                "name": text(),
                                "ok": truth(),
                                "needed": truth("Can't queries be answered without it?"),
                                "detail": text(),
                            }
                        )
                    ),
                }
            ),
            aliases=("/ready",),
            errors={503: "The same answer: something needed isn't there."},
        )
        yield Route(
            "GET",
            "/version",
            self.version,
            Role.VIEWER,
            "Say which version this is, and for how long it has been serving.",
            response=record(
                {
                    "version": text(),
                    "uptime_seconds": decimal(),
                    "control": mapOf(integer(), "Counters of the API itself."),
                }
            ),
            aliases=("/version",),
        )

    def ready(self, call: Call) -> Any:
        """
        See the route. Open to everybody, it tells no addresses and no reasons.
        """
        dependencies = list(self._dependencies())
        ready = all(dependency.ok for dependency in dependencies if dependency.needed)
        body = {"ready": ready, "dependencies": [attrs.asdict(each) for each in dependencies]}
        return Reply(body, 200 if ready else 503)

    def version(self, call: Call) -> Any:
        """
        See the route.
        """
        return {
            "version": self._version,
            "uptime_seconds": round(self._uptime(), 1),
            "control": self._facts(),
        }
