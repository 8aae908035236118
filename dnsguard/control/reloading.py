# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Reloading: the documented endpoints for parts, all of which reload the whole.

Whatever is reloaded is one configuration, checked as a whole: that part of it
might be in force and part not is a state nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import DONE

__all__ = ["ReloadFamily", "Reloading"]

PARTS = ("local-records", "upstreams", "response", "safe-search", "client-identification")


class Reloading(Protocol):
    """
    How a reload went.
    """

    @property
    def ok(self) -> bool: ...

    @property
    def problems(self) -> Sequence[Any]: ...


class ReloadFamily:
    """
    Reload the configuration.
    """

    name = "Reload"
    meaning = (
        "Read the configuration again and put it into force, as SIGHUP does. Each of these"
        " reloads all of it; those named after a part are there for programs that call them."
    )

    def __init__(
        self,
        attempt: Callable[[], Deferred[Any]],
        refreshLists: Callable[[], Deferred[None]],
    ) -> None:
        """
        @param attempt: Reloads; gives a L{Reloading}.
        @param refreshLists: Fetches all lists anew and puts them into force.
        """
        self._attempt = attempt
        self._refreshLists = refreshLists

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        errors = {500: "It can't be used; the old one stays in force. ``problems`` says why."}
        yield Route(
            "POST",
            "/reload",
            self.reload,
            Role.OPERATOR,
            "Reload the configuration.",
            response=DONE,
            period=2.0,
            errors=errors,
        )
        yield Route(
            "POST",
            "/blocklists/reload",
            self.reloadLists,
            Role.OPERATOR,
            "Reload the configuration and fetch all lists anew, those of groups included.",
            response=DONE,
            period=10.0,
            aliases=("/blocklists/reload",),
            errors=errors,
        )
        for part in PARTS:
            yield Route(
                "POST",
                f"/{part}/reload",
                self.reload,
                Role.OPERATOR,
                f"Reload the configuration, {part.replace('-', ' ')} included.",
                response=DONE,
                period=10.0,
                aliases=(f"/{part}/reload",),
                errors=errors,
            )

    async def reload(self, call: Call) -> Any:
        """
        See the route.
        """
        outcome: Reloading = await self._attempt()
        if not outcome.ok:
            problems = [problem.sentence for problem in outcome.problems]
            first = problems[0] if problems else "the log says why"
            raise Refused(500, f"not reloaded: {first}", problems=problems)
        return {"ok": True}

    async def reloadLists(self, call: Call) -> Any:
        """
        See the route.
        """
        done = await self.reload(call)
        await self._refreshLists()
        return done
