# -*- test-case-name: tests.control.test_sync -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
What an instance says that takes no part in syncing, to those who ask it to.

Instances of the resolver whose API this is can be primaries, which hand out
their configuration, and replicas, which fetch it. dnsguard is neither as yet:
replicas that are pointed at it are told so in the documented way, rather than
that there is no such path, and those who watch a primary see no replicas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import ANYTHING, listOf, record

__all__ = ["SyncFamily"]

_REFUSAL = {503: "Always: this instance is no primary."}


class SyncFamily:
    """
    Syncing, which isn't done.
    """

    name = "Syncing"
    meaning = (
        "For replicas of other resolvers that are pointed here: dnsguard doesn't sync, is no"
        " primary, and says so."
    )

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        # Open to everybody, as there is no token for syncing that could be shown.
        for path in ("/sync/config", "/sync/status"):
            yield Route(
                "GET",
                path,
                self.refuse,
                Role.NOBODY,
                "Say that this instance is no primary.",
                aliases=(path,),
                errors=_REFUSAL,
            )
        yield Route(
            "POST",
            "/sync/stats",
            self.refuse,
            Role.NOBODY,
            # What comes isn't even read: anybody may send it, and reading JSON
            # holds up all others.
            "Take no statistics of a replica, and say that this instance is no primary.",
            aliases=("/sync/stats",),
            errors=_REFUSAL,
            audited=False,
        )
        yield Route(
            "GET",
            "/sync/replica-stats",
            self.replicas,
            Role.VIEWER,
            "List the replicas of this instance: none.",
            response=record({"replicas": listOf(ANYTHING, most=0)}),
            aliases=("/sync/replica-stats",),
        )

    def refuse(self, call: Call) -> Any:
        """
        See the routes.
        """
        raise Refused(503, "this instance is no primary: dnsguard doesn't sync yet")

    def replicas(self, call: Call) -> Any:
        """
        See the route.
        """
        return {"replicas": []}
