# -*- test-case-name: tests.control.test_families -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Upstreams: which there are, how they do, and trying one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from dnsguard.control.naming import readName, readType
from dnsguard.control.route import Call, Refused, Role, Route
from dnsguard.control.schema import decimal, integer, listOf, mapOf, nullable, record, text, truth
from dnsguard.upstream.address import InvalidAddress, UpstreamAddress
from dnsguard.upstream.routes import UpstreamSet
from dnsguard.wire.mnemonics import rCodeName

__all__ = ["Listed", "Trial", "UpstreamFamily"]


@attrs.frozen
class Listed:
    """
    An upstream as the configuration has it.
    """

    name: str
    address: str
    protocol: str


@attrs.frozen
class Trial:
    """
    What came of asking an upstream.

    @ivar rCode: The response code; L{None}: no reply.
    @ivar seconds: What it took.
    @ivar answers: Records in the reply.
    @ivar problem: Why there is none, or empty.
    """

    rCode: int | None
    seconds: float
    answers: int = 0
    problem: str = ""


class UpstreamFamily:
    """
    Watch and try upstreams.
    """

    name = "Upstreams"
    meaning = "The servers that queries are forwarded to: which, how they do, and trying one."

    def __init__(
        self,
        listed: Callable[[], tuple[Sequence[Listed], str]],
        running: Callable[[], UpstreamSet],
        attempt: Callable[[UpstreamAddress, bytes, int], Deferred[Trial]],
        clock: Any,
    ) -> None:
        """
        @param listed: Gives the upstreams as configured, and the strategy.
        @param running: Gives those in use.
        @param attempt: Asks a server by itself.
        """
        self._listed = listed
        self._running = running
        self._attempt = attempt
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """
        Declare the endpoints.
        """
        yield Route(
            "GET",
            "/upstreams",
            self.list,
            Role.VIEWER,
            "List the upstreams, and how they do.",
            response=record(
                {
                    "upstreams": listOf(
                        record({"name": text(), "address": text(), "protocol": text()})
                    ),
                    "resolver_strategy": text(),
                    "state": listOf(_STATE, "Those of conditional forwarding included."),
                }
            ),
            aliases=("/upstreams",),
        )
        yield Route(
            "POST",
            "/upstreams/test",
            self.test,
            Role.OPERATOR,
            "Ask an upstream by itself, past all caches. One that isn't configured may be tried"
            " by the role admin.",
            body=record(
                {
                    "name": text("The name of one that is configured.", least=1, most=128),
                    "address": text("Or any address, such as 192.0.2.53:53.", least=1, most=300),
                    "protocol": text("What it speaks, if its address doesn't say.", most=20),
                    "domain": text("What to ask for; example.com if nothing is said.", most=1024),
                    "type": text("The type to ask for.", most=20),
                },
                optional=("name", "address", "protocol", "domain", "type"),
            ),
            response=record(
                {
                    "ok": truth(),
                    "address": text(),
                    "rcode": nullable(text()),
                    "answers": integer(),
                    "elapsed_ms": decimal(),
                    "error": text(),
                },
                optional=("error",),
            ),
            period=0.5,
            errors={400: "An address that can't be asked.", 404: "No upstream of that name."},
        )

    def list(self, call: Call) -> Any:
        """
        See the route.
        """
        upstreams, strategy = self._listed()
        now = self._clock.seconds()
        return {
            "upstreams": [attrs.asdict(each) for each in upstreams],
            "resolver_strategy": strategy,
            "state": [_state(upstream, now) for upstream in self._running().upstreams],
        }

    async def test(self, call: Call) -> Any:
        """
        See the route.
        """
        address = self._address(call)
        qname = readName(call.body.get("domain") or "example.com")
        trial = await self._attempt(address, qname, readType(call.body.get("type") or "A"))
        told = {
            "ok": trial.rCode is not None,
            "address": str(address),
            "rcode": None if trial.rCode is None else rCodeName(trial.rCode),
            "answers": trial.answers,
            "elapsed_ms": round(trial.seconds * 1000, 3),
        }
        return {**told, "error": trial.problem} if trial.problem else told

    def _address(self, call: Call) -> UpstreamAddress:
        name, address = call.body.get("name"), call.body.get("address")
        if (name is None) == (address is None):
            raise Refused(400, "name or address is needed", field="name")
        if name is not None:
            for upstream in self._running().upstreams:
                if upstream.name == name:
                    return upstream.address  # type: ignore[no-any-return]
            raise Refused(404, "no upstream of that name", field="name")
        if call.caller.role < Role.ADMIN:
            raise Refused(403, "trying addresses that aren't configured needs the role admin")
        try:
            return UpstreamAddress.parse(address, call.body.get("protocol", "")).supported()
        except InvalidAddress as problem:
            raise Refused(400, f"address: {problem.reason}", field="address") from None


_STATE = record(
    {
        "name": text(),
        "address": text(),
        "usable": truth("Isn't it left alone after a failure?"),
        "latency_ms": decimal(meaning="Smoothed."),
        "backoff_seconds": decimal(meaning="How much longer it is left alone."),
        "queries": integer(),
        "replies": integer(),
        "refusals": integer(),
        "failures": mapOf(integer()),
    }
)


def _state(upstream: Any, now: float) -> dict[str, Any]:
    standing = upstream.standing
    return {
        "name": upstream.name,
        "address": str(upstream.address),
        "usable": standing.usable(now),
        "latency_ms": round(standing.latency * 1000, 3),
        "backoff_seconds": round(max(0.0, standing.backoffUntil - now), 1),
        "queries": standing.queries,
        "replies": standing.replies,
        "refusals": standing.refusals,
        "failures": {kind.value: count for kind, count in standing.failures.items()},
    }
