# -*- test-case-name: tests.config.sections.test_server -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{server}: where and how queries are taken in.
"""

from __future__ import annotations

import enum
import ipaddress
import re
import sys
from collections.abc import Iterator

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, ScalarKind
from dnsguard.config.quantities import Duration, Integer, Size

__all__ = [
    "AUTO",
    "MOST_PROCESSES",
    "Listen",
    "ListenAddress",
    "ListenProtocol",
    "Processes",
    "ServerConfig",
]

AUTO = 0
"""Stands for as many processes as the machine has CPUs for us."""

MOST_PROCESSES = 64


class ListenProtocol(enum.Enum):
    """
    What queries can be taken in over.
    """

    UDP = "udp"
    TCP = "tcp"


@attrs.frozen
class ListenAddress:
    """
    An address and port to listen on.

    @ivar host: An IP address in canonical text.
    @ivar port: The port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Listen(ScalarKind):
    """
    A kind: an address and port, such as C{127.0.0.1:53} or C{[::1]:53}.

    C{:53} and C{*:53} mean every IPv4 address.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return "address:port such as 127.0.0.1:53 or [::1]:53"

    def read(self, text: str) -> ListenAddress:
        """
        Read an address and port.
        """
        match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([0-9]{1,5})", text.strip(), re.ASCII)
        if match is None:
            raise ValueError
        host = match[1] if match[1] is not None else (match[2] or "*").replace("*", "0.0.0.0")
        port = int(match[3])
        if not 0 < port < 65536:
            raise ValueError("a port is a number from 1 to 65535")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no IP address; names can't be listened on") from None
        if (address.version == 6) != (match[1] is not None):
            raise ValueError("an IPv6 address stands in brackets, an IPv4 address doesn't")
        return ListenAddress(str(address), port)

    def show(self, value: ListenAddress) -> str:
        """
        Write an address and port, with the quotes that YAML needs for brackets.
        """
        return f'"{value}"'


@attrs.frozen
class Processes(ScalarKind):
    """
    A kind: a number of processes, or C{auto}.
    """

    @property
    def expected(self) -> str:
        """
        What is expected, in words.
        """
        return f"a whole number of processes from 1 to {MOST_PROCESSES}, or auto"

    def read(self, text: str) -> int:
        """
        Read a number, or the word.
        """
        if text.strip().lower() == "auto":
            return AUTO
        return Integer(1, MOST_PROCESSES).read(text)

    def show(self, value: int) -> str:
        """
        Write it as it is read.
        """
        return "auto" if value == AUTO else str(value)


class ReplayMode(enum.Enum):
    """
    Who gives finished replies again, where that is compiled.
    """

    THREAD = "thread"
    REACTOR = "reactor"


@attrs.frozen
class ReplayConfig:
    """
    The store of finished replies; see ``docs/replay.rst``.
    """

    mode: ReplayMode = key(
        Choice(ReplayMode),
        ReplayMode.THREAD,
        meaning="""``thread``: each UDP socket has a thread, which other work doesn't delay;
            ``reactor``: everything in one. Without a C compiler it is always the latter.""",
    )
    maxEntries: int = key(
        Integer(1, 100_000_000, "replies"), 100_000, meaning="The most replies kept."
    )
    maxBytes: int = key(
        Size(least=1 << 20), 128 << 20, meaning="The most memory that they may take."
    )
    ringSize: int = key(
        Integer(1024, 1 << 26, "queries"),
        1 << 18,
        meaning="""The most answered queries, of each thread, that logs and counters needn't have
            heard of yet; 40 octets each.""",
    )


@attrs.frozen
class ServerConfig:
    """
    Where queries are taken in, and how much at a time.
    """

    listen: tuple[ListenAddress, ...] = key(
        Many(Listen(), least=1, single=True),
        (ListenAddress("127.0.0.1", 5300), ListenAddress("::1", 5300)),
        meaning="""Addresses and ports to listen on. ``0.0.0.0:53`` and
            ``[::]:53`` are every address of the machine; answers leave from the
            one that was asked.""",
    )
    protocols: tuple[ListenProtocol, ...] = key(
        Many(Choice(ListenProtocol), least=1, single=True),
        (ListenProtocol.UDP, ListenProtocol.TCP),
        meaning="What to listen over, at each address.",
    )
    reusePort: bool = key(
        Flag(),
        True,
        meaning="Open several UDP sockets at each address (SO_REUSEPORT), a thread or process each.",
    )
    reusePortListeners: int | None = key(
        Integer(1, 64),
        None,
        unset="one for each CPU, at most 16; with several processes, their share of these",
        meaning="How many sockets of one process share an address when ``reuse_port`` is on.",
    )
    processes: int = key(
        Processes(),
        1,
        meaning="""How many processes share each address, for machines with several CPUs whose
            queries are mostly for names that aren't cached. Each has caches of its own, of the
            sizes configured; see ``docs/processes.rst``. ``auto``: one for each CPU. More than one
            needs Linux and ``reuse_port``.""",
    )
    replay: ReplayConfig = key(
        Section(ReplayConfig), ReplayConfig(), meaning="Finished replies that are given again."
    )
    maxUDPSize: int = key(
        Integer(512, 4096, "octets"),
        1232,
        meaning="""The largest UDP answer, whatever the client says it can take; a
            larger one is truncated and asked for again by TCP.""",
    )
    receiveBuffer: int = key(
        Size(most=1 << 30),
        4 << 20,
        meaning="""The octets of queries that the system may hold for each UDP socket, so that a
            burst isn't lost; 0 leaves it alone. More than the system's limit
            (``net.core.rmem_max``) takes privileges, without them the limit holds.""",
    )
    readTimeout: float = key(
        Duration(least=0.1, most=3600),
        5.0,
        meaning="How long one query by TCP may take from its first octet to its last.",
    )
    writeTimeout: float = key(
        Duration(least=0.1, most=3600),
        5.0,
        meaning="How long a client may leave answers by TCP unread.",
    )
    tcpIdleTimeout: float = key(
        Duration(least=0.1, most=3600),
        10.0,
        meaning="A TCP connection is closed after this long without a query.",
    )
    tcpMaxConnections: int = key(
        Integer(1, 1_000_000),
        1000,
        meaning="The most TCP connections at a time; further ones are closed at once.",
    )
    tcpMaxConnectionsPerClient: int = key(
        Integer(1, 1_000_000),
        50,
        meaning="The most TCP connections from one IPv4 address or IPv6 /64 network at a time.",
    )
    tcpMaxInFlight: int = key(
        Integer(1, 10_000),
        64,
        meaning="""The most unanswered queries of one TCP connection; it isn't read
            from while there are so many.""",
    )
    maxInFlight: int = key(
        Integer(1, 1_000_000),
        10_000,
        meaning="The most queries waiting for upstreams; further ones are answered SERVFAIL.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        Addresses and protocols are named once each; processes that share ports
        may do so, and can.
        """
        if self.processes != 1 and not self.reusePort:
            yield Fault(
                ("processes",),
                "several processes share each address, which reuse_port: false forbids",
                ("reuse_port",),
            )
        if self.processes != 1 and sys.platform != "linux":
            yield Fault(
                ("processes",),
                "several processes need Linux, where the system spreads clients over sockets",
            )
        for name, values in (("listen", self.listen), ("protocols", self.protocols)):
            seen: set[object] = set()
            for index, value in enumerate(values):
                if value in seen:
                    word = value.value if isinstance(value, ListenProtocol) else value
                    yield Fault((name, index), f"{word} stands here twice")
                seen.add(value)
