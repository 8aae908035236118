# -*- test-case-name: tests.config.sections.test_upstreams -*-
# Copyright (c) The dnsguard developers. See LICENSE for details.
"""
C{upstreams}, C{network}, C{resolver_strategy}, C{conditional_forwarding}: who
is asked, and how.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs

from dnsguard.config.convert import Section
from dnsguard.config.keys import Fault, key
from dnsguard.config.kinds import Choice, Flag, Many, Text
from dnsguard.config.names import Domain
from dnsguard.config.quantities import Duration

__all__ = [
    "SPOKEN",
    "ForwardingConfig",
    "NetworkConfig",
    "Strategy",
    "UpstreamConfig",
    "UpstreamProtocol",
    "duplicateNames",
]


class UpstreamProtocol(enum.Enum):
    """
    What an upstream is asked over.
    """

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    HTTPS = "https"
    QUIC = "quic"


SPOKEN = (UpstreamProtocol.UDP, UpstreamProtocol.TCP)
"""
What this version speaks. An upstream that is to be asked in secret is never
asked in the open instead: that is an error.
"""


class Strategy(enum.Enum):
    """
    Which upstream is asked first, and which next.
    """

    FAILOVER = "failover"
    LOAD_BALANCE = "load_balance"
    WEIGHTED = "weighted"
    PARALLEL = "parallel"


_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


def _isHost(host: str) -> bool:
    """
    Is it an IP address or can it be a host's name?
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not re.fullmatch(r"[0-9.]*", host) and _HOST.fullmatch(host) is not None
    return True


def _addressFault(address: str) -> str:
    """
    Why an upstream's address can't be used; empty if it can. Doesn't quote
    it: what references stood for is in it.
    """
    try:
        ipaddress.ip_address(address)
        return ""  # an address alone, IPv6 without brackets too
    except ValueError:
        pass
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host = parts.hostname
    except ValueError:
        return "it is not of the form host:port"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in {"", *(word.value for word in UpstreamProtocol)}:
        return "no such protocol; there are udp, tcp, tls, https and quic"
    if port == 0:
        return "its port isn't a number from 1 to 65535"
    if parts.username is not None or parts.fragment:
        return "user names and fragments have no place in it"
    if parts.scheme != "https" and (parts.path or parts.query):
        return "only an https address has a path"
    if not host or not _isHost(host):
        return "its host is neither an IP address nor a host name"
    return ""


def _publicName(address: str) -> str:
    """
    What an upstream that has no name is called.
    """
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}"


@attrs.frozen
class UpstreamConfig:
    """
    A server that queries are forwarded to. ``9.9.9.9:53`` alone is short for
    ``{address: 9.9.9.9:53}``.
    """

    address: str = key(
        Text(
            "an address such as 9.9.9.9:53, tls://host:853 or https://host/path", references=True
        ),
        meaning="""``host:port``, ``udp://``, ``tcp://``, ``tls://`` or ``quic://`` with
            ``host:port``, or ``https://host/path``. Ports may be left out where
            the protocol has one of its own.""",
    )
    name: str = key(
        Text("a name", most=64),
        attrs.Factory(lambda self: _publicName(self.address), takes_self=True),
        unset="its address, without a path, which may be secret",
        meaning="What it is called in logs and rows.",
    )
    protocol: UpstreamProtocol | None = key(
        Choice(UpstreamProtocol),
        None,
        unset="the scheme of ``address``, else ``udp``",
        meaning="What it is asked over.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        The address can be read, and goes with the protocol.
        """
        fault = _addressFault(self.address)
        if fault:
            yield Fault(("address",), fault)
            return
        scheme = self.address.partition("://")[0].lower() if "://" in self.address else ""
        wanted = self.protocol.value if self.protocol else ""
        if scheme and wanted and scheme != wanted:
            yield Fault(("protocol",), f"{wanted} contradicts the address, which says {scheme}")
        elif UpstreamProtocol(scheme or wanted or "udp") not in SPOKEN:
            key = "protocol" if wanted else "address"
            yield Fault((key,), f"{scheme or wanted} isn't spoken by this version yet")


def duplicateNames(upstreams: tuple[UpstreamConfig, ...]) -> Iterator[Fault]:
    """
    Find upstreams that go by the name of one before them.
    """
    seen: set[str] = set()
    for index, upstream in enumerate(upstreams):
        if upstream.name in seen:
            yield Fault((index,), "another upstream has the same name already")
        seen.add(upstream.name)


@attrs.frozen
class NetworkConfig:
    """
    How upstreams are dealt with.
    """

    upstreamTimeout: float = key(
        Duration(least=0.01, most=300),
        10.0,
        meaning="""How long a query may take, however many upstreams are tried for it. While
            others are left, each gets a share of it, at most 2.5 s.""",
        deprecated=("upstream_timeout",),
    )
    upstreamBackoff: float = key(
        Duration(most=86400),
        30.0,
        meaning="""How long an upstream that failed is asked last; 0 switches that off. When
            all have failed, the one whose time ends first is asked.""",
        deprecated=("upstream_backoff",),
    )
    upstreamConnPoolIdleTimeout: float = key(
        Duration(most=86400),
        30.0,
        meaning="How long an idle connection to an upstream is kept; 0 is without limit.",
        deprecated=("upstream_conn_pool_idle_timeout",),
    )
    upstreamConnPoolValidateBeforeReuse: bool = key(
        Flag(),
        False,
        meaning="Look whether an idle connection was closed by the other side before it is used.",
        deprecated=("upstream_conn_pool_validate_before_reuse",),
    )


@attrs.frozen
class ForwardingConfig:
    """
    Names that are asked for at servers of their own.
    """

    domains: tuple[str, ...] = key(
        Many(Domain(), least=1, single=True),
        meaning="""Domains, each with all names below it; also reverse zones such as
            ``2.0.192.in-addr.arpa``. The longest that matches a name counts.""",
    )
    upstreams: tuple[UpstreamConfig, ...] = key(
        Many(Section(UpstreamConfig, shorthand="address"), least=1, single=True),
        meaning="The servers to ask instead, by ``resolver_strategy``; as in ``upstreams``.",
    )

    def faults(self) -> Iterator[Fault]:
        """
        Upstreams have names of their own.
        """
        for fault in duplicateNames(self.upstreams):
            yield Fault(("upstreams", *fault.path), fault.message)
