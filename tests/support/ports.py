# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
Ports for servers that tests start, in processes of their own.

Such a server binds its port a while after the test has chosen it. A port that
the system gives out for port 0 may be given to somebody else in the meantime:
every socket that is connected without being bound gets one of those. So these
ports are from a range the system doesn't give any out of, no port is given
twice, and test runs side by side have theirs from different parts of it.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

__all__ = ["freeClusterPort", "freePort"]

FIRST, LAST = 10_000, 20_000
"""Linux gives out ports from 32768 on, others from 49152 on."""

BLOCK = 250
"""How many ports a test run takes at a time."""

BUS = 10_000
"""How far above its port a Redis server has its cluster bus by default."""

_claims: list[socket.socket] = []


def _isFree(port: int) -> bool:
    """
    Can it be bound, for both UDP and TCP?
    """
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
    ):
        try:
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _claimed() -> Iterator[int]:
    """
    Claim block after block, and give their ports. The first port of a block is
    what it is claimed by: it is bound as long as this process lives.
    """
    blocks = list(range(FIRST, LAST, BLOCK))
    random.shuffle(blocks)
    for block in blocks:
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind(("127.0.0.1", block))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        yield from range(block + 1, block + BLOCK)
    raise AssertionError("other test runs have all ports")


_ports = _claimed()


def freePort() -> int:
    """
    A loopback port that is free for both UDP and TCP, and that nobody takes
    but who is told of it.
    """
    return next(port for port in _ports if _isFree(port))


def freeClusterPort() -> int:
    """
    A free port whose cluster bus port is free as well.
    """
    while True:
        port = freePort()
        if _isFree(port + BUS):
            return port
