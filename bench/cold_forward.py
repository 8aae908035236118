# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
How many exchanges a second the forwarder does: distinct questions, a window of
them under way, one upstream on loopback that answers as fast as it can.

Usage: C{python -m bench.cold_forward 127.0.0.1:PORT [SECONDS [WINDOW [PORTS]]]}.
Set C{PROFILE=1} for a profile. Start a responder on that port first, on another
core, and pin this to one core (C{taskset -c 0}).
"""

from __future__ import annotations

import cProfile
import os
import pstats
import resource
import sys
from typing import Any

from dnsguard.answer import Answer
from dnsguard.query import ClientQuery
from dnsguard.resolvers.forwarder import ForwardingResolver
from dnsguard.upstream.address import UpstreamAddress
from dnsguard.upstream.factory import UpstreamFactory, UpstreamSpec


class Load:
    """
    Keeps a window of questions under way.
    """

    def __init__(self, reactor: Any, resolver: ForwardingResolver, window: int) -> None:
        self.reactor = reactor
        self.resolver = resolver
        self.window = window
        self.asked = 0
        self.answered = 0
        self.wrong = 0
        self.running = False

    def start(self) -> None:
        self.running = True
        for _ in range(self.window):
            self.ask()

    def ask(self) -> None:
        self.asked += 1
        label = b"n%d" % self.asked
        query = ClientQuery(bytes([len(label)]) + label + b"\x05bench\x07example\0")
        asked = self.resolver.answerInto(query, self.got)
        if asked is None or isinstance(asked, Answer):
            self.reactor.callLater(0, self.got, asked)

    def got(self, answer: Answer | None) -> None:
        self.answered += 1
        if answer is None or answer.rCode or answer.layout.counts[1] != 1:  # type: ignore[union-attr]
            self.wrong += 1
        if self.running:
            self.ask()


def main() -> None:
    from twisted.internet import reactor

    address = UpstreamAddress.parse(sys.argv[1])
    numbers = [float(word) for word in sys.argv[2:]]
    seconds, window, ports = (*numbers, *(3.0, 256.0, 1024.0)[len(numbers) :])
    factory = UpstreamFactory(reactor, ports=int(ports))
    upstreams = factory.upstreamSet([UpstreamSpec("responder", address)])
    resolver = ForwardingResolver(upstreams, clock=reactor)  # type: ignore[arg-type]
    load = Load(reactor, resolver, int(window))
    profile = cProfile.Profile() if os.environ.get("PROFILE") else None
    marks: list[tuple[int, float, float, float]] = []

    def mark() -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        marks.append((load.answered, reactor.seconds(), usage.ru_utime, usage.ru_stime))  # type: ignore[attr-defined]

    def begin() -> None:
        mark()
        if profile:
            profile.enable()
        reactor.callLater(seconds, end)  # type: ignore[attr-defined]

    def end() -> None:
        mark()
        if profile:
            profile.disable()
        load.running = False
        reactor.callLater(0.3, reactor.stop)  # type: ignore[attr-defined]

    reactor.callWhenRunning(load.start)  # type: ignore[attr-defined]
    reactor.callLater(1.0, begin)  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
    count, wall, user, system = (end - start for start, end in zip(*marks, strict=True))
    print(f"{count / wall:,.0f} exchanges/s, {load.wrong} wrong answers")
    print(
        f"CPU an exchange: {user / count * 1e6:.1f} us user, {system / count * 1e6:.1f} us system"
    )
    standing = upstreams.upstreams[0].standing
    print(standing.queries, standing.replies, standing.mismatched, standing.retransmissions)
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
