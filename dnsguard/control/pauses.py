# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Pausing: blocking off for some minutes, for everybody or for one group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from dnsguard.control.naming import moment
from dnsguard.control.route import Call, Role, Route
from dnsguard.control.schema import integer, listOf, nullable, record, text, truth, word
from dnsguard.policy.snapshot import Policies, Policy

__all__ = ["PauseFamily"]

_NEVER = "0001-01-01T00:00:00Z"
"""What programs that know the documented answers take for "no time"."""

_GROUP = text("A client group; empty: all that is under global rules.", most=64)

_STATUS = record(
    {
        "paused": truth(),
        "until": text("When it ends; year 1 when nobody knows or nothing is paused."),
        "by": nullable(word(("hand", "schedule"))),
        "group": text(),
    }
)


class PauseFamily:
    """
    Pause and resume.
    """

    name = "Pauses"
    meaning = "Blocking switched off for some minutes, for everybody or for one group."

    def __init__(
        self,
        policies: Policies,
        now: Callable[[], float],
        settled: Callable[[], Deferred[None]] = lambda: succeed(None),
    ) -> None:
        """
        @param now: Seconds since the epoch.
        @param settled: Waits until what was published holds everywhere.
        """
        self._policies = policies
        self._now = now
        self._settled = settled

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "POST",
            "/blocklists/pause",
            self.pause,
            Role.OPERATOR,
            "Pause blocking. A pause under way is replaced.",
            body=record(
                {"duration_minutes": integer(1, 1440), "group": _GROUP}, optional=("group",)
            ),
            response=_STATUS,
            period=5.0,
            aliases=("/blocklists/pause",),
            errors={400: "There is no such group."},
        )
        yield Route(
            "POST",
            "/blocklists/resume",
            self.resume,
            Role.OPERATOR,
            "End a pause made by hand. Scheduled ones go on.",
            body=record({"group": _GROUP}, optional=("group",)),
            bodyNeeded=False,
            response=_STATUS,
            period=5.0,
            aliases=("/blocklists/resume",),
            errors={400: "There is no such group."},
        )
        yield Route(
            "GET",
            "/blocklists/pause/status",
            self.status,
            Role.VIEWER,
            "Say whether blocking is paused.",
            query={"group": {**_GROUP, "default": ""}},
            response=_STATUS,
            aliases=("/blocklists/pause/status",),
            errors={400: "There is no such group."},
        )
        yield Route(
            "GET",
            "/pauses",
            self.all,
            Role.VIEWER,
            "List all groups for which blocking is paused.",
            response=record({"pauses": listOf(_STATUS)}),
        )

    async def pause(self, call: Call) -> Any:
        """
        See the route.
        """
        group, now = call.body.get("group", ""), self._now()
        until = now + 60.0 * call.body["duration_minutes"]
        self._policies.publish(self._policies.current.paused(until, now, group))
        await self._settled()
        return self._tell(group, now)

    async def resume(self, call: Call) -> Any:
        """
        See the route.
        """
        group, now = call.body.get("group", ""), self._now()
        self._policies.publish(self._policies.current.resumed(now, group))
        await self._settled()
        return self._tell(group, now)

    def status(self, call: Call) -> Any:
        """
        See the route.
        """
        self._policies.current.viewOf(call.query["group"])
        return self._tell(call.query["group"], self._now())

    def all(self, call: Call) -> Any:
        """
        See the route.
        """
        now = self._now()
        told = [self._tell(plan.groupID, now) for plan in self._policies.current.groups]
        return {"pauses": [status for status in told if status["paused"]]}

    def _tell(self, group: str, now: float) -> dict[str, Any]:
        policy = self._policies.current
        until = _byHand(policy, group, now)
        scheduled = any(
            plan.groupID == group and plan.state(now, False)[-1] for plan in policy.groups
        )
        return {
            "paused": scheduled or until is not None,
            "until": _NEVER if scheduled else moment(until) or _NEVER,
            "by": "schedule" if scheduled else None if until is None else "hand",
            "group": group,
        }


def _byHand(policy: Policy, group: str, now: float) -> float | None:
    """
    Until when somebody paused it, be it with everybody else.
    """
    untils = []
    for plan in policy.groups:
        if plan.groupID == group:
            untils.append(policy.pauses.get(group, 0.0))
            if plan.underGlobal:
                untils.append(policy.pauses.get("", 0.0))
    latest = max(untils, default=0.0)
    return latest if latest > now else None
