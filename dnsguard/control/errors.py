# -*- test-case-name: tests.control.test_errors -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Errors that were logged, how much is logged, and what is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from twisted.internet.defer import maybeDeferred

from dnsguard.control.naming import readName
from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import listOf, nullable, record, text, truth, word

__all__ = ["ErrorFamily", "Levels", "Tracing"]

_LEVELS = ("error", "warning", "info", "debug")


class Levels(Protocol):
    """
    How serious an event must be to be logged.
    """

    def level(self) -> str:
        """
        Say what it is: one of C{error}, C{warning}, C{info}, C{debug}.
        """

    def setLevel(self, level: str) -> object:
        """
        Change it, until the next reload. Gives a Deferred where that takes a
        moment.
        """


class Tracing(Protocol):
    """
    What is traced.

    @ivar words: All kinds of events that can be.
    """

    words: Sequence[str]

    def traced(self) -> list[str]:
        """
        Say which are.
        """

    def trace(
        self, events: list[str], clients: list[str], names: list[bytes], groups: list[str]
    ) -> object:
        """
        Trace these from now on, and nothing else. Gives a Deferred where that
        takes a moment.

        @param clients: Addresses, networks, or names of clients.
        @param names: Names in wire form; none: all.
        @param groups: Ids of groups of clients.
        @raise PolicyError: There is no such client or group.
        """


class ErrorFamily:
    """
    Errors, levels, traces.
    """

    name = "Errors and traces"
    meaning = "What went wrong, how much is logged, and what is traced while it runs."

    def __init__(
        self, entries: Callable[[], list[dict[str, str]]], levels: Levels, tracing: Tracing
    ) -> None:
        """
        @param entries: Gives what is kept, with C{message}, C{timestamp},
            C{severity} and maybe C{doc_ref}.
        """
        self._entries = entries
        self._levels = levels
        self._tracing = tracing

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/errors",
            self.errors,
            Role.VIEWER,
            "List the latest warnings and errors.",
            response=record({"errors": listOf(_ERROR), "log_level": word(_LEVELS)}),
            aliases=("/errors", "/api/errors"),
        )
        yield Route(
            "PUT",
            "/log-level",
            self.setLevel,
            Role.OPERATOR,
            "Log what is at least as serious as this, until the next reload.",
            body=record({"log_level": word(_LEVELS)}),
            response=record({"ok": truth(), "log_level": word(_LEVELS)}),
            aliases=("/api/errors/log-level",),
        )
        yield Route(
            "GET",
            "/trace-events",
            self.traced,
            Role.VIEWER,
            "Say what is traced, and what could be.",
            response=record({"events": nullable(listOf(text())), "all_events": listOf(text())}),
            aliases=("/trace-events", "/api/trace-events"),
        )
        yield Route(
            "PUT",
            "/trace-events",
            self.trace,
            Role.OPERATOR,
            "Trace these events and no others, until a reload changes what the configuration traces."
            " Unknown ones are passed over. They are logged whatever the log's level is.",
            body=record(
                {
                    "events": listOf(text(most=64), most=100),
                    "clients": listOf(
                        text(
                            "An IP address, a network, or a client's name, which stands for"
                            " the addresses that it has now.",
                            most=64,
                        ),
                        "Of these alone.",
                        most=100,
                    ),
                    "groups": listOf(
                        text("The id of a group.", most=64),
                        "Of the clients in these, besides.",
                        most=100,
                    ),
                    "names": listOf(
                        text("A name; those below it, too.", most=1024),
                        "Of these alone.",
                        most=100,
                    ),
                },
                optional=("clients", "groups", "names"),
            ),
            response=record({"ok": truth(), "events": listOf(text()), "message": text()}),
            aliases=("/trace-events", "/api/trace-events"),
        )

    def errors(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"errors": self._entries(), "log_level": self._levels.level()}

    async def setLevel(self, call: Call) -> Any:
        """
        See the route.
        """
        level = call.body["log_level"]
        await maybeDeferred(self._levels.setLevel, level)
        if self._levels.level() != level:
            raise Refused(409, "this process's log isn't dnsguard's own")
        return {"ok": True, "log_level": level}

    def traced(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"events": self._tracing.traced() or None, "all_events": [*self._tracing.words]}

    async def trace(self, call: Call) -> Any:
        """
        See the route.
        """
        body = call.body
        known = [event for event in self._tracing.words if event in body["events"]]
        names = [readName(name, "names") for name in body.get("names", ())]
        await maybeDeferred(
            self._tracing.trace, known, body.get("clients", []), names, body.get("groups", [])
        )
        message = "nothing is traced" if not known else f"traced: {', '.join(known)}"
        return {"ok": True, "events": known, "message": message}


_ERROR = record(
    {
        "message": text(most=100_000),
        "timestamp": text(),
        "severity": word(("warning", "error")),
        "doc_ref": text("The page that explains it."),
    },
    optional=("doc_ref",),
)
