# -*- test-case-name: tests.control.test_debugging -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Where time and memory go, for administrators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from dnsguard.control.route import Call, Refused, Reply, Role, Route
from dnsguard.control.schema import decimal, integer, truth, word
from dnsguard.services.flamegraph import flameGraph, folded, speedscope
from dnsguard.services.pyspy import NativeProfileFailed
from dnsguard.services.sampler import Profile, ProfileBusy

__all__ = ["DebugFamily", "HeapWatcher", "Profiler"]

_FORMATS: dict[str, tuple[Callable[[Profile], bytes], str, str]] = {
    "svg": (flameGraph, "image/svg+xml", ""),
    "speedscope": (speedscope, "application/json", "profile.speedscope.json"),
    "folded": (folded, "text/plain; charset=utf-8", ""),
}
"""By name: what writes a profile so, its content type and a file name."""

_REFUSALS = {403: "It is switched off by the configuration.", 409: "Another one is being taken."}


class Profiler(Protocol):
    """
    Takes profiles.
    """

    def profile(self, seconds: Any) -> Deferred[Profile]:
        """
        Take one.
        """


class HeapWatcher(Protocol):
    """
    Watches allocations.
    """

    def watch(self, seconds: float) -> Deferred[dict[str, Any]]:
        """
        Watch for some time.
        """


class DebugFamily:
    """
    Profiles of the process.
    """

    name = "Profiling"
    meaning = (
        "Where processor time and memory go, and what the reactor is about to do. Needs"
        " control.debug."
    )

    def __init__(
        self,
        enabled: Callable[[], bool],
        sampler: Profiler,
        native: Profiler,
        heap: HeapWatcher,
        reactorState: Callable[[], dict[str, Any]],
        inThread: Callable[..., Deferred[Any]],
    ) -> None:
        """
        @param enabled: May profiles be taken?
        @param sampler: Sees Python's functions.
        @param native: Sees those of compiled code, too.
        @param reactorState: Describes the reactor.
        @param inThread: Calls a function in a thread.
        """
        self._enabled = enabled
        self._sampler = sampler
        self._native = native
        self._heap = heap
        self._reactorState = reactorState
        self._inThread = inThread

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/debug/profile",
            self.profile,
            Role.ADMIN,
            "Look for some seconds at where processor time goes, and draw it.",
            query={
                "seconds": integer(1, 60, "How long to look.", default=10),
                "format": word(
                    list(_FORMATS),
                    "A flame graph as a picture; a file for speedscope; or stacks as text.",
                    default="svg",
                ),
                "native": truth("See compiled code, too? Needs py-spy.", default=False),
            },
            response={"type": "string"},
            contentType="image/svg+xml",
            aliases=("/debug/profile",),
            errors={**_REFUSALS, 501: "There is no py-spy, or it isn't allowed to look."},
            audited=True,
        )
        yield Route(
            "GET",
            "/debug/heap",
            self.heap,
            Role.ADMIN,
            "Watch for some seconds which lines of code take memory, and what they still hold.",
            query={"seconds": decimal(0.1, 60, "How long to watch.", default=5.0)},
            aliases=("/debug/heap",),
            errors=_REFUSALS,
            audited=True,
        )
        yield Route(
            "GET",
            "/debug/reactor",
            self.reactor,
            Role.ADMIN,
            "Say what the reactor has put off, whom it listens to and how late it is.",
            aliases=("/debug/reactor",),
            errors={403: _REFUSALS[403]},
        )

    def _check(self) -> None:
        if not self._enabled():
            raise Refused(403, "profiling is switched off; set control.debug")

    async def profile(self, call: Call) -> Any:
        """
        See the route.
        """
        self._check()
        profiler = self._native if call.query["native"] else self._sampler
        try:
            profile = await profiler.profile(call.query["seconds"])
        except ProfileBusy as error:
            raise Refused(409, str(error)) from None
        except NativeProfileFailed as error:
            raise Refused(501, str(error)) from None
        write, contentType, name = _FORMATS[call.query["format"]]
        octets = await self._inThread(write, profile)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'} if name else {}
        return Reply(octets, contentType=contentType, headers=headers)

    async def heap(self, call: Call) -> Any:
        """
        See the route.
        """
        self._check()
        try:
            return await self._heap.watch(call.query["seconds"])
        except ProfileBusy as error:
            raise Refused(409, str(error)) from None

    def reactor(self, call: Call) -> Any:
        """
        See the route.
        """
        self._check()
        return self._reactorState()
