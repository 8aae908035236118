# -*- test-case-name: tests.cli.perf.test_run -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
One measurement, from opening sockets to what came of it.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from typing import Any

import attrs

from dnsguard.cli.perf.questions import Questions
from dnsguard.cli.perf.slots import Limits
from dnsguard.cli.perf.tally import Tally

__all__ = ["COMPILED", "MOST_CONCURRENCY", "Plan", "Resolver", "Result", "Unresolvable", "measure"]

try:
    import dnsguard.cli.perf._load as _compiled

    COMPILED = True
except ImportError:
    COMPILED = False

MOST_CONCURRENCY = 10_000
MOST_QUERIES = 1_000_000_000
MOST_SOCKETS = 256

_STEP = 0.1
_BUFFER = 4 << 20


class Unresolvable(Exception):
    """
    What is to be measured has no address.
    """


@attrs.frozen
class Resolver:
    """
    What is measured.

    @ivar host: Its name or address.
    @ivar protocol: C{udp} or C{tcp}.
    """

    host: str
    port: int
    protocol: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@attrs.frozen
class Plan:
    """
    How it is measured.

    @ivar queries: How many questions to send.
    @ivar concurrency: How many may be under way, at most.
    @ivar timeout: Seconds to wait for a reply.
    @ivar rate: How many to send a second; 0: as many as can be.
    @ivar sockets: From how many ports datagrams are sent; 0: as many as suit.
    @ivar compiled: Use the compiled twin, if there is one?
    """

    queries: int
    concurrency: int
    timeout: float
    rate: float = 0.0
    sockets: int = 0
    compiled: bool = COMPILED


@attrs.frozen
class Result:
    """
    What came of it.

    @ivar seconds: From the first question to the last reply.
    @ivar complete: False if it was interrupted.
    """

    tally: Tally
    seconds: float
    complete: bool = True

    @property
    def rate(self) -> float:
        """
        Questions that were over each second.
        """
        return self.tally.samples / self.seconds if self.seconds else 0.0


def measure(
    resolver: Resolver,
    questions: Questions,
    plan: Plan,
    advance: Callable[[int], object] = lambda over: None,
) -> Result:
    """
    Send questions and count what comes back.

    @param advance: Is called now and then with how many are over.
    @raise Unresolvable: The resolver has no address.
    @raise OSError: There are no sockets to be had.
    """
    kind = socket.SOCK_DGRAM if resolver.protocol == "udp" else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(resolver.host, resolver.port, type=kind)[0]
    except socket.gaierror as problem:
        raise Unresolvable(f"{resolver.host}: {problem.strerror}") from None
    tally = Tally()
    limits: Limits = {
        "queries": plan.queries,
        "concurrency": plan.concurrency,
        "timeout": plan.timeout,
        "rate": plan.rate,
    }
    module = _module(plan.compiled)
    if resolver.protocol == "tcp":
        _allowFiles(plan.concurrency)
        load = module.StreamLoad(lambda: _connection(family, address), questions, tally, **limits)
        return _drive(load, tally, advance)
    number = plan.sockets or max(1, min(16, plan.concurrency // 16))
    sockets = []
    try:
        for _ in range(min(number, plan.concurrency)):
            sockets.append(_datagrams(family, address))
        load = module.DatagramLoad(sockets, questions, tally, **limits)
        return _drive(load, tally, advance)
    finally:
        for each in sockets:
            each.close()


def _module(compiled: bool) -> Any:
    """
    Choose a twin.
    """
    if compiled and COMPILED:
        return _compiled
    from dnsguard.cli.perf import load

    return load


def _drive(load: Any, tally: Tally, advance: Callable[[int], object]) -> Result:
    """
    Go on until all is over, or somebody has had enough.
    """
    begun = time.perf_counter()
    complete = True
    try:
        while load.step(_STEP):
            advance(load.over)
    except KeyboardInterrupt:
        complete = False
    seconds = time.perf_counter() - begun
    advance(load.over)
    if not complete and hasattr(load, "close"):
        load.close()
    return Result(tally, seconds, complete)


def _datagrams(family: int, address: Any) -> socket.socket:
    """
    Open a socket for datagrams to and from one address.
    """
    opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    opened.connect(address)
    return opened


def _connection(family: int, address: Any) -> socket.socket:
    """
    Begin to connect.
    """
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setblocking(False)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.connect_ex(address)
    return opened


def _allowFiles(number: int) -> None:
    """
    Have room for so many connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
